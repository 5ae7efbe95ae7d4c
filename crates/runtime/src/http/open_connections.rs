//! The open connections of one listener. Limits their number and chooses which ones are closed when the limit
//! is reached; never closes one while its request is being served.

use super::deadline::Activity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A connection that has been idle for less than this is not closed for another client.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// How often to check again while no connection can be closed.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// One in this many connections is closed at once, so that many new clients do not each need a search.
const SHARE: usize = 64;

/// The open connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct OpenConnections {
    slots: Arc<Semaphore>,
    registered: Arc<Mutex<Registered>>,
}

#[derive(Debug, Default)]
struct Registered {
    next: u64,
    open: HashMap<u64, (Activity, CancellationToken)>,
}

/// The slot of one open connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    id: u64,
    open_connections: OpenConnections,
    /// Cancelled when this connection must close if it is idle.
    pub(super) close_if_idle: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl OpenConnections {
    pub(super) fn new(max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { slots, registered: Arc::default() }
    }

    /// Waits for a free slot. While there is none, the connections that have been idle longest are closed.
    pub(super) async fn acquire_slot(&self, activity: Activity) -> ConnectionSlot {
        let slot = loop {
            if let Ok(slot) = self.slots.clone().try_acquire_owned() {
                break slot;
            }
            self.close_idle();
            tokio::select! {
                Ok(slot) = self.slots.clone().acquire_owned() => break slot,
                () = sleep(CHECK_EVERY) => {}
            }
        };
        let close_if_idle = CancellationToken::new();
        let mut registered = self.registered();
        let id = registered.next;
        registered.next += 1;
        registered.open.insert(id, (activity, close_if_idle.clone()));
        ConnectionSlot { id, open_connections: self.clone(), close_if_idle, _slot: slot }
    }

    /// Asks the connections that have been idle longest to close. Requests that are being served continue.
    pub(super) fn close_idle(&self) {
        let registered = self.registered();
        let long_enough = |since: &Instant| since.elapsed() >= MIN_IDLE;
        let mut idle: Vec<(Instant, &CancellationToken)> = registered
            .open
            .values()
            .filter_map(|(activity, close_if_idle)| {
                Some((activity.idle_since().filter(long_enough)?, close_if_idle))
            })
            .collect();
        let count = (registered.open.len() / SHARE).max(1);
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, close_if_idle) in idle.into_iter().take(count) {
            close_if_idle.cancel();
        }
    }

    fn registered(&self) -> MutexGuard<'_, Registered> {
        // nothing can panic while the lock is held
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.open_connections.registered().open.remove(&self.id);
    }
}
