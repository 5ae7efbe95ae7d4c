//! From `main` to the exit code. Owns the runtime, the order of start and end, and what a failure looks like outside;
//! never knows which service it runs.

use crate::shutdown::Shutdown;
use crate::telemetry::{self, Telemetry};
use crate::{TelemetryArgs, build_info, tls};
use anyhow::Context;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// The exit code for a configuration that makes no sense (`EX_USAGE` of sysexits.h): restarting will not help.
pub const EX_USAGE: u8 = 64;

/// What is left to tasks after the hard shutdown began, before the process leaves without them.
const FORCED_GRACE: Duration = Duration::from_secs(5);
/// What is left to tasks after the service itself failed.
const FAILED_GRACE: Duration = Duration::from_secs(10);
/// What is left to threads that block after everything else has ended.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// A configured value that makes no sense, as one sentence that says what to change. [`boot`] prints it on stderr and
/// exits with [`EX_USAGE`], wherever in the chain of an error it is found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Runs a service from start to end and says how it went.
///
/// Installs the TLS provider, the telemetry and the panic hook, logs which build this is, listens for signals and calls
/// `run` in a multi-thread runtime. When `run` has returned it waits for every task of the [`Shutdown`], closes the
/// admin port and flushes the traces. `run` may return at once after it has spawned its services, or live as long as
/// they do.
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

/// Ends a while after the hard shutdown began.
async fn overdue(shutdown: &Shutdown) {
    shutdown.hard().cancelled().await;
    tokio::time::sleep(FORCED_GRACE).await;
}

/// Logs the error once and picks the exit code. A refused configuration goes to stderr alone, where the person who
/// typed it looks; it is one sentence.
fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<ConfigError>()) {
        eprintln!("{name}: {refused}");
        return ExitCode::from(EX_USAGE);
    }
    tracing::error!(service.name = name, error = format!("{error:#}"), "stopped with an error");
    ExitCode::FAILURE
}
