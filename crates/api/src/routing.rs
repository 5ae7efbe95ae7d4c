//! Keeps the routes and the room in queues with `max_queued` in memory current: a notification of the database says at once that routes changed, and a check every second finds what
//! the notification missed. Decides nothing about submissions.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::{OutageLog, Shutdown};
use jobqueue_store::Store;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How often both are read if no notification comes.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the soft shutdown. `wake` is notified when routes may have changed.
pub(crate) async fn keep_current(
    store: Store,
    wake: Arc<Notify>,
    outages: Arc<OutageLog>,
    shutdown: Shutdown,
) {
    while !shutdown.soft().is_cancelled() {
        if let Err(error) = store.refresh_routes().await {
            outages.failed("the routes", error.word(), &error);
        }
        if let Err(error) = store.refresh_queue_rooms().await {
            outages.failed("the room in the queues", error.word(), &error);
        }
        let pause = timeout(CHECK_EVERY, wake.notified());
        if shutdown.soft().run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
