//! The options of the API, and their check. Owns names, defaults and help texts; never opens anything but a mounted secret.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand};
use jobqueue_core::Limits;
use jobqueue_runtime::{AdminArgs, ConfigError, DatabaseArgs, HttpLimits, Seconds, TelemetryArgs};
use secrecy::{ExposeSecret as _, SecretString};

use crate::problem::refuse;
use crate::state::Settings;

/// Shortest key that is accepted: 32 characters of base64 are 192 random bits.
pub const MIN_KEY_CHARS: usize = 32;
/// Longest file that can hold a key.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// The REST API of jobqueue: submits jobs, tells how they stand, and serves workers in any language.
#[derive(Parser, Debug)]
#[command(name = "jobqueue-api", version, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ApiArgs,
}

/// What the binary does besides serving.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Applies missing migrations and exits. Safe to run twice and from two places at once.
    Migrate(MigrateArgs),
    /// Waits until the database answers and has a schema that this build knows, and exits: 0, or 1 after the timeout. For init
    /// containers.
    Wait(WaitArgs),
    /// Asks the API on this host (API_ADDR) whether it is ready, and exits: 0 if so, otherwise 1. For health checks without a
    /// shell.
    Probe,
    /// Prints the OpenAPI document and exits.
    Openapi,
}

/// Options of `migrate`.
#[derive(Args, Clone, Debug)]
pub struct MigrateArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Log lines.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Options of `wait`.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// How long to wait at the most, in seconds; then the exit code is 1 and the last line says what was missing.
    #[arg(
        long = "timeout-seconds",
        env = "WAIT_TIMEOUT_SECONDS",
        default_value = "300",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration
    )]
    pub timeout: Duration,

    /// Be content with a database that answers, whatever its schema is: what the migration waits for.
    #[arg(long, env = "WAIT_DATABASE_ONLY")]
    pub database_only: bool,

    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Log lines.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Options of the server.
#[derive(Args, Clone, Debug)]
pub struct ApiArgs {
    /// Address of the API. Port 0 picks a free one and logs it.
    #[arg(long, env = "API_ADDR", default_value_t = ApiArgs::ADDR, value_name = "IP:PORT", help_heading = "API")]
    pub api_addr: SocketAddr,

    /// The root key that clients send as `Authorization: Bearer …`, at least 32 characters. Prefer the variable: arguments
    /// show up in `ps`.
    #[arg(
        long,
        env = "API_SECRET_KEY",
        hide_env_values = true,
        value_name = "KEY",
        value_parser = clap::builder::StringValueParser::new().map(SecretString::from),
        help_heading = "API"
    )]
    pub api_secret_key: Option<SecretString>,

    /// File that holds the root key (a mounted secret), read once at start. Instead of API_SECRET_KEY.
    #[arg(
        long,
        env = "API_SECRET_KEY_FILE",
        value_name = "PATH",
        conflicts_with = "api_secret_key",
        help_heading = "API"
    )]
    pub api_secret_key_file: Option<PathBuf>,

    /// Serve without any key. Only on a loopback address, for trying things out.
    #[arg(long, env = "API_INSECURE", help_heading = "API")]
    pub insecure: bool,

    /// How long requests in flight may take after SIGTERM, in seconds; then they are cut. Keep it below the pod's
    /// `terminationGracePeriodSeconds`.
    #[arg(
        long = "api-shutdown-grace-seconds",
        env = "API_SHUTDOWN_GRACE_SECONDS",
        default_value = "25",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_shutdown_grace: Duration,

    /// How long to go on accepting connections after SIGTERM, in seconds, so that a load balancer learns of it first.
    /// Absent: not at all, which is right behind a `preStop` sleep.
    #[arg(
        long = "api-pre-stop-delay-seconds",
        env = "API_PRE_STOP_DELAY_SECONDS",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_pre_stop_delay: Option<Duration>,

    /// Single submissions that may wait for their commit, 1 to 100000; beyond it the API answers 429. Those with a unique key or an
    /// idempotency key wait apart from the others and have as many places again.
    #[arg(
        long,
        env = "API_MAX_PENDING_JOBS",
        default_value_t = 10_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "API"
    )]
    pub api_max_pending_jobs: u32,

    /// Requests that may wait in a long poll at once, 1 to 100000; beyond it the API answers 429.
    #[arg(
        long,
        env = "API_MAX_LONG_POLLS",
        default_value_t = 2_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "API"
    )]
    pub api_max_long_polls: u32,

    /// Memory for request bodies that are being read or stored, in MiB, 16 to 65536; beyond it the API answers 429.
    #[arg(
        long,
        env = "API_BODY_MEMORY_MIB",
        default_value_t = 64,
        value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(16..=65_536),
        help_heading = "API"
    )]
    pub api_body_memory_mib: u32,

    /// Open connections, 1 to 1000000; further ones wait in the backlog of the system.
    #[arg(
        long,
        env = "API_MAX_CONNECTIONS",
        default_value_t = 4_096,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "API"
    )]
    pub api_max_connections: u32,

    /// Largest payload of a job in bytes of JSON, 1024 to 1048576.
    #[arg(
        long,
        env = "API_MAX_PAYLOAD_BYTES",
        default_value_t = 1_048_576,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1_024..=1_048_576),
        help_heading = "API"
    )]
    pub api_max_payload_bytes: u32,

    /// Within how many seconds a backlog shall be gone, for `job_queue_recommended_workers`.
    #[arg(
        long = "api-drain-target-seconds",
        env = "API_DRAIN_TARGET_SECONDS",
        default_value = "60",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_drain_target: Duration,

    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Log lines and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Probes and metrics of this process.
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl ApiArgs {
    const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8000);

    /// Checks what must fit together, and reads the mounted key.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let limits = Limits { payload_bytes: to_usize(self.api_max_payload_bytes), ..Limits::default() };
        Ok(Settings {
            key: self.key()?,
            limits,
            max_pending_jobs: to_usize(self.api_max_pending_jobs),
            max_long_polls: to_usize(self.api_max_long_polls),
            body_memory_bytes: to_usize(self.api_body_memory_mib).saturating_mul(1024 * 1024),
            drain_target: self.api_drain_target,
        })
    }

    /// What the listener grants.
    pub fn http_limits(&self) -> HttpLimits {
        HttpLimits {
            max_connections: to_usize(self.api_max_connections),
            pre_stop_delay: self.api_pre_stop_delay.unwrap_or_default(),
            refuse,
            ..HttpLimits::default()
        }
    }

    fn key(&self) -> Result<Option<SecretString>, ConfigError> {
        let key = match &self.api_secret_key_file {
            Some(path) => Some(read_key(path)?),
            None => self.api_secret_key.clone().filter(|key| !key.expose_secret().is_empty()),
        };
        let loopback = self.api_addr.ip().is_loopback();
        match (key, self.insecure) {
            (Some(key), _) if key.expose_secret().chars().count() < MIN_KEY_CHARS => Err(ConfigError(format!(
                "API_SECRET_KEY is too short: give at least {MIN_KEY_CHARS} characters, for example from `openssl rand -base64 32`"
            ))),
            (Some(_), true) => {
                Err(ConfigError("give either API_SECRET_KEY or --insecure, not both".to_owned()))
            }
            (Some(key), false) => Ok(Some(key)),
            (None, true) if loopback => Ok(None),
            (None, true) => Err(ConfigError(format!(
                "--insecure needs a loopback address, but API_ADDR is {}: set API_ADDR=127.0.0.1:8000, or give an API_SECRET_KEY",
                self.api_addr
            ))),
            (None, false) => Err(ConfigError(
                "API_SECRET_KEY is not set: give a key of at least 32 characters, for example from `openssl rand -base64 32`"
                    .to_owned(),
            )),
        }
    }
}

