//! The heartbeat: says that this process lives, hears what it shall stop. While the database cannot be
//! reached it stops nothing: only an answer can say that a lease is gone, and the lease's epoch and token keep a late result
//! out. Owns a thread, a runtime and a connection, so that no handler, however it blocks, can starve it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use jobqueue_core::WorkerId;
use jobqueue_runtime::{Backoff, build_info};
use jobqueue_store::{Beat, Store, StoreError, StoreOptions, WorkerEntry};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::shared::{Shared, new_id};

/// A heartbeat that takes longer is given up with its connection.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// What saying goodbye may take.
pub(crate) const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// Ceilings of the first and of later pauses after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The shortest such pause.
const BACKOFF_FLOOR: Duration = Duration::from_millis(20);

/// The running thread.
pub(crate) struct Heartbeat {
    stop: CancellationToken,
    /// Resolves when the thread has ended, by an error if it panicked.
    ended: oneshot::Receiver<()>,
}

impl Heartbeat {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system gives no thread or no runtime.
    pub(crate) fn start(shared: Arc<Shared>, options: StoreOptions) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the heartbeat's runtime cannot be built")?;
        // the connection belongs to that runtime
        let inside = runtime.enter();
        let heart = Heart::new(shared, StoreOptions { max_connections: 1, ..options }, stop.clone())?;
        drop(inside);
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                runtime.block_on(heart.run());
                runtime.shutdown_background();
                // nobody waits if the worker was dropped
                let _nobody_waits = done.send(());
            })
            .context("the heartbeat's thread cannot be started")?;
        Ok(Self { stop, ended })
    }

    /// Resolves if the thread breaks, which only a defect does.
    pub(crate) async fn broken(&mut self) {
        let _ended_or_panicked = (&mut self.ended).await;
    }

    /// Says goodbye and ends the thread; for after everything is settled.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        let _ended_or_panicked = self.ended.await;
    }
}

struct Heart {
    shared: Arc<Shared>,
    options: StoreOptions,
    store: Store,
    stop: CancellationToken,
    backoff: Backoff,
    /// Epochs that the last heartbeat showed and that we did not know, and when it was sent.
    suspects: (HashSet<i64>, Instant),
    /// It was told that nothing new is started.
    told_untrusted: bool,
}

impl Heart {
    fn new(shared: Arc<Shared>, options: StoreOptions, stop: CancellationToken) -> Result<Self, StoreError> {
        let store = Store::connect_lazy(&options)?;
        let cap = BACKOFF.1.min(shared.options.heartbeat);
        Ok(Self {
            shared,
            options,
            store,
            stop,
            backoff: Backoff::new(BACKOFF.0.min(cap), cap),
            suspects: (HashSet::new(), Instant::now()),
            told_untrusted: false,
        })
    }

    async fn run(mut self) {
        let first = self.shared.identity().current;
        let mut registered = false;
        while !self.stop.is_cancelled() {
            let sent_at = Instant::now();
            let outcome = if registered { self.beat_all().await } else { self.register(first).await };
            registered |= outcome.is_ok();
            let pause = self.after(outcome, sent_at);
            self.stop.run_until_cancelled(sleep(pause)).await;
        }
        self.say_goodbye().await;
    }

    /// Notes how it went and says how long to wait.
    fn after(&mut self, outcome: Result<(), StoreError>, sent_at: Instant) -> Duration {
        match outcome {
            Ok(()) => {
                let trusted_before = self.shared.is_trusted();
                self.shared.health.beat_succeeded(sent_at);
                self.told_untrusted = false;
                let failures = self.backoff.reset();
                if failures > 0 {
                    tracing::info!(failures, "heartbeat recovered");
                }
                if !trusted_before {
                    self.shared.wake.notify_one();
                }
                self.shared.options.heartbeat.mul_f64(rand::random_range(0.9..=1.0))
            }
            Err(error) => {
                self.shared.metrics.heartbeat_failures.inc();
                let pause = self.backoff.fail().max(BACKOFF_FLOOR);
                if self.backoff.failures() == 1 {
                    tracing::error!(%error, "heartbeat failed, trying again until it works");
                }
                if !self.told_untrusted && !self.shared.is_trusted() {
                    self.told_untrusted = true;
                    tracing::error!(
                        "no heartbeat got through for too long: nothing new is started, and what runs goes on"
                    );
                }
                pause
            }
        }
    }

    async fn beat_all(&mut self) -> Result<(), StoreError> {
        let ids: Vec<WorkerId> = {
            let identity = self.shared.identity();
            std::iter::once(identity.current).chain(identity.retired.iter().copied()).collect()
        };
        for id in ids {
            self.beat(id).await?;
        }
        Ok(())
    }

