//! The options of the API and their validation. Defines names, defaults and help texts. It opens no file
//! except a mounted secret.

mod proxy;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand};
use jobqueue_core::Limits;
use jobqueue_runtime::{
    AdminArgs, ConfigError, DatabaseArgs, HttpLimits, Seconds, TelemetryArgs, parse_flag,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::problem::refuse;
use crate::state::Settings;

pub use proxy::ProxyArgs;

/// Shortest key that is accepted: 32 characters of base64 are 192 random bits.
pub const MIN_KEY_CHARS: usize = 32;
/// Longest file that can hold a key.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// The REST API of jobqueue: submits jobs, returns their status, and serves workers in any language.
#[derive(Parser, Debug)]
#[command(name = "jobqueue-api", version, subcommand_negates_reqs = true)]
pub struct ApiCli {
    /// A command other than serving.
    #[command(subcommand)]
    pub command: Option<ApiCommand>,
    /// Options of the server.
    #[command(flatten)]
    pub serve: ApiArgs,
}

/// Commands of the binary other than serving.
#[derive(Subcommand, Debug)]
pub enum ApiCommand {
    /// Applies missing migrations and exits. It may run twice, also concurrently.
    Migrate(MigrateArgs),
    /// Waits until the database answers and has a schema that this build supports, then exits with 0; exits
    /// with 1 after the timeout. For init containers.
    Wait(WaitArgs),
    /// Checks whether the API on this host (API_ADDR) is ready: exits with 0 if it is, otherwise with 1. For
    /// health checks without a shell.
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
    /// How long to wait at most, in seconds. After that the exit code is 1 and the last line says what is
    /// missing.
    #[arg(
        long = "timeout-seconds",
        env = "WAIT_TIMEOUT_SECONDS",
        default_value = "300",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration
    )]
    pub timeout: Duration,

    /// Wait only until the database answers, regardless of its schema. The migration uses this.
    #[arg(long, env = "WAIT_DATABASE_ONLY", value_parser = parse_flag)]
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
    /// Address of the API. `[::]` means every address, including IPv4. Port 0 chooses a free port and logs
    /// it.
    #[arg(long, env = "API_ADDR", default_value_t = ApiArgs::ADDR, value_name = "IP:PORT", help_heading = "API")]
    pub api_addr: SocketAddr,

    /// The root key that clients send as `Authorization: Bearer …`: at least 32 visible ASCII characters;
    /// leading and trailing spaces and line breaks are removed. Prefer the variable, because arguments show
    /// up in `ps`.
    #[arg(
        long,
        env = "API_SECRET_KEY",
        hide_env_values = true,
        value_name = "KEY",
        value_parser = clap::builder::StringValueParser::new().map(SecretString::from),
        help_heading = "API"
    )]
    pub api_secret_key: Option<SecretString>,

    /// File that contains the root key (a mounted secret), instead of API_SECRET_KEY. The same rules apply.
    /// It is read once at start.
    #[arg(
        long,
        env = "API_SECRET_KEY_FILE",
        value_name = "PATH",
        conflicts_with = "api_secret_key",
        help_heading = "API"
    )]
    pub api_secret_key_file: Option<PathBuf>,

    /// Serve without a key. Allowed only on a loopback address, for trials.
    #[arg(long, env = "API_INSECURE", value_parser = parse_flag, help_heading = "API")]
    pub insecure: bool,

    /// How long requests in flight may take after SIGTERM, in seconds, including API_PRE_STOP_DELAY_SECONDS.
    /// Then they are aborted. Keep it below the pod's `terminationGracePeriodSeconds`.
    #[arg(
        long = "api-shutdown-grace-seconds",
        env = "API_SHUTDOWN_GRACE_SECONDS",
        default_value = "25",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_shutdown_grace: Duration,

    /// How long to accept connections and requests after SIGTERM, in seconds. During this time `/ready` is
    /// 503 and each answer has `Connection: close`, so that load balancers and clients stop using the
    /// connections before they are closed. Default: no delay.
    #[arg(
        long = "api-pre-stop-delay-seconds",
        env = "API_PRE_STOP_DELAY_SECONDS",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_pre_stop_delay: Option<Duration>,

    /// Largest number of single submissions that wait for their commit, 1 to 100000; above it the API answers
    /// 429. Submissions with a unique key or an idempotency key wait in a second queue with the same limit.
    #[arg(
        long,
        env = "API_MAX_PENDING_JOBS",
        default_value_t = 10_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "API"
    )]
    pub api_max_pending_jobs: u32,

    /// Largest number of requests that wait in a long poll at the same time, 1 to 100000; above it the API
    /// answers 429.
    #[arg(
        long,
        env = "API_MAX_LONG_POLLS",
        default_value_t = 2_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "API"
    )]
    pub api_max_long_polls: u32,

    /// Largest number of listeners of `/v1/stream` and `/v1/jobs/ID/stream` at the same time, 1 to 100000; above it the
    /// API answers 503.
    #[arg(
        long,
        env = "API_MAX_STREAMS",
        default_value_t = 2_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "API"
    )]
    pub api_max_streams: u32,

    /// Longest time in which a stream sends nothing, in seconds; then it sends a comment. Keep it below the idle timeout
    /// of every proxy in front of the API.
    #[arg(
        long = "api-stream-keep-alive-seconds",
        env = "API_STREAM_KEEP_ALIVE_SECONDS",
        default_value = "15",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_stream_keep_alive: Duration,

    /// Memory for request bodies that are being read or stored, in MiB, 16 to 65536; above it the API answers
    /// 429.
    #[arg(
        long,
        env = "API_BODY_MEMORY_MIB",
        default_value_t = 64,
        value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(16..=65_536),
        help_heading = "API"
    )]
    pub api_body_memory_mib: u32,

    /// Largest number of open connections, 1 to 1000000. When it is reached, idle connections are closed to
    /// accept new clients. It is lowered if the process may open fewer files
    #[arg(
        long,
        env = "API_MAX_CONNECTIONS",
        default_value_t = 4_096,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "API"
    )]
    pub api_max_connections: u32,

    /// Largest payload of a job, in bytes of JSON, 1024 to 1048576.
    #[arg(
        long,
        env = "API_MAX_PAYLOAD_BYTES",
        default_value_t = 1_048_576,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1_024..=1_048_576),
        help_heading = "API"
    )]
    pub api_max_payload_bytes: u32,

    /// Time within which a backlog should be worked off, in seconds. `job_queue_recommended_workers` is
    /// calculated from it.
    #[arg(
        long = "api-drain-target-seconds",
        env = "API_DRAIN_TARGET_SECONDS",
        default_value = "60",
        value_name = "SECONDS",
        value_parser = Seconds::parse_duration,
        help_heading = "API"
    )]
    pub api_drain_target: Duration,

    /// URL of a trace in your tracing system, with `{trace_id}` in place of the id, for example
    /// `https://jaeger.example.com/trace/{trace_id}`. The dashboard links to it. Default: no link.
    #[arg(
        long,
        env = "DASHBOARD_TRACE_URL",
        value_name = "URL",
        value_parser = trace_url,
        help_heading = "API"
    )]
    pub dashboard_trace_url: Option<String>,

    /// Sign-in through a proxy.
    #[command(flatten)]
    pub proxy: ProxyArgs,
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
    const ADDR: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8000);

    /// Checks what must fit together, and reads the mounted key.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let limits = Limits { payload_bytes: to_usize(self.api_max_payload_bytes), ..Limits::default() };
        Ok(Settings {
            key: self.key()?,
            proxy: self.proxy.settings()?,
            limits,
            max_pending_jobs: to_usize(self.api_max_pending_jobs),
            max_long_polls: to_usize(self.api_max_long_polls),
            max_streams: to_usize(self.api_max_streams),
            stream_keep_alive: self.api_stream_keep_alive,
            body_memory_bytes: to_usize(self.api_body_memory_mib).saturating_mul(1024 * 1024),
            drain_target: self.api_drain_target,
            trace_url: self.dashboard_trace_url.clone(),
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
        let (variable, text) = match (&self.api_secret_key_file, &self.api_secret_key) {
            (Some(path), _) => ("API_SECRET_KEY_FILE", read_key(path)?),
            (None, Some(key)) => ("API_SECRET_KEY", key.clone()),
            (None, None) => ("API_SECRET_KEY", SecretString::default()),
        };
        let key = text.expose_secret().trim();
        let is_loopback = self.api_addr.ip().is_loopback();
        if key.is_empty() {
            return match self.insecure {
                true if is_loopback => Ok(None),
                true => Err(ConfigError(format!(
                    "API_INSECURE (--insecure) needs a loopback address, but API_ADDR is {}: set API_ADDR=127.0.0.1:8000, or set API_SECRET_KEY",
                    self.api_addr
                ))),
                false => Err(ConfigError(format!(
                    "{variable} is {}: give a key of at least {MIN_KEY_CHARS} characters, for example from `openssl rand -base64 32`",
                    if self.api_secret_key_file.is_some() { "an empty file" } else { "not set" }
                ))),
            };
        }
        if self.insecure {
            return Err(ConfigError(format!("set either {variable} or API_INSECURE (--insecure), not both")));
        }
        // Other characters cannot be sent in a header, or not in the same way by every client.
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(ConfigError(format!(
                "{variable} may only hold visible ASCII characters, without spaces inside: take one from `openssl rand -base64 32`"
            )));
        }
        if key.len() < MIN_KEY_CHARS {
            return Err(ConfigError(format!(
                "{variable} is too short: give at least {MIN_KEY_CHARS} characters, for example from `openssl rand -base64 32`"
            )));
        }
        Ok(Some(SecretString::from(key)))
    }
}

