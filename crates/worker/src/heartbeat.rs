//! The heartbeat: it reports that this process is alive and which leases it holds, and receives which attempts to stop and the commands of
//! operators. It stops nothing
//! while the database is unreachable: only the database can say that a lease is lost, and the lease's epoch
//! and token reject a late result. Owns a thread, a runtime and a connection, so that no blocking handler can
//! delay it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use jobqueue_core::ControlCommand;
use jobqueue_runtime::{Backoff, build_info};
use jobqueue_store::{
    CommandAnswer, HeldLeases, SentCommand, Store, StoreError, StoreOptions, WorkerEntry, WorkerState,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::end_rate::EndRate;
use crate::memory::rss_bytes;
use crate::options::host_name;
use crate::shared::Shared;
use crate::stop_times::UNREGISTER_LIMIT;

/// A heartbeat that takes longer is abandoned together with its connection.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// First and longest upper bound of the random pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The shortest time between two heartbeats that were requested.
const REQUEST_GAP: Duration = Duration::from_millis(50);
/// The shortest pause after a failure.
const BACKOFF_FLOOR: Duration = Duration::from_millis(20);

/// The handle of the heartbeat's thread.
pub(crate) struct Heartbeat {
    stop: CancellationToken,
    /// Resolves when the thread has ended; with an error if it panicked.
    ended: oneshot::Receiver<()>,
}

impl Heartbeat {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system cannot create the thread or the runtime.
    pub(crate) fn start(shared: Arc<Shared>, options: StoreOptions) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the heartbeat's runtime cannot be built")?;
        // the connection must be created inside that runtime
        let inside = runtime.enter();
        let heartbeat =
            HeartbeatLoop::new(shared, StoreOptions { max_connections: 1, ..options }, stop.clone())?;
        drop(inside);
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                runtime.block_on(heartbeat.run());
                runtime.shutdown_background();
                // the receiver is gone if the worker was dropped
                let _receiver_gone = done.send(());
            })
            .context("the heartbeat's thread cannot be started")?;
        Ok(Self { stop, ended })
    }

    /// Resolves if the thread ends unexpectedly, which only a defect causes.
    pub(crate) async fn broken(&mut self) {
        let _ended_or_panicked = (&mut self.ended).await;
    }

    /// Unregisters the worker and ends the thread. Call it after everything is settled.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        let _ended_or_panicked = self.ended.await;
    }
}

struct HeartbeatLoop {
    shared: Arc<Shared>,
    options: StoreOptions,
    store: Store,
    stop: CancellationToken,
    backoff: Backoff,
    /// The answers to commands that are carried out, until they are stored. The same command may be delivered again until then.
    answers: BTreeMap<i64, CommandAnswer>,
    rate: EndRate,
    /// Whether the log already says that no more jobs are started.
    no_start_logged: bool,
}

impl HeartbeatLoop {
    fn new(shared: Arc<Shared>, options: StoreOptions, stop: CancellationToken) -> Result<Self, StoreError> {
        let store = Store::connect_lazy(&options)?;
        let cap = BACKOFF.1.min(shared.options.heartbeat);
        Ok(Self {
            shared,
            options,
            store,
            stop,
            backoff: Backoff::new(BACKOFF.0.min(cap), cap),
            answers: BTreeMap::new(),
            rate: EndRate::default(),
            no_start_logged: false,
        })
    }

    async fn run(mut self) {
        let mut registered = false;
        while !self.stop.is_cancelled() {
            let sent_at = Instant::now();
            let outcome = if registered { self.beat().await } else { self.register().await };
            registered |= outcome.is_ok();
            let pause = self.after(outcome, sent_at);
            self.stop.run_until_cancelled(self.pause(pause)).await;
        }
        self.unregister().await;
    }

