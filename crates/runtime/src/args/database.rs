//! The options of the database connection. Owns the variables and keeps the URL secret. It does not check the
//! URL, which the store does, and never connects.

use super::Seconds;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// The database, and how many connections to it this process may open.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// Postgres connection URL, for example `postgresql://user:password@host:5432/jobqueue`. A driver suffix
    /// of SQLAlchemy (`postgresql+asyncpg://`) is accepted. Percent-encode special characters of the password
    /// (`#` is %23). The URL of a Unix socket is `postgresql://user@/jobqueue?host=/run/postgresql`. Prefer
    /// the variable, because arguments show up in `ps`.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = secret,
        required_unless_present = "database_url_file"
    )]
    database_url: Option<SecretString>,

    /// File that contains the connection URL (a mounted secret), instead of DATABASE_URL. It is read again
    /// for new connections, at most once a second, so a new password needs no restart.
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH", conflicts_with = "database_url")]
    database_url_file: Option<PathBuf>,

    /// Largest number of connections in this process's pool, 1 to 1000; the API opens at least three. All
    /// processes together must stay below Postgres' `max_connections`
    #[arg(
        long,
        env = "DATABASE_MAX_CONNECTIONS",
        default_value_t = 10,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub database_max_connections: u32,

    /// How long a call waits for a free or a new connection before it fails, in seconds.
    #[arg(
        long = "database-connect-timeout-seconds",
        env = "DATABASE_CONNECT_TIMEOUT_SECONDS",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration
    )]
    pub database_connect_timeout: Duration,

    /// The connection pooler between this process and Postgres: `none`, or `transaction` for PgBouncer in
    /// transaction mode. Session features (LISTEN, session locks, prepared statements) do not work there, and
    /// the process polls instead.
    #[arg(long, env = "DATABASE_POOLER", default_value = "none", value_name = "MODE", ignore_case = true)]
    pub database_pooler: PoolerArg,
}

/// The connection pooler between the process and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolerArg {
    /// A direct connection, or a pooler in session mode.
    None,
    /// A pooler that may give each transaction another server connection.
    Transaction,
}

impl DatabaseArgs {
    /// The defaults, for a database whose URL is already known (an embedded or a temporary one).
    pub fn for_url(url: &str) -> Self {
        Self {
            database_url: Some(SecretString::from(url)),
            database_url_file: None,
            database_max_connections: 10,
            database_connect_timeout: Duration::from_secs(5),
            database_pooler: PoolerArg::None,
        }
    }

    /// The connection URL as plain text, unchecked; empty if it is in a file. Never log it.
    pub fn url(&self) -> String {
        self.database_url.as_ref().map(|url| url.expose_secret().to_owned()).unwrap_or_default()
    }

    /// The file that contains the connection URL.
    pub fn url_file(&self) -> Option<PathBuf> {
        self.database_url_file.clone()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a value parser of clap returns a Result")]
fn secret(value: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use clap::error::ErrorKind;

    #[derive(Parser, Debug)]
    struct Only {
        #[command(flatten)]
        database: DatabaseArgs,
    }

    fn parse(args: &[&str]) -> Result<DatabaseArgs, clap::Error> {
        Only::try_parse_from(["test"].iter().chain(args)).map(|only| only.database)
    }

    #[test]
    fn the_url_may_come_from_a_file_but_not_from_both() {
        let url = parse(&["--database-url", "postgres://u:hunter2@h/d"]).unwrap();
        assert_eq!((url.url().as_str(), url.url_file()), ("postgres://u:hunter2@h/d", None));
        assert!(!format!("{url:?}").contains("hunter2"));
        let file = parse(&["--database-url-file", "/run/url"]).unwrap();
        assert_eq!((file.url().as_str(), file.url_file()), ("", Some("/run/url".into())));
        let both =
            parse(&["--database-url-file", "/run/url", "--database-url", "postgres://h/d"]).unwrap_err();
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
        assert_eq!(parse(&[]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn values_outside_the_bounds_are_rejected() {
        for wrong in ["0", "1001", "-1", "ten"] {
            assert!(
                parse(&["--database-url", "postgres://h/d", "--database-max-connections", wrong]).is_err()
            );
        }
        let pooled =
            parse(&["--database-url", "postgres://h/d", "--database-pooler", "transaction"]).unwrap();
        assert_eq!(pooled.database_pooler, PoolerArg::Transaction);
    }
}