fn read_key(path: &std::path::Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!("API_SECRET_KEY_FILE {} cannot be read: {error}", path.display()))
    })?;
    if text.len() > MAX_KEY_FILE_BYTES {
        return Err(ConfigError(format!(
            "API_SECRET_KEY_FILE {} is longer than a key can be",
            path.display()
        )));
    }
    Ok(SecretString::from(text.trim()))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://u:p@db/jobqueue";

    fn parse(args: &[&str]) -> ApiArgs {
        let all = ["jobqueue-api", "--database-url", URL].into_iter().chain(args.iter().copied());
        Cli::try_parse_from(all).unwrap().serve
    }

    #[test]
    fn every_option_explains_itself_and_has_a_variable() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some_and(|help| help.to_string().len() > 20), "{argument:?}");
            assert!(argument.get_env().is_some(), "{argument:?}");
        }
    }

    #[test]
    fn no_key_no_service() {
        let refused = |args: &[&str]| parse(args).settings().unwrap_err().0;
        assert!(refused(&[]).contains("API_SECRET_KEY is not set"));
        assert!(refused(&["--api-secret-key", "short"]).contains("too short"));
        assert!(refused(&["--insecure"]).contains("needs a loopback address"));
        assert!(refused(&["--api-secret-key-file", "/nowhere"]).contains("cannot be read"));
        let key = "k".repeat(32);
        assert!(refused(&["--insecure", "--api-secret-key", &key]).contains("not both"));
        assert!(parse(&["--api-secret-key", &key]).settings().unwrap().key.is_some());
        assert!(parse(&["--insecure", "--api-addr", "127.0.0.1:0"]).settings().unwrap().key.is_none());
        assert!(parse(&["--insecure", "--api-addr", "[::1]:0"]).settings().unwrap().key.is_none());
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = "secret-".repeat(6);
        assert!(!format!("{:?}", parse(&["--api-secret-key", &key])).contains(&key));
    }

    #[test]
    fn migrate_needs_no_key() {
        let cli = Cli::try_parse_from(["jobqueue-api", "migrate", "--database-url", URL]).unwrap();
        assert!(matches!(cli.command, Some(Command::Migrate(_))));
    }

    #[test]
    fn wait_needs_no_key_and_has_an_end() {
        let wait = |more: &[&str]| {
            let line =
                ["jobqueue-api", "wait", "--database-url", URL].into_iter().chain(more.iter().copied());
            match Cli::try_parse_from(line).unwrap().command {
                Some(Command::Wait(args)) => args,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((wait(&[]).timeout, wait(&[]).database_only), (Duration::from_mins(5), false));
        let short = wait(&["--timeout-seconds", "1.5", "--database-only"]);
        assert_eq!((short.timeout, short.database_only), (Duration::from_millis(1500), true));
    }
}
