//! The options that every binary has, as clap structs to flatten. Owns names, defaults and help texts; never reads a
//! file except the mounted secret it was pointed at, and never prints a secret.

mod database;
mod seconds;

use clap::{Args, Parser, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr};
use tracing_subscriber::EnvFilter;

pub use database::{DatabaseArgs, Pooler};
pub use seconds::{Seconds, SecondsError};

/// Parses the command line and the environment, or explains and leaves the process.
///
/// Like `Parser::parse`, but a value that makes no sense exits with [`EX_USAGE`](crate::EX_USAGE) (64), the same code
/// that [`boot`](crate::boot) uses for a refused configuration, so that a supervisor needs to know one number.
pub fn parse_args<A: Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { i32::from(crate::EX_USAGE) } else { 0 };
        // A closed terminal must not hide the exit code.
        let _printed = error.print();
        std::process::exit(code)
    })
}

/// What the process tells about itself: log lines, and traces if a collector is named.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// How much to log: OFF, ERROR, WARN, INFO, DEBUG or TRACE, in either case (WARNING, CRITICAL and FATAL are
    /// understood too). For one noisy part, list directives: `info,sqlx=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", value_name = "LEVEL", value_parser = log_filter)]
    pub log_level: String,

    /// How a log line looks: `json` is one JSON object a line (for a log collector), `console` is for people and is
    /// coloured on a terminal.
    #[arg(long, env = "LOG_FORMAT", default_value = "json", value_name = "FORMAT", ignore_case = true)]
    pub log_format: LogFormat,

    /// Where log lines go: stdout, or stderr if the program's own output must stay clean.
    #[arg(long, env = "LOG_OUTPUT", default_value = "stdout", value_name = "STREAM", ignore_case = true)]
    pub log_output: LogOutput,

    /// OpenTelemetry collector that takes OTLP over HTTP, for example `http://otel-collector:4318`; `/v1/traces` is
    /// added. Without it no trace is exported. A collector that is away costs traces, never jobs.
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

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line: `timestamp`, `level`, `message`, then the fields.
    Json,
    /// Text for people, coloured if the stream is a terminal.
    Console,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogOutput {
    /// Standard output: what container platforms collect.
    Stdout,
    /// Standard error: for commands whose output is data.
    Stderr,
}

/// The port for probes and metrics of this process.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admin")]
pub struct AdminArgs {
    /// Address of the admin server (`/metrics`, `/health`, `/ready`). It has no authentication: keep it inside the
    /// cluster. Port 0 picks a free one and logs it.
    #[arg(long, env = "ADMIN_ADDR", default_value_t = AdminArgs::default().admin_addr, value_name = "IP:PORT")]
    pub admin_addr: SocketAddr,
}

impl Default for AdminArgs {
    fn default() -> Self {
        Self { admin_addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)) }
    }
}

/// Checks LOG_LEVEL and writes it the way tracing understands. A lone word must be a level: tracing would take a typo
/// such as `INF` for the name of a module and log nothing at all.
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
    fn the_command_is_sound_and_every_option_explains_itself() {
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
        assert_eq!(parsed.admin.admin_addr.to_string(), "0.0.0.0:9090");
        assert_eq!(
            format!("{:?}", parsed.database),
            format!("{:?}", DatabaseArgs::for_url("postgres://u:secret@db/jobqueue"))
        );
        assert_eq!(parsed.poll, Seconds::parse("1").unwrap());
    }

    #[test]
    fn log_levels_of_either_case_and_of_python_are_understood() {
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
