//! Log lines and traces of the process. Owns the subscriber and its flush at the end. Never logs a payload or
//! a secret. If the collector is unreachable or slow, only traces are lost.

mod fields;
mod lines;
mod otlp;

use crate::args::{LogFormat, LogOutput, TelemetryArgs};
use crate::config_error::ConfigError;
use lines::{Format, Lines};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The longest that the end of the process waits for a trace collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// sqlx logs each connection that it loses or waits for. Ours log an outage once, with its cause ([`OutageLog`](crate::OutageLog)).
/// A directive in `LOG_LEVEL` for the same target overrides these.
const QUIET: &str = "sqlx=error,sqlx_core=error";

/// The installed subscriber, so that it can be flushed.
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Installs the subscriber and the panic hook of the process. A second call in one process (two boots in a test)
/// keeps the first subscriber.
///
/// # Errors
/// The address of the collector is not a URL.
pub(crate) fn install(name: &str, args: &TelemetryArgs) -> Result<Telemetry, ConfigError> {
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{}", args.log_level))
        .map_err(|error| ConfigError(format!("LOG_LEVEL is not understood: {error}")))?;
    let service = args.otel_service_name.as_deref().unwrap_or(name);
    let endpoint = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.trim().is_empty());
    let provider = endpoint.map(|endpoint| otlp::provider(service, endpoint)).transpose()?;

    // spans add context to lines (request id, job id): a WARN line needs it although its span is INFO
    let spans = filter_fn(|meta| meta.is_span() && *meta.level() <= Level::INFO)
        .with_max_level_hint(LevelFilter::INFO);
    let lines = Lines::new(format(args), writer(args.log_output)).with_filter(filter.or(spans));
    // traces do not depend on LOG_LEVEL, because fewer log lines must not mean incomplete traces
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("jobqueue")).with_filter(LevelFilter::INFO)
    });
    let _kept_the_first = tracing_subscriber::registry().with(lines).with(traces).try_init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is still queued for the collector, for at most three seconds. Blocks: call it outside the runtime.
    pub(crate) fn flush(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

fn format(args: &TelemetryArgs) -> Format {
    match (args.log_format, args.log_output) {
        (LogFormat::Json, _) => Format::Json,
        (LogFormat::Console, LogOutput::Stdout) => {
            Format::Console { colour: std::io::stdout().is_terminal() }
        }
        (LogFormat::Console, LogOutput::Stderr) => {
            Format::Console { colour: std::io::stderr().is_terminal() }
        }
    }
}

fn writer(output: LogOutput) -> BoxMakeWriter {
    match output {
        LogOutput::Stdout => BoxMakeWriter::new(std::io::stdout),
        LogOutput::Stderr => BoxMakeWriter::new(std::io::stderr),
    }
}

/// Logs one line instead of the several lines of the standard hook, which a log collector would split.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(
        panic.message = panic.payload_as_str().unwrap_or("(not a text)"),
        panic.location = location,
        panic.thread = thread.name().unwrap_or("(unnamed)"),
        "a thread panicked"
    );
}
