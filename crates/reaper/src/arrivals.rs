//! Notifies workers of jobs that were enqueued in SQL without a notification. It is not a duty: it checks many times a
//! second, only one of several reapers does it, and without it jobs start at the workers' next poll. Owns the loop; does not
//! decide when to notify.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::{ArrivalWatcher, Store, StoreError};
use tokio::time::sleep;

use crate::metrics::ReaperMetrics;

/// How often a reaper tries to become the one that checks.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// First and longest upper bound of the random pause after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The shortest pause after an error.
const BACKOFF_FLOOR: Duration = Duration::from_millis(50);

/// Checks until the soft shutdown, with pauses of at most `longest_pause`.
pub(crate) async fn notify(
    store: Store,
    longest_pause: Duration,
    metrics: Arc<ReaperMetrics>,
    shutdown: Shutdown,
) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut watcher = None;
    let mut leads = false;
    while !shutdown.soft().is_cancelled() {
        let pause = match step(&store, &mut watcher, &mut leads, &metrics).await {
            Ok(()) => {
                backoff.reset();
                match &watcher {
                    Some(watcher) if leads => watcher.pause(longest_pause),
                    Some(_) => TRY_EVERY,
                    None => return, // workers receive no notifications
                }
            }
            Err(error) => {
                metrics.outages.failed("arrivals", error.word(), &error);
                (watcher, leads) = (None, false);
                backoff.fail().max(BACKOFF_FLOOR)
            }
        };
        let _stopped = shutdown.soft().run_until_cancelled(sleep(pause)).await;
    }
}

/// Connects if there is no connection, becomes the one that checks if there is none, and checks.
async fn step(
    store: &Store,
    watcher: &mut Option<ArrivalWatcher>,
    leads: &mut bool,
    metrics: &ReaperMetrics,
) -> Result<(), StoreError> {
    if watcher.is_none() {
        *watcher = store.watch_arrivals().await?;
    }
    let Some(watcher) = watcher else { return Ok(()) };
    if !*leads {
        *leads = watcher.is_leader().await?;
    }
    if *leads && watcher.check().await? {
        metrics.arrivals.inc();
    }
    Ok(())
}
