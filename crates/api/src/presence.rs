//! Which remote workers have sent requests to this process. Owns when their rows are written: at once for a worker that the database may not
//! know, otherwise all together every few seconds. A row only shows the worker; its leases decide what it may do.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::WorkerId;
use jobqueue_runtime::{OutageLog, Shutdown};
use jobqueue_store::{RemoteWorker, Store, StoreError};
use tokio::time::{Instant, sleep};

/// How often the rows of all workers that sent a request are written, and the least time between two descriptions of one worker.
const BEAT: Duration = Duration::from_secs(10);
/// How long a row is known to exist after it was written. The reaper deletes rows of remote workers that are ten minutes old.
const KNOWN_FOR: Duration = Duration::from_mins(1);
/// Workers that are remembered at most. If there are more, some are described again.
const MAX_KNOWN: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Presence {
    store: Store,
    known: Mutex<HashMap<WorkerId, Known>>,
    hasher: RandomState,
}

/// What is known of the row of a worker.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When the row was last written, by this process.
    written_at: Instant,
    /// When the worker was last described, and the hash of that description; `None` if only its leases were seen.
    described: Option<(Instant, u64)>,
    /// Whether it sent a request since the last write.
    heard: bool,
}

impl Presence {
    /// Starts the task that writes the rows. It ends with the shutdown.
    pub(crate) fn start(store: &Store, outages: Arc<OutageLog>, shutdown: &Shutdown) -> Arc<Self> {
        let presence =
            Arc::new(Self { store: store.clone(), known: Mutex::default(), hasher: RandomState::new() });
        let (writer, soft) = (presence.clone(), shutdown.soft().clone());
        shutdown.spawn(async move {
            while soft.run_until_cancelled(sleep(BEAT)).await.is_some() {
                if let Err(error) = writer.write_heard().await {
                    outages.failed("the heartbeats of remote workers", error.word(), &error);
                }
            }
        });
        presence
    }

    /// These workers ask for jobs. When this returns, each has a row, so that it may be granted leases.
    pub(crate) async fn ask(&self, workers: impl Iterator<Item = &RemoteWorker>) -> Result<(), StoreError> {
        let now = Instant::now();
        let due: Vec<(RemoteWorker, u64)> = {
            let mut known = self.known();
            let is_due = |worker: &RemoteWorker| {
                let hash = self.hash(worker);
                let is_due = match known.get_mut(&worker.id()) {
                    Some(known) => {
                        known.heard = true;
                        known.must_describe(hash, now)
                    }
                    None => true,
                };
                is_due.then(|| (worker.clone(), hash))
            };
            workers.filter_map(is_due).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let (rows, hashes): (Vec<RemoteWorker>, Vec<u64>) = due.into_iter().unzip();
        self.store.register_remote_workers(&rows).await?;
        let mut known = self.known();
        if known.len() + rows.len() > MAX_KNOWN {
            known.clear();
        }
        for (worker, hash) in rows.iter().zip(hashes) {
            known.insert(worker.id(), Known { written_at: now, described: Some((now, hash)), heard: false });
        }
        Ok(())
    }

    /// These workers hold leases that they renewed, so they have rows.
    pub(crate) fn renewed(&self, workers: impl Iterator<Item = WorkerId>) {
        let (now, mut known) = (Instant::now(), self.known());
        for worker in workers {
            if known.len() < MAX_KNOWN || known.contains_key(&worker) {
                let fresh = Known { written_at: now, described: None, heard: true };
                known.entry(worker).or_insert(fresh).heard = true;
            }
        }
    }

    /// Writes the rows of the workers that sent a request since the last write, and removes those that are silent.
    async fn write_heard(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        let heard: Vec<WorkerId> = {
            let mut known = self.known();
            known.retain(|_, known| known.heard || now - known.written_at < KNOWN_FOR);
            known.iter().filter(|(_, known)| known.heard).map(|(worker, _)| *worker).collect()
        };
        if heard.is_empty() {
            return Ok(());
        }
        let written = self.store.touch_remote_workers(&heard).await?;
        let mut known = self.known();
        for worker in &heard {
            known.entry(*worker).and_modify(|known| known.heard = false);
        }
        for worker in written {
            known.entry(worker).and_modify(|known| known.written_at = now);
        }
        Ok(())
    }

    /// A hash of what the row says of a worker. The order of queues and kinds does not count: some clients vary it with each request.
    fn hash(&self, worker: &RemoteWorker) -> u64 {
        let (mut queues, mut kinds): (Vec<_>, Vec<_>) =
            (worker.queues.iter().collect(), worker.kinds.iter().collect());
        queues.sort_unstable();
        kinds.sort_unstable();
        self.hasher.hash_one((queues, kinds))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<WorkerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether the worker has to be described before it is granted leases: its row may be gone, or it says something new and was not
    /// described for a while.
    fn must_describe(&self, hash: u64, now: Instant) -> bool {
        now - self.written_at >= KNOWN_FOR
            || self.described.is_none_or(|(at, described)| described != hash && now - at >= BEAT)
    }
}