    async fn beat(&mut self, id: WorkerId) -> Result<(), StoreError> {
        let sent_at = Instant::now();
        let lease = self.shared.options.lease;
        let draining = self.shared.draining.load(Ordering::Relaxed);
        let store = self.store.clone();
        let is_current = self.shared.identity().current == id;
        let known: Option<Vec<i64>> =
            (!is_current).then(|| self.shared.running.epochs(id).into_iter().collect());
        let beat =
            self.limited(async move { store.heartbeat(id, lease, draining, known.as_deref()).await }).await?;
        self.shared.running.cancel(&beat.cancelled);
        self.shared.running.stop_unheld(id, &beat.held, sent_at);
        if is_current {
            if self.sees_orphans(id, &beat, sent_at) {
                self.change_identity(id).await?;
            } else if !beat.known {
                tracing::warn!(worker_id = %id, "the worker was forgotten after a long silence; registering again");
                self.register(id).await?;
            }
            return Ok(());
        }
        self.give_up_retired(id).await
    }

    /// Whether the database holds leases for us that we know nothing of. Two heartbeats in a row must show them, with no lease
    /// call under way since the first: then they came with an answer that was lost.
    fn sees_orphans(&mut self, id: WorkerId, beat: &Beat, sent_at: Instant) -> bool {
        let (suspected, since) = std::mem::replace(&mut self.suspects, (HashSet::new(), sent_at));
        let identity = self.shared.identity();
        let known = self.shared.running.epochs(id);
        let unknown: HashSet<i64> =
            beat.held.iter().copied().filter(|epoch| !known.contains(epoch)).collect();
        let not_under_way = identity.leasing.iter().all(|(_, began)| *began > since);
        let orphans = not_under_way && unknown.iter().any(|epoch| suspected.contains(epoch));
        self.suspects.0 = unknown;
        orphans
    }

    /// Goes on under a new id, for the old one would renew the orphans for ever.
    async fn change_identity(&mut self, old: WorkerId) -> Result<(), StoreError> {
        tracing::warn!(
            worker_id = %old,
            "jobs were leased to us in an answer that was lost; taking a new id so that they can be reclaimed"
        );
        let id = new_id();
        self.register(id).await?;
        self.shared.identity().adopt(id);
        self.suspects.0.clear();
        Ok(())
    }

    /// Forgets an old id as soon as nothing that we know runs under it.
    async fn give_up_retired(&mut self, id: WorkerId) -> Result<(), StoreError> {
        let leasing = self.shared.identity().leasing.iter().any(|(worker, _)| *worker == id);
        if leasing || !self.shared.running.epochs(id).is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        self.limited(async move { store.unregister_worker(id).await }).await?;
        self.shared.identity().retired.retain(|retired| *retired != id);
        Ok(())
    }

    async fn register(&mut self, id: WorkerId) -> Result<(), StoreError> {
        let options = &self.shared.options;
        let entry = WorkerEntry {
            id,
            name: options.name.clone(),
            queues: options.queues.names().into_iter().map(ToString::to_string).collect(),
            slots: u32::try_from(options.slots).unwrap_or(u32::MAX),
            version: build_info::VERSION.to_owned(),
            stale_after: options.stale_after,
        };
        let store = self.store.clone();
        self.limited(async move { store.register_worker(&entry).await }).await?;
        tracing::info!(worker_id = %id, "worker registered");
        Ok(())
    }

    /// A store call in a task of its own, because it must not be dropped half-way while its connection lives on. One that
    /// hangs, or is under way when the end comes, is given up together with its connection.
    async fn limited<T: Send + 'static>(
        &mut self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut task = tokio::task::JoinSet::new();
        task.spawn(call);
        let given_up = tokio::select! {
            Some(joined) = task.join_next() => {
                return joined.unwrap_or_else(|error| Err(StoreError::Schema(format!("the call broke: {error}"))));
            }
            () = self.stop.cancelled() => "the worker ends".to_owned(),
            () = sleep(CALL_LIMIT) => format!("no answer within {CALL_LIMIT:?}"),
        };
        self.store = Store::connect_lazy(&self.options)?;
        Err(StoreError::Schema(given_up))
    }

    async fn say_goodbye(&mut self) {
        let ids: Vec<WorkerId> = {
            let identity = self.shared.identity();
            std::iter::once(identity.current).chain(identity.retired.iter().copied()).collect()
        };
        let store = self.store.clone();
        // the process ends, and the connection with it: here a call may be cut short
        let goodbye = async move {
            for id in ids {
                store.unregister_worker(id).await?;
            }
            Ok::<_, StoreError>(())
        };
        match tokio::time::timeout(FAREWELL_LIMIT, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not say goodbye; the worker will be taken for dead");
            }
            Err(late) => tracing::warn!(%late, "could not say goodbye; the worker will be taken for dead"),
        }
    }
}