    /// Waits until the next heartbeat is due or requested.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.shared.control.beat_requested() => sleep(REQUEST_GAP.min(pause)).await,
        }
    }

    /// Records the result and returns how long to wait before the next heartbeat.
    fn after(&mut self, outcome: Result<(), StoreError>, sent_at: Instant) -> Duration {
        match outcome {
            Ok(()) => {
                let recent_before = self.shared.heartbeat_is_recent();
                self.shared.health.beat_succeeded(sent_at);
                self.no_start_logged = false;
                let failures = self.backoff.reset();
                if failures > 0 {
                    tracing::info!(failures, "heartbeat recovered");
                }
                if !recent_before {
                    self.shared.wake.notify_one();
                }
                self.shared.options.heartbeat.mul_f64(rand::random_range(0.9..=1.0))
            }
            Err(error) => {
                self.shared.metrics.heartbeat_failures.inc();
                let pause = self.backoff.fail().max(BACKOFF_FLOOR);
                self.shared.health.set_last_failure(Some(error.reason()));
                self.shared.outages.failed("the heartbeat", error.word(), &error);
                if !self.no_start_logged && !self.shared.heartbeat_is_recent() {
                    self.no_start_logged = true;
                    tracing::error!(
                        "no heartbeat has succeeded for too long: no more jobs are started; running jobs continue"
                    );
                }
                pause
            }
        }
    }

    async fn beat(&mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        self.acknowledge().await?;
        if shared.control.take_outdated()
            && let Err(error) = self.register().await
        {
            shared.control.set_outdated();
            return Err(error);
        }
        let (worker_id, lease) = (shared.worker_id, shared.options.lease);
        let state = WorkerState {
            draining: shared.draining.load(Ordering::Relaxed),
            rss_bytes: rss_bytes(),
            jobs_per_minute: self.rate.per_minute(shared.metrics.ends(), Instant::now()),
        };
        // in this order: a lease whose reply arrives in between is in the table and not yet known
        let known_up_to = shared.lease_calls.known_up_to();
        let held = HeldLeases { epochs: shared.running.epochs(), known_up_to };
        let store = self.store.clone();
        let beat =
            self.limited(async move { store.heartbeat(worker_id, lease, &state, &held).await }).await?;
        shared.running.cancel(&beat.cancelled);
        shared.running.stop_lost(&beat.lost);
        shared.lease_calls.set_newest(beat.newest_epoch);
        self.carry_out(&beat.commands);
        if beat.given_back > 0 {
            tracing::warn!(
                leases = beat.given_back,
                "leases that this worker does not run are given back, because the reply of a lease call was lost; the reaper reclaims them"
            );
        }
        if !beat.known {
            tracing::warn!(%worker_id, "the worker's row was deleted after a long time without heartbeats; registering again");
            self.register().await?;
        }
        Ok(())
    }

    /// Carries out commands, each once, and requests the heartbeat that acknowledges them.
    fn carry_out(&mut self, commands: &[SentCommand]) {
        for SentCommand { id, command, arguments } in commands {
            if self.answers.contains_key(id) {
                continue;
            }
            let checked = ControlCommand::from_stored(command, arguments);
            let outcome = checked.and_then(|command| self.shared.control.carry_out(&command));
            match &outcome {
                Ok(_) => tracing::info!(command, arguments, "command carried out"),
                Err(error) => tracing::warn!(command, arguments, error, "command not carried out"),
            }
            self.answers.insert(*id, CommandAnswer { id: *id, outcome });
        }
        if !self.answers.is_empty() {
            // the dispatcher follows the changes
            self.shared.wake.notify_one();
            self.shared.control.request_beat();
        }
    }

    /// Stores the answers to commands.
    async fn acknowledge(&mut self) -> Result<(), StoreError> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let (store, worker_id) = (self.store.clone(), self.shared.worker_id);
        let answers: Vec<CommandAnswer> = self.answers.values().cloned().collect();
        self.limited(async move { store.acknowledge_commands(worker_id, &answers).await }).await?;
        self.answers.clear();
        Ok(())
    }

    async fn register(&mut self) -> Result<(), StoreError> {
        let options = &self.shared.options;
        let worker_id = self.shared.worker_id;
        let entry = WorkerEntry {
            id: worker_id,
            name: options.name.clone(),
            queues: self.shared.control.queues().names().into_iter().map(ToString::to_string).collect(),
            kinds: self
                .shared
                .handlers
                .kinds(options.kinds.as_ref())
                .iter()
                .map(ToString::to_string)
                .collect(),
            slots: u32::try_from(self.shared.control.slots()).unwrap_or(u32::MAX),
            version: build_info::VERSION.to_owned(),
            host: host_name(),
            paused: self.shared.control.is_paused(),
            stale_after: options.stale_after,
        };
        let store = self.store.clone();
        self.limited(async move { store.register_worker(&entry).await }).await?;
        tracing::info!(%worker_id, "worker registered");
        Ok(())
    }

    /// Makes a store call in its own task, because a call must not be dropped while its connection stays in
    /// use. A call that hangs, or is in flight when the worker ends, is abandoned together with its
    /// connection.
    async fn limited<T: Send + 'static>(
        &mut self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut task = tokio::task::JoinSet::new();
        task.spawn(call);
        let reason = tokio::select! {
            Some(joined) = task.join_next() => {
                return joined.unwrap_or_else(|error| Err(StoreError::Abandoned(format!("the call panicked: {error}"))));
            }
            () = self.stop.cancelled() => "the worker ends".to_owned(),
            () = sleep(CALL_LIMIT) => format!("no answer within {CALL_LIMIT:?}"),
        };
        self.store = Store::connect_lazy(&self.options)?;
        Err(StoreError::Abandoned(reason))
    }

    async fn unregister(&mut self) {
        let (store, worker_id) = (self.store.clone(), self.shared.worker_id);
        let answers: Vec<CommandAnswer> = self.answers.values().cloned().collect();
        // the process ends, and its connection too: here a call may be dropped
        let unregistering = async {
            if !answers.is_empty() {
                store.acknowledge_commands(worker_id, &answers).await?;
            }
            store.unregister_worker(worker_id).await
        };
        match tokio::time::timeout(UNREGISTER_LIMIT, unregistering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the worker could not be unregistered; the reaper will consider it dead");
            }
            Err(late) => {
                tracing::warn!(%late, "the worker could not be unregistered; the reaper will consider it dead");
            }
        }
    }
}
