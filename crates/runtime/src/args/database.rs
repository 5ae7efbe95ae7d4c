//! How to reach the database. Owns the URL as a secret and its clean-up; never connects.

use super::Seconds;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsStr;
use std::time::Duration;

/// The most bytes that a mounted secret may have: a URL is short, a wrong path often is not.
const SECRET_FILE_MAX_BYTES: usize = 16 * 1024;

/// The database and how many connections this process may hold to it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// Postgres connection URL, for example `postgresql://user:password@host:5432/jobqueue`. A driver suffix of
    /// SQLAlchemy (`postgresql+asyncpg://`) is accepted. Prefer the variable: arguments show up in `ps`.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = UrlParser::Literal,
        required_unless_present = "database_url_file"
    )]
    database_url: Option<SecretString>,

    /// File that holds the connection URL (a mounted secret), read once at start. Instead of DATABASE_URL.
    #[arg(
        long,
        env = "DATABASE_URL_FILE",
        value_name = "PATH",
        value_parser = UrlParser::File,
        conflicts_with = "database_url"
    )]
    database_url_file: Option<SecretString>,

    /// Connections in this process's pool, 1 to 1000; the API opens three at least. All processes together must stay below Postgres'
    /// `max_connections`
    #[arg(
        long,
        env = "DATABASE_MAX_CONNECTIONS",
        default_value_t = 10,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub database_max_connections: u32,

    /// How long to wait for a free connection, or for a new one, before the call fails, in seconds.
    #[arg(
        long = "database-connect-timeout-seconds",
        env = "DATABASE_CONNECT_TIMEOUT_SECONDS",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration
    )]
    pub database_connect_timeout: Duration,

    /// What stands between this process and Postgres: `none`, or `transaction` behind PgBouncer in transaction mode,
    /// where session features (LISTEN, session locks, prepared statements) do not work and polling replaces them.
    #[arg(long, env = "DATABASE_POOLER", default_value = "none", value_name = "MODE", ignore_case = true)]
    pub database_pooler: Pooler,
}

/// What stands between the process and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooler {
    /// A direct connection, or a pooler in session mode.
    None,
    /// A pooler that may give each transaction another server connection.
    Transaction,
}

impl DatabaseArgs {
    /// The defaults, for a database whose URL is known already (an embedded or a throw-away one). The URL is taken as
    /// it is, apart from a driver suffix.
    pub fn for_url(url: &str) -> Self {
        Self {
            database_url: Some(SecretString::from(without_driver(url))),
            database_url_file: None,
            database_max_connections: 10,
            database_connect_timeout: Duration::from_secs(5),
            database_pooler: Pooler::None,
        }
    }

    /// The connection URL in the clear, without an SQLAlchemy driver suffix. Hand it to the pool and never log it.
    pub fn url(&self) -> String {
        let url = self.database_url.as_ref().or(self.database_url_file.as_ref());
        url.map(|url| url.expose_secret().to_owned()).unwrap_or_default()
    }
}

/// `postgresql+asyncpg://…` → `postgresql://…`; anything else stays.
fn without_driver(url: &str) -> String {
    if let Some((scheme, rest)) = url.split_once("://")
        && let Some((dialect, _driver)) = scheme.split_once('+')
    {
        return format!("{dialect}://{rest}");
    }
    url.to_owned()
}

/// Reads the URL from the value itself or from the file that the value names. Its errors never repeat the value,
/// which clap's own would.
#[derive(Clone, Copy)]
enum UrlParser {
    Literal,
    File,
}

impl UrlParser {
    fn read(self, value: &OsStr) -> Result<SecretString, String> {
        let text = match self {
            Self::Literal => value.to_str().ok_or("DATABASE_URL is not valid UTF-8")?.to_owned(),
            Self::File => read_secret(value)?,
        };
        let url = without_driver(text.trim());
        let rest = url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://"));
        match rest {
            Some("") | None => {
                Err("the database URL must look like postgresql://user:password@host:5432/database \
                                    (the value is not shown, it is a secret)"
                    .to_owned())
            }
            Some(_) => Ok(SecretString::from(url)),
        }
    }
}

fn read_secret(path: &OsStr) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("DATABASE_URL_FILE {} cannot be read: {error}", path.display()))?;
    if text.len() > SECRET_FILE_MAX_BYTES {
        return Err(format!("DATABASE_URL_FILE {} is longer than a URL can be", path.display()));
    }
    Ok(text)
}

impl TypedValueParser for UrlParser {
    type Value = SecretString;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<SecretString, clap::Error> {
        self.read(value).map_err(|reason| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{reason}\n")).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Only {
        #[command(flatten)]
        database: DatabaseArgs,
    }

    fn parse(args: &[&str]) -> Result<DatabaseArgs, clap::Error> {
        Only::try_parse_from(["test"].iter().chain(args)).map(|only| only.database)
    }

    #[test]
    fn a_driver_suffix_is_stripped_and_nothing_else() {
        for (given, meant) in [
            ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
            ("postgresql+psycopg2://u:p+q@h/d?a=b+c", "postgresql://u:p+q@h/d?a=b+c"),
            ("postgres://u:p+q@h/d", "postgres://u:p+q@h/d"),
            ("postgresql://u:p%40@h:6432/d?sslmode=require", "postgresql://u:p%40@h:6432/d?sslmode=require"),
        ] {
            assert_eq!(parse(&["--database-url", given]).unwrap().url(), meant);
            assert_eq!(DatabaseArgs::for_url(given).url(), meant);
        }
    }

    #[test]
    fn a_refused_url_is_not_repeated_in_the_error() {
        for wrong in ["mysql://root:hunter2@h/d", "hunter2", "postgresql://", "", "postgres:/hunter2@h"] {
            let error = parse(&["--database-url", wrong]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("postgresql://user"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{:?}", parse(&["--database-url", "postgres://u:hunter2@h/d"])).contains("hunter2"));
    }

    #[test]
    fn the_url_may_come_from_a_mounted_file_but_not_from_both() {
        let path = std::env::temp_dir().join(format!("jobqueue-runtime-url-{}", std::process::id()));
        std::fs::write(&path, "postgresql+asyncpg://u:p@h/d\n").unwrap();
        let file = path.to_str().unwrap();
        assert_eq!(parse(&["--database-url-file", file]).unwrap().url(), "postgresql://u:p@h/d");
        let both = parse(&["--database-url-file", file, "--database-url", "postgres://h/d"]).unwrap_err();
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
        std::fs::remove_file(&path).unwrap();
        assert!(parse(&["--database-url-file", file]).unwrap_err().to_string().contains("cannot be read"));
        assert_eq!(parse(&[]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn bounds_hold() {
        for wrong in ["0", "1001", "-1", "ten"] {
            assert!(
                parse(&["--database-url", "postgres://h/d", "--database-max-connections", wrong]).is_err()
            );
        }
        let pooled =
            parse(&["--database-url", "postgres://h/d", "--database-pooler", "transaction"]).unwrap();
        assert_eq!(pooled.database_pooler, Pooler::Transaction);
    }
}
