//! Tests of connection URLs: which are understood, and what each refusal says.

use super::*;

fn parse(url: &str) -> Result<ConnectUrl, UrlError> {
    ConnectUrl::parse(url)
}

/// What is meant: host, port, user, password, database.
fn meant(url: &str) -> (Option<String>, Option<u16>, Option<String>, Option<String>, String) {
    let url = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    (url.host, url.port, url.user, url.password, url.database)
}

#[test]
fn good_urls_are_taken_apart() {
    let usual =
        (Some("h".to_owned()), Some(6432), Some("u".to_owned()), Some("p".to_owned()), "d".to_owned());
    for url in [
        "postgresql://u:p@h:6432/d",
        "postgres://u:p@h:6432/d",
        "postgresql+asyncpg://u:p@h:6432/d",
        "PostgreSQL+psycopg2://u:p@h:6432/d\n",
        "postgres://h:6432/d?user=u&password=p",
        "postgres:///?host=h&port=6432&user=u&password=p&dbname=d",
        "postgres://u:p@elsewhere/x?host=h&port=6432&dbname=d",
    ] {
        assert_eq!(meant(url), usual, "{url}");
    }
    let escaped = "postgres://a%40b:p%23%2F%3F%40%25%20+:w@h/my%2Fdb";
    assert_eq!(
        meant(escaped),
        (
            Some("h".to_owned()),
            None,
            Some("a@b".to_owned()),
            Some("p#/?@% +:w".to_owned()),
            "my/db".to_owned()
        )
    );
    for (url, host) in [
        ("postgres://u@[::1]:5433/d", "::1"),
        ("postgres://u@[fe80::1%25eth0]/d", "fe80::1%eth0"),
        ("postgres://u@%2Frun%2Fpg/d", "/run/pg"),
        ("postgres://u@%2Frun%2Fpg:5433/d", "/run/pg"),
        ("postgres://u@/d?host=/run/pg", "/run/pg"),
        ("postgres:///d?host=/run/pg&user=u", "/run/pg"),
        ("postgres://u@localhost/d?host=/cloudsql/a:b:c", "/cloudsql/a:b:c"),
    ] {
        assert_eq!(meant(url).0.as_deref(), Some(host), "{url}");
    }
    assert_eq!(meant("postgres:///d"), (None, None, None, None, "d".to_owned()));
}

#[test]
fn the_driver_gets_what_is_meant() {
    let tls = "postgresql+asyncpg://u%40x:p@[::1]:5433/d?sslmode=verify-full&application_name=mine&options=-c%20a=b";
    let options = connect_options(tls).unwrap();
    assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
    assert_eq!((options.get_username(), options.get_database()), ("u@x", Some("d")));
    assert_eq!((options.get_application_name(), options.get_options()), (Some("mine"), Some("-c a=b")));
    assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
    for socket in ["postgres://u@/d?host=/run/pg", "postgres://u@%2Frun%2Fpg/d"] {
        let options = connect_options(socket).unwrap();
        assert_eq!(
            options.get_socket().map(std::path::PathBuf::as_path),
            Some(Path::new("/run/pg")),
            "{socket}"
        );
    }
}

