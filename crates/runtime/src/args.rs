//! The options of every binary, as clap structs to flatten. Defines names, defaults and help texts. It reads
//! no file except the named secret, and never prints a secret.

mod database;
mod flag;
mod named;
mod seconds;

use clap::builder::Resettable;
use clap::{Args, Parser, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use tracing_subscriber::EnvFilter;

pub use database::{DatabaseArgs, PoolerArg};
pub use flag::parse_flag;
pub use seconds::{Seconds, SecondsError};

/// Parses the command line and the environment. If they are invalid, prints the reason and exits.
///
/// Like `Parser::parse`, but an invalid value exits with [`EX_USAGE`](crate::EX_USAGE) (64), the same code
/// that [`boot`](crate::boot) uses for a rejected configuration, so that a supervisor has to recognize only
/// one code. The message names the variable if the value came from one, and the flag if it came from the
/// command line.
pub fn parse_args<A: Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        let error = named::by_variable(error, A::command(), std::env::args_os());
        let code = if error.use_stderr() { i32::from(crate::EX_USAGE) } else { 0 };
        // A closed terminal must not hide the exit code.
        let _printed = error.print();
        std::process::exit(code)
    })
}

/// Parses only these arguments and ignores the environment: for a process that runs several services with its
/// own settings.
///
/// # Errors
/// The arguments that `Parser::try_parse_from` rejects.
pub fn parse_without_env<A: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<A, clap::Error> {
    let command = A::command().mut_args(|argument| argument.env(Resettable::Reset));
    let mut matches = command.try_get_matches_from(arguments)?;
    A::from_arg_matches_mut(&mut matches)
}

/// Options for log lines, and for traces if a collector is set.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// Log level: OFF, ERROR, WARN, INFO, DEBUG or TRACE, in upper or lower case (WARNING, CRITICAL and FATAL
    /// are also accepted). To set levels of single modules, list directives: `info,sqlx=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", value_name = "LEVEL", value_parser = log_filter)]
    pub log_level: String,

    /// Format of a log line: `json` writes one JSON object per line (for a log collector), `console` writes
    /// text for people, with colours on a terminal.
    #[arg(long, env = "LOG_FORMAT", default_value = "json", value_name = "FORMAT", ignore_case = true)]
    pub log_format: LogFormat,

    /// Stream for log lines: stdout, or stderr if stdout must contain only the program's output.
    #[arg(long, env = "LOG_OUTPUT", default_value = "stdout", value_name = "STREAM", ignore_case = true)]
    pub log_output: LogOutput,

    /// OpenTelemetry collector that takes OTLP over HTTP, for example `http://otel-collector:4318`;
    /// `/v1/traces` is added. Without it no traces are exported. If the collector is unreachable, traces are
    /// lost, never jobs.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Service name in exported traces. Default: the name of the binary.
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otel_service_name: Option<String>,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            log_format: LogFormat::Json,
            log_output: LogOutput::Stdout,
            otlp_endpoint: None,
            otel_service_name: None,
        }
    }
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line: `timestamp`, `level`, `message`, then the fields.
    Json,
    /// Text for people, coloured if the stream is a terminal.
    Console,
}

/// Stream for log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogOutput {
    /// Standard output, which container platforms collect.
    Stdout,
    /// Standard error: for commands whose output is data.
    Stderr,
}

/// Options of the port for probes and metrics of this process.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Admin")]
pub struct AdminArgs {
    /// Address of the admin server (`/metrics`, `/health`, `/ready`). It has no authentication: keep it
    /// inside the cluster. Port 0 chooses a free port and logs it. Default: `[::]:9090`, which means every
    /// address, including IPv4. If another process of this host uses port 9090, the next free port up to 9109
    /// is used and logged.
    #[arg(long, env = "ADMIN_ADDR", value_name = "IP:PORT")]
    pub admin_addr: Option<SocketAddr>,
}

/// Checks LOG_LEVEL and converts it to the syntax of tracing. A single word must be a level: tracing would
/// interpret a typo such as `INF` as the name of a module and log nothing.
fn log_filter(text: &str) -> Result<String, String> {
    let directives: Vec<String> =
        text.split(',').map(str::trim).map(log_directive).collect::<Result<_, _>>()?;
    let filter = directives.join(",");
    EnvFilter::builder().parse(&filter).map_err(|error| error.to_string())?;
    Ok(filter)
}

fn log_directive(word: &str) -> Result<String, String> {
    if word.contains('=') {
        return Ok(word.to_owned());
    }
    let level = match word.to_ascii_lowercase().as_str() {
        "off" => "off",
        "critical" | "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => {
            return Err(
                "use OFF, ERROR, WARN, INFO, DEBUG, TRACE, or directives such as `info,sqlx=debug`".into()
            );
        }
    };
    Ok(level.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Everything {
        #[command(flatten)]
        telemetry: TelemetryArgs,
        #[command(flatten)]
        admin: AdminArgs,
        #[command(flatten)]
        database: DatabaseArgs,
        #[arg(long, default_value = "1.0")]
        poll: Seconds,
    }

    fn parse(args: &[&str]) -> Result<Everything, clap::Error> {
        let named = ["test", "--database-url", "postgres://u:secret@db/jobqueue"];
        Everything::try_parse_from(named.iter().chain(args))
    }

    #[test]
    fn the_command_is_valid_and_every_option_has_a_help_text() {
        use clap::CommandFactory;
        let command = Everything::command();
        command.clone().debug_assert();
        for argument in command.get_arguments().filter(|a| a.get_id() != "poll") {
            assert!(argument.get_help().is_some_and(|help| help.to_string().len() > 20), "{argument:?}");
            assert!(argument.get_env().is_some(), "{argument:?}");
        }
    }

    #[test]
    fn defaults_agree_with_the_default_impls() {
        let parsed = parse(&[]).unwrap();
        assert_eq!(format!("{:?}", parsed.telemetry), format!("{:?}", TelemetryArgs::default()));
        assert_eq!(parsed.admin.admin_addr, AdminArgs::default().admin_addr);
        assert_eq!(
            format!("{:?}", parsed.database),
            format!("{:?}", DatabaseArgs::for_url("postgres://u:secret@db/jobqueue"))
        );
        assert_eq!(parsed.poll, Seconds::parse("1").unwrap());
    }

    #[test]
    fn log_levels_in_any_case_and_those_of_python_are_accepted() {
        for (given, meant) in [
            ("INFO", "info"),
            ("warning", "warn"),
            ("CRITICAL", "error"),
            ("Debug", "debug"),
            ("info, sqlx=debug", "info,sqlx=debug"),
        ] {
            assert_eq!(parse(&["--log-level", given]).unwrap().telemetry.log_level, meant);
        }
        for typo in ["INF", "", "info,,", "sqlx=loud", "verbose"] {
            let error = parse(&["--log-level", typo]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{typo:?} must be refused");
        }
        assert_eq!(parse(&["--log-format", "CONSOLE"]).unwrap().telemetry.log_format, LogFormat::Console);
    }
}