fn trace_url(text: &str) -> Result<String, String> {
    let is_http = text.starts_with("https://") || text.starts_with("http://");
    if is_http && text.contains("{trace_id}") {
        return Ok(text.to_owned());
    }
    Err("must begin with http:// or https:// and contain {trace_id}".to_owned())
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
    Ok(SecretString::from(text))
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
        ApiCli::try_parse_from(all).unwrap().serve
    }

    #[test]
    fn every_option_explains_itself_and_has_a_variable() {
        use clap::CommandFactory as _;
        let command = ApiCli::command();
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
    fn the_url_of_a_trace_has_a_place_for_its_id() {
        let good = "https://jaeger.example.com/trace/{trace_id}?x=1";
        assert_eq!(
            parse(&["--insecure", "--api-addr", "127.0.0.1:0", "--dashboard-trace-url", good])
                .settings()
                .unwrap()
                .trace_url
                .as_deref(),
            Some(good)
        );
        for bad in ["", "https://jaeger.example.com", "javascript:alert({trace_id})", "/trace/{trace_id}"] {
            let args = ["jobqueue-api", "--database-url", URL, "--dashboard-trace-url", bad];
            assert!(ApiCli::try_parse_from(args).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_trimmed_and_checked_the_same_way_from_a_variable_and_from_a_file() {
        let path = std::env::temp_dir().join(format!("jobqueue-api-key-{}", std::process::id()));
        let key = "k".repeat(32);
        for (text, meant) in [
            (key.clone(), Ok(key.as_str())),
            (format!(" {key}\r\n"), Ok(key.as_str())),
            (format!("{}\n\n", &key[1..]), Err("is too short")),
            (" \n".to_owned(), Err("give a key")),
            (format!("{key} {key}"), Err("visible ASCII")),
            (format!("{key}\n{key}"), Err("visible ASCII")),
            (format!("{key}ü"), Err("visible ASCII")),
            (format!("{key}\u{7f}"), Err("visible ASCII")),
        ] {
            std::fs::write(&path, &text).unwrap();
            let both = [
                ("API_SECRET_KEY ", parse(&["--api-secret-key", &text])),
                ("API_SECRET_KEY_FILE ", parse(&["--api-secret-key-file", path.to_str().unwrap()])),
            ];
            for (variable, args) in both {
                let key = args.settings().map(|settings| settings.key.unwrap().expose_secret().to_owned());
                match (key, meant) {
                    (Ok(key), Ok(meant)) => assert_eq!(key, meant),
                    (Err(error), Err(advice)) => {
                        assert!(
                            error.0.starts_with(variable) && error.0.contains(advice),
                            "{text:?}: {error}"
                        );
                    }
                    (given, meant) => panic!("{text:?}: {given:?} instead of {meant:?}"),
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = "secret-".repeat(6);
        assert!(!format!("{:?}", parse(&["--api-secret-key", &key])).contains(&key));
    }

    #[test]
    fn migrate_needs_no_key() {
        let cli = ApiCli::try_parse_from(["jobqueue-api", "migrate", "--database-url", URL]).unwrap();
        assert!(matches!(cli.command, Some(ApiCommand::Migrate(_))));
    }

    #[test]
    fn wait_needs_no_key_and_has_an_end() {
        let wait = |more: &[&str]| {
            let line =
                ["jobqueue-api", "wait", "--database-url", URL].into_iter().chain(more.iter().copied());
            match ApiCli::try_parse_from(line).unwrap().command {
                Some(ApiCommand::Wait(args)) => args,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((wait(&[]).timeout, wait(&[]).database_only), (Duration::from_mins(5), false));
        let short = wait(&["--timeout-seconds", "1.5", "--database-only"]);
        assert_eq!((short.timeout, short.database_only), (Duration::from_millis(1500), true));
    }
}
