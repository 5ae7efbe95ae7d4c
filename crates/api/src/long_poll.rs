//! Requests that wait: for a job to become final, for a queue to have jobs, or for something that a worker should know. Owns how many may wait and how they are
//! woken. A waiting request uses no database connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{JobId, QueueName, WorkerId};
use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::{Heard, Store, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use tokio::time::{sleep, timeout};

use crate::metrics::ApiMetrics;
use crate::problem::{Problem, ProblemKind};

/// Pause between two reads of the jobs that requests wait for.
const READ_EVERY: Duration = Duration::from_millis(200);
/// How many wake-ups are kept for a waiting request that has not read them. If there are more, it polls.
const HINTS: usize = 256;

/// The requests that wait. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LongPolls(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    places: Arc<Semaphore>,
    metrics: ApiMetrics,
    watch: Watch,
    hints: Hints,
    shutdown: Shutdown,
}

impl LongPolls {
    /// Starts the tasks behind it. At most `max` requests wait at the same time. `wake_routes` is notified when the database says that
    /// routes changed, because the listener is here.
    pub(crate) fn start(
        store: &Store,
        max: usize,
        shutdown: &Shutdown,
        (metrics, wake_routes): (&ApiMetrics, &Arc<Notify>),
    ) -> Self {
        Self(Arc::new(Parts {
            places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            metrics: metrics.clone(),
            watch: Watch::start(store, shutdown),
            hints: Hints::start(store, wake_routes.clone(), shutdown),
            shutdown: shutdown.clone(),
        }))
    }

    /// A place among the requests that wait; keep it while the request waits.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.places.clone().try_acquire_owned().map_err(|_| {
            self.0.metrics.rejected("long_polls");
            Problem::new(
                ProblemKind::TooBusy,
                "too many requests are already waiting; repeat the request later, or without `wait`",
            )
        })
    }

    /// Returns when the job may be final, when `wait` is over, or when the process shuts down.
    pub(crate) async fn until_final(&self, id: JobId, wait: Duration) {
        self.0.watch.until_final(id, wait).await;
    }

    /// The wake-ups that arrive from now on.
    pub(crate) fn hints(&self) -> HintReceiver {
        self.0.hints.subscribe()
    }

    /// The hints for workers that arrive from now on.
    pub(crate) fn worker_hints(&self) -> WorkerHints {
        WorkerHints(self.0.hints.workers.subscribe())
    }

    /// Returns when the process shuts down.
    pub(crate) async fn shutdown(&self) {
        self.0.shutdown.soft().cancelled().await;
    }
}

type Waiting = HashMap<JobId, Vec<oneshot::Sender<()>>>;

/// Watches jobs until they are final: one statement per read, for any number of requests.
#[derive(Debug)]
struct Watch {
    waiting: Arc<Mutex<Waiting>>,
    /// Notified when a request starts to wait.
    new_request: Arc<Notify>,
    shutdown: Shutdown,
}

impl Watch {
    /// Starts the reader, which ends with the soft shutdown.
    fn start(store: &Store, shutdown: &Shutdown) -> Self {
        let (waiting, new_request) = (Arc::<Mutex<Waiting>>::default(), Arc::<Notify>::default());
        shutdown.spawn(watch_jobs(store.clone(), waiting.clone(), new_request.clone(), shutdown.clone()));
        Self { waiting, new_request, shutdown: shutdown.clone() }
    }

    /// Returns when the job may be final, when `wait` is over, or when the process shuts down.
    async fn until_final(&self, id: JobId, wait: Duration) {
        let (sender, done) = oneshot::channel();
        lock(&self.waiting).entry(id).or_default().push(sender);
        self.new_request.notify_one();
        tokio::select! {
            _ = timeout(wait, done) => {}
            () = self.shutdown.soft().cancelled() => {}
        }
    }
}

