//! The life of a process from `main` to the exit code. Owns the runtime, the order of start and end, and how
//! failures are reported; does not know which service runs.

use crate::config_error::{ConfigError, EX_USAGE};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Telemetry};
use crate::{TelemetryArgs, build_info, tls};
use anyhow::Context;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// How long tasks may take after the hard shutdown began, before the process exits without them.
const FORCED_GRACE: Duration = Duration::from_secs(5);
/// How long tasks may take after the service itself failed.
const FAILED_GRACE: Duration = Duration::from_secs(10);
/// How long blocking threads may take after everything else has ended.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// Runs a service from start to end and returns the exit code of the process.
///
/// Installs the TLS provider, the telemetry and the panic hook, logs which build this is, listens for signals
/// and calls `run` in a multi-thread runtime. When `run` has returned, it waits for every task of the
/// [`Shutdown`], closes the admin port and flushes the traces. `run` may return as soon as it has spawned its
/// services, or run as long as they do.
///
/// The exit code is 0 after a clean end; [`EX_USAGE`] for a [`ConfigError`]; 1 for any other error, for a service that
/// panicked or ended by itself, and for a shutdown that had to be forced.
pub fn boot<F, Fut>(name: &str, args: &TelemetryArgs, run: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    tls::install_tls_provider();
    let telemetry = match telemetry::install(name, args) {
        Ok(telemetry) => telemetry,
        Err(error) => return report(name, &error.into()),
    };
    tracing::info!(
        service.name = name,
        service.version = build_info::VERSION,
        service.revision = build_info::REVISION,
        "starting"
    );
    let code = match run_to_end(run) {
        Ok(()) => {
            tracing::info!(service.name = name, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => report(name, &error),
    };
    Telemetry::flush(telemetry);
    code
}

fn run_to_end<F, Fut>(run: F) -> anyhow::Result<()>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be built")?;
    let outcome = runtime.block_on(supervise(run));
    runtime.shutdown_timeout(BLOCKING_GRACE);
    outcome
}

async fn supervise<F, Fut>(run: F) -> anyhow::Result<()>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals().context("signals cannot be handled")?;
    let outcome = tokio::select! {
        outcome = run(shutdown.clone()) => outcome,
        () = overdue(&shutdown) => Err(anyhow::anyhow!("the service did not stop after the shutdown was forced")),
    };
    if outcome.is_err() {
        shutdown.begin();
        shutdown.force_after(FAILED_GRACE);
    }
    let abandoned = tokio::select! {
        () = shutdown.wait() => false,
        () = overdue(&shutdown) => true,
    };
    shutdown.finish().await;
    outcome?;
    if let Some(reason) = shutdown.failure() {
        anyhow::bail!("{reason}");
    }
    if abandoned {
        anyhow::bail!("tasks were abandoned: they did not stop after the shutdown was forced");
    }
    if shutdown.hard().is_cancelled() {
        anyhow::bail!("the shutdown was forced");
    }
    Ok(())
}

/// Returns `FORCED_GRACE` after the hard shutdown began.
async fn overdue(shutdown: &Shutdown) {
    shutdown.hard().cancelled().await;
    tokio::time::sleep(FORCED_GRACE).await;
}

/// Logs the error once and chooses the exit code. An invalid configuration is reported as one sentence, only
/// on stderr, where the user who set it reads it.
fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<ConfigError>()) {
        eprintln!("{name}: {refused}");
        return ExitCode::from(EX_USAGE);
    }
    tracing::error!(service.name = name, error = format!("{error:#}"), "stopped with an error");
    ExitCode::FAILURE
}
