//! `jobqueue-api wait`: waits until the database answers and has a schema that this build knows. Init containers run it.
//! It changes nothing in the database and serves nothing.

use std::time::Duration;

use anyhow::bail;
use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::Store;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::WaitArgs;

/// First and longest upper bound of the random pause between two checks: hundreds of pods may wait for one database.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Returns when the database is ready. Fails at the time limit of the arguments, and when the process is asked to stop. Each
/// new reason for waiting is logged once.
pub async fn wait(args: WaitArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = crate::connect(&args.database, "jobqueue-wait")?;
    let began = Instant::now();
    let deadline = began + args.timeout;
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut reason = "the database has not answered yet".to_owned();
    loop {
        let why = tokio::select! {
            () = shutdown.soft().cancelled() => bail!("asked to stop while waiting: {reason}"),
            why = check(&store, args.database_only, deadline, &reason) => why,
        };
        let Some(why) = why else { break };
        if why != reason {
            tracing::info!(reason = why, "waiting for the database");
            reason = why;
        }
        if Instant::now() >= deadline {
            bail!("the database is not ready after {} s: {reason}", args.timeout.as_secs_f64());
        }
        tokio::select! {
            () = shutdown.soft().cancelled() => bail!("asked to stop while waiting: {reason}"),
            () = sleep(backoff.fail()) => {}
        }
    }
    tracing::info!(waited_seconds = began.elapsed().as_secs_f64(), "the database is ready");
    Ok(())
}

/// Why the database is not ready; `None` if it is. A check that hangs ends at the deadline with the reason of the check
/// before. Its task may be dropped, because the process then ends with all its connections.
async fn check(store: &Store, database_only: bool, deadline: Instant, before: &str) -> Option<String> {
    let mut checking = JoinSet::new();
    let store = store.clone();
    checking
        .spawn(async move { if database_only { store.ping().await } else { store.check_schema().await } });
    match timeout_at(deadline, checking.join_next()).await {
        Ok(Some(Ok(outcome))) => outcome.err().map(|error| error.to_string()),
        Ok(Some(Err(broken))) => Some(broken.to_string()),
        Ok(None) | Err(_) => Some(before.to_owned()),
    }
}