async fn watch_jobs(
    store: Store,
    waiting: Arc<Mutex<Waiting>>,
    new_request: Arc<Notify>,
    shutdown: Shutdown,
) {
    let mut backoff = Backoff::new(READ_EVERY, Duration::from_secs(5));
    while !shutdown.soft().is_cancelled() {
        let ids = awaited(&waiting);
        if ids.is_empty() {
            tokio::select! {
                () = new_request.notified() => {}
                () = shutdown.soft().cancelled() => {}
            }
            continue;
        }
        let pause = match wake_final(&store, &ids, &waiting).await {
            Ok(()) => {
                backoff.reset();
                READ_EVERY
            }
            Err(error) => {
                tracing::debug!(cause = error.word(), "the jobs that requests wait for cannot be read");
                READ_EVERY + backoff.fail()
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.soft().cancelled() => {}
        }
    }
}

/// The jobs for which requests still wait.
fn awaited(waiting: &Mutex<Waiting>) -> Vec<JobId> {
    let mut waiting = lock(waiting);
    waiting.retain(|_, senders| {
        senders.retain(|sender| !sender.is_closed());
        !senders.is_empty()
    });
    waiting.keys().copied().collect()
}

/// Wakes the requests whose jobs are final.
async fn wake_final(store: &Store, ids: &[JobId], waiting: &Mutex<Waiting>) -> Result<(), StoreError> {
    let ended = store.not_live(ids).await?;
    let mut waiting = lock(waiting);
    for sender in ended.iter().filter_map(|id| waiting.remove(id)).flatten() {
        // if the client has disconnected, nothing waits
        let _gone = sender.send(());
    }
    Ok(())
}

/// The queues that a wake-up names; empty means any queue.
type Hint = Arc<[QueueName]>;

/// Receives which queues have jobs. A wake-up may be lost, so a waiting request also polls.
#[derive(Debug)]
struct Hints {
    sender: broadcast::Sender<Hint>,
    workers: broadcast::Sender<Arc<[WorkerId]>>,
}

/// Where the listener sends what it receives.
struct Receivers {
    queues: broadcast::Sender<Hint>,
    workers: broadcast::Sender<Arc<[WorkerId]>>,
    routes: Arc<Notify>,
}

impl Hints {
    /// Starts the listener, which ends with the soft shutdown.
    fn start(store: &Store, routes: Arc<Notify>, shutdown: &Shutdown) -> Self {
        let ((sender, _), (workers, _)) = (broadcast::channel(HINTS), broadcast::channel(HINTS));
        let receivers = Receivers { queues: sender.clone(), workers: workers.clone(), routes };
        shutdown.spawn(listen(store.clone(), receivers, shutdown.clone()));
        Self { sender, workers }
    }

    /// The wake-ups that arrive from now on.
    fn subscribe(&self) -> HintReceiver {
        HintReceiver(self.sender.subscribe())
    }
}

/// The wake-ups for one waiting request.
pub(crate) struct HintReceiver(broadcast::Receiver<Hint>);

impl HintReceiver {
    /// Returns when one of these queues may have jobs. Cancel-safe.
    pub(crate) async fn of(&mut self, queues: &[QueueName]) {
        loop {
            match self.0.recv().await {
                Ok(hint) if hint.is_empty() || hint.iter().any(|queue| queues.contains(queue)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // the listener has ended: the caller polls
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// The hints for one heartbeat that waits.
pub(crate) struct WorkerHints(broadcast::Receiver<Arc<[WorkerId]>>);

impl WorkerHints {
    /// Returns when a heartbeat of one of these workers may have something new in its answer. Cancel-safe.
    pub(crate) async fn of(&mut self, workers: &[WorkerId]) {
        loop {
            match self.0.recv().await {
                Ok(hint) if hint.iter().any(|worker| workers.contains(worker)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // the listener has ended: the caller waits for its time
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

async fn listen(store: Store, hints: Receivers, shutdown: Shutdown) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while !shutdown.soft().is_cancelled() {
        let error = tokio::select! {
            biased;
            () = shutdown.soft().cancelled() => return,
            error = receive(&store, &hints, &mut backoff) => error,
        };
        tracing::debug!(cause = error.word(), "wake-ups cannot be received; waiting requests poll");
        let pause = backoff.fail();
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.soft().cancelled() => {}
        }
    }
}

/// Listens until an error. The listener has a connection of its own, so this future may be dropped at any time.
async fn receive(store: &Store, hints: &Receivers, backoff: &mut Backoff) -> StoreError {
    let mut listener = match store.listen().await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        match listener.heard().await {
            Ok(heard) => {
                backoff.reset();
                let queues = match heard {
                    Heard::Queues(queues) => queues,
                    Heard::AnyQueue => Vec::new(),
                    Heard::Workers(workers) => {
                        let _no_receiver = hints.workers.send(workers.into());
                        continue;
                    }
                    Heard::RoutesChanged => {
                        hints.routes.notify_one();
                        continue;
                    }
                };
                // it fails if no request waits
                let _no_receiver = hints.queues.send(queues.into());
            }
            Err(error) => return error,
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
