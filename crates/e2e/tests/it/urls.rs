//! Connection URLs with common mistakes. Every binary rejects an invalid URL with one sentence that says what to do,
//! and its output never contains a part of the password. URLs of a Unix socket work.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use jobqueue_testkit::{Binary, TestServer};
use sqlx::Connection as _;

use crate::cluster::{Cluster, LIMIT};
use crate::ledger::WorkDir;
use crate::lifecycle::every_lifecycle;

/// Part of every password, so that the output can be searched for it.
const SECRET: &str = "hunter2";

/// Invalid URLs, and a word of the expected advice.
const BAD: [(&str, &str); 22] = [
    ("postgres://u:hunter2#x@127.0.0.1:1/d", "%23"),
    ("postgres://u:hunter2/x@127.0.0.1:1/d", "%2F"),
    ("postgres://u:12/hunter2@127.0.0.1:1/d", "%2F"),
    ("postgres://u:12?hunter2@127.0.0.1:1/d", "%3F"),
    ("postgres://u:12?hunter2=x@127.0.0.1:1/d", "%3F"),
    ("postgres://u:x@hunter2@127.0.0.1:1/d", "%40"),
    ("postgres://u:hunter2%x@127.0.0.1:1/d", "%25"),
    ("postgres://u:hunter2 x@127.0.0.1:1/d", "%20"),
    ("postgres://u:hunter2@127.0.0.1:port/d", "1 to 65535"),
    ("postgres://u:hunter2@127.0.0.1:99999/d", "1 to 65535"),
    ("postgres://u:hunter2@127.0.0.1:1", "names no database"),
    ("postgres://u:hunter2@h1,h2/d", "primary"),
    ("postgres://u:hunter2@127.0.0.1:1/d?sslmode=hunter2", "verify-full"),
    ("postgresql+asyncpg://u:hunter2@127.0.0.1:1/d?ssl=true", "sslmode=require"),
    ("postgres://u:hunter2@127.0.0.1:1/d?pgbouncer=true&connection_limit=5", "DATABASE_POOLER"),
    ("postgres://u:hunter2@127.0.0.1:1/d?prepared_statement_cache_size=0", "DATABASE_POOLER"),
    ("postgres://u:hunter2@127.0.0.1:1/d?schema=hunter2", "`schema`"),
    ("postgres://u:hunter2@127.0.0.1:1/d?target_session_attrs=read-write", "primary"),
    ("postgres://u:hunter2@127.0.0.1:1/d?apikey=hunter2", "`apikey` is not supported"),
    ("mysql://u:hunter2@127.0.0.1:1/d", "must look like"),
    ("host=127.0.0.1 password=hunter2 dbname=d", "must look like"),
    ("'postgres://u:hunter2@127.0.0.1:1/d'", "quotation marks"),
];

/// Every command that connects to a database, with the URL in its environment.
fn commands(work: &WorkDir) -> Vec<Binary> {
    let named = |name: &str| Binary::named(name).env("LOG_LEVEL", "TRACE").env("ADMIN_ADDR", "127.0.0.1:0");
    let api = || named("jobqueue-api").env("API_SECRET_KEY", "k".repeat(32)).env("API_ADDR", "127.0.0.1:0");
    vec![
        api(),
        api().arg("migrate"),
        api().arg("wait"),
        named("jobqueue-worker").env("WORKER_CONFIG", work.config()),
        named("jobqueue-reaper"),
        named("jobqueue").arg("migrate"),
    ]
}

#[tokio::test]
async fn every_binary_refuses_a_bad_url_with_advice_and_never_shows_a_password() {
    let cluster = Cluster::new("unused").await;
    let file = cluster.work.path().join("url");
    for (url, advice) in BAD {
        std::fs::write(&file, format!("{url}\n")).unwrap();
        let demo =
            Binary::named("jobqueue").arg("demo").arg("--port").arg("0").arg("--database-url").arg(url);
        let by_text = commands(&cluster.work).into_iter().map(|binary| binary.env("DATABASE_URL", url));
        let by_file =
            commands(&cluster.work).into_iter().map(|binary| binary.env("DATABASE_URL_FILE", &file));
        let started: Vec<_> = by_text.chain(by_file).chain([demo]).map(|binary| binary.spawn()).collect();
        for (at, mut process) in started.into_iter().enumerate() {
            let variable = ["DATABASE_URL:", "DATABASE_URL_FILE:", "--database-url:"][at / 6];
            assert_eq!(process.wait_exit(LIMIT).await.code(), Some(64), "{url}: {:#?}", process.lines());
            let lines = process.lines();
            let output = lines.iter().filter(|line| line.contains(variable)).collect::<Vec<_>>();
            assert!(matches!(&output[..], [line] if line.contains(advice)), "{url}, {variable} {lines:#?}");
            assert!(!lines.iter().any(|line| line.contains(SECRET)), "{url}: {lines:#?}");
        }
    }
}

#[tokio::test]
async fn a_password_is_in_no_line_when_the_server_refuses_it_or_is_not_there() {
    let server = TestServer::durable().await;
    let cluster = Cluster::new("unused").await;
    let mut connection = sqlx::PgConnection::connect(server.url()).await.unwrap();
    sqlx::raw_sql("CREATE ROLE locked NOLOGIN").execute(&mut connection).await.unwrap();
    let refused = server.url().replace("postgres@", &format!("locked:{SECRET}@"));
    for url in [refused, format!("postgres://u:{SECRET}@127.0.0.1:1/d")] {
        for binary in commands(&cluster.work) {
            let process = binary.env("DATABASE_URL", &url).env("WAIT_TIMEOUT_SECONDS", "1").spawn();
            let cause =
                |line: &str| line.contains("WARN") || line.contains("ERROR") || line.contains("waiting for");
            process.wait_for_line("a line about the database", cause, LIMIT).await;
            assert!(
                !process.lines().iter().any(|line| line.contains(SECRET)),
                "{url}: {:#?}",
                process.lines()
            );
        }
    }
}

#[tokio::test]
async fn everything_works_through_a_unix_socket() {
    let sockets = WorkDir::new();
    let directory = sockets.path().to_str().unwrap();
    // the server runs as another account if the test is root
    std::fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
    let server = TestServer::with_settings(&[("unix_socket_directories", directory)]).await;
    let port = server.url().rsplit_once(':').unwrap().1.split_once('/').unwrap().0;
    let encoded = directory.replace('/', "%2F");
    let urls = [
        format!("postgres://postgres@/jobqueue?host={directory}&port={port}"),
        format!("postgresql+psycopg2://postgres@{encoded}:{port}/jobqueue"),
    ];
    let cluster = Cluster::quick(&urls[0]).await;
    for url in &urls {
        let mut migrate = Binary::named("jobqueue").arg("migrate").env("DATABASE_URL", url).spawn();
        assert_eq!(migrate.wait_exit(LIMIT).await.code(), Some(0), "{:#?}", migrate.lines());
    }
    every_lifecycle(&cluster, &server.pool()).await;
}