#[test]
fn bad_urls_are_refused_with_one_sentence_that_says_what_to_do_and_shows_no_part_of_them() {
    for (url, advice) in [
        ("", "set it to"),
        ("secret", "must look like"),
        ("postgresql://", "must look like"),
        ("mysql://u:secret@h/d", "must look like"),
        ("jdbc:postgresql://h/d?user=u&password=secret", "must look like"),
        ("host=h password=secret dbname=d", "must look like"),
        ("\"postgres://u:secret@h/d\"", "quotation marks"),
        ("postgres://u:sec#ret@h/d", "%23"),
        ("postgres://u:secret@h/d#fragment", "%23"),
        ("postgres://u:sec/ret@h/d", "%2F"),
        ("postgres://u:12/secret@h/d", "%2F"),
        ("postgres://u:12/secret@h", "%2F"),
        ("postgres://u:sec?ret@h/d", "%3F"),
        ("postgres://u:12?secret@h/d", "%3F"),
        ("postgres://u:12?secret=ret@h/d", "%3F"),
        ("postgres://u:x@y?secret@h/d", "%3F"),
        ("postgres://u:sec@ret@h/d", "%40"),
        ("postgres://u:sec@re/t@h/d", "%40"),
        ("postgres://u:sec%ret@h/d", "%25"),
        ("postgres://u:secret%@h/d", "%25"),
        ("postgres://u:sec ret@h/d", "%20"),
        ("postgres://u:sec\nret@h/d", "%20"),
        ("postgres://u:sec%00ret@h/d", "%00"),
        ("postgres://u:sec%ffret@h/d", "UTF-8"),
        ("postgres://u:secret@h:/", "names no database"),
        ("postgres://u:secret@h", "names no database"),
        ("postgres://u:secret@h?sslmode=require", "names no database"),
        ("postgres://u:secret@h:0/d", "1 to 65535"),
        ("postgres://u:secret@h:65536/d", "1 to 65535"),
        ("postgres://u:secret@h:+1/d", "1 to 65535"),
        ("postgres://u:secret/d", "1 to 65535"),
        ("postgres://u:secret@h/d?port=x", "1 to 65535"),
        ("postgres://u:secret@::1/d", "the host must be"),
        ("postgres://u:secret@h!/d", "the host must be"),
        ("postgres://u:secret@[::1/d", "[address]"),
        ("postgres://u:secret@h1,h2/d", "primary"),
        ("postgres://u:secret@h1:1,h2:2/d", "primary"),
        ("postgres://u:secret@/d?host=h1,h2", "primary"),
        ("postgres://u:secret@h/d?sslmode=secret", "verify-full"),
        ("postgres://u:secret@h/d?sslmode=", "verify-full"),
        ("postgres://u:secret@h/d?ssl=true", "sslmode=require"),
        ("postgres://u:secret@h/d?pgbouncer=true", "DATABASE_POOLER"),
        ("postgres://u:secret@h/d?prepared_statement_cache_size=0", "DATABASE_POOLER"),
        ("postgres://u:secret@h/d?prepareThreshold=0", "DATABASE_POOLER"),
        ("postgres://u:secret@h/d?schema=secret", "remove it"),
        ("postgres://u:secret@h/d?connection_limit=5", "DATABASE_MAX_CONNECTIONS"),
        ("postgres://u:secret@h/d?connect_timeout=5", "DATABASE_CONNECT_TIMEOUT_SECONDS"),
        ("postgres://u:secret@h/d?target_session_attrs=read-write", "primary"),
        ("postgres://u:secret@h/d?channel_binding=require", "`channel_binding` is not supported; remove it"),
        ("postgres://u:secret@h/d?sslmod=secret", "`sslmod` is not supported"),
        ("postgres://u:x@h/d?secret", "part of a password"),
        ("postgres://u:x@h/d?options[secret]=1", "part of a password"),
        ("postgres://u:x@h/d?sslmode=require&sslmode=disable", "give it once"),
        ("postgres://u:secret@h/d?sslmode=require&sslrootcert=/nowhere/secret", "`sslrootcert` names"),
    ] {
        let error = connect_options(url).expect_err(url).to_string();
        assert!(error.contains(advice), "{url}: {error}");
        assert!(!error.contains("secret") && !error.contains("ret@"), "{url}: {error}");
        assert!(!error.contains(['\n', '!']) && !error.ends_with('.'), "one sentence: {error}");
    }
}

#[test]
fn a_url_is_never_shown_for_debugging() {
    let url = DatabaseUrl::from("postgres://u:secret@h/d");
    assert!(!format!("{url:?}").contains("secret"));
    assert!(format!("{:?}", DatabaseUrl::File("/run/url".into())).contains("/run/url"));
}
