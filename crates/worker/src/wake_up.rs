//! Wake-ups: hints that there may be work, from the database and from a submitter of the same process. Owns the listening
//! connection; a missed hint delays work by one poll interval at most.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::Backoff;
use jobqueue_store::{Heard, Store, StoreOptions};

use crate::shared::Shared;

/// First and longest pause between attempts to listen again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Wakes a worker of the same process.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Hints that there is work. Cheap; several hints are combined into one.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }
}

/// Turns the database's notifications into polls and heartbeats. A failure here delays work by one poll interval at
/// most, and commands and cancels by one heartbeat interval.
pub(crate) async fn listen(shared: Arc<Shared>, options: StoreOptions) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    // a separate connection: the listener keeps it
    let Ok(store) = Store::connect_lazy(&StoreOptions { max_connections: 1, ..options }) else { return };
    loop {
        let Ok(mut listener) = store.listen().await else {
            tokio::time::sleep(backoff.fail().max(BACKOFF.0)).await;
            continue;
        };
        backoff.reset();
        // notifications may have been missed while nothing was listening
        shared.wake.notify_one();
        shared.control.request_beat();
        while let Ok(heard) = listener.heard().await {
            match heard {
                Heard::AnyQueue => shared.wake.notify_one(),
                Heard::Queues(queues) => {
                    let plan = shared.control.queues();
                    if plan.names().into_iter().any(|ours| queues.contains(ours)) {
                        shared.wake.notify_one();
                    }
                }
                Heard::Workers(workers) if workers.contains(&shared.worker_id) => {
                    shared.control.request_beat();
                }
                Heard::Workers(_) | Heard::RoutesChanged => {}
            }
        }
    }
}
