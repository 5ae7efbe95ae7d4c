//! `jobqueue-api wait`: what an init container runs, so that nothing starts before the database answers and has a schema that
//! this build knows. Owns the patience; never changes the database and never serves anything.

use std::time::Duration;

use anyhow::bail;
use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::Store;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::WaitArgs;

/// The ceilings of the pause between two looks: hundreds of pods may wait for one database.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Returns when the database is fit for use. Fails when it is not within the time that the arguments give, and when the process
/// is told to stop. Every new reason to go on waiting is logged once.
pub async fn wait(args: WaitArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::connect_lazy(&crate::store_options(&args.database, "jobqueue-wait"))?;
    let began = Instant::now();
    let deadline = began + args.timeout;
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut reason = "the database has not answered yet".to_owned();
    loop {
        let why = tokio::select! {
            () = shutdown.soft().cancelled() => bail!("told to stop while waiting: {reason}"),
            why = look(&store, args.database_only, deadline, &reason) => why,
        };
        let Some(why) = why else { break };
        if why != reason {
            tracing::info!(reason = why, "waiting for the database");
            reason = why;
        }
        if Instant::now() >= deadline {
            bail!("gave up after {} s: {reason}", args.timeout.as_secs_f64());
        }
        tokio::select! {
            () = shutdown.soft().cancelled() => bail!("told to stop while waiting: {reason}"),
            () = sleep(backoff.fail()) => {}
        }
    }
    tracing::info!(waited_seconds = began.elapsed().as_secs_f64(), "the database is ready");
    Ok(())
}

/// Why the database is not ready; `None`: it is. A look that hangs ends at the deadline, with the reason from before: its task is
/// dropped together with the only pool that its connection could go back to.
async fn look(store: &Store, database_only: bool, deadline: Instant, before: &str) -> Option<String> {
    let mut looking = JoinSet::new();
    let store = store.clone();
    looking.spawn(async move { if database_only { store.ping().await } else { store.check_schema().await } });
    match timeout_at(deadline, looking.join_next()).await {
        Ok(Some(Ok(outcome))) => outcome.err().map(|error| error.to_string()),
        Ok(Some(Err(broken))) => Some(broken.to_string()),
        Ok(None) | Err(_) => Some(before.to_owned()),
    }
}
