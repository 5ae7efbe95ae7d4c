//! Requests that wait: for a job to become final, and for a queue to have work. Owns how they are woken; a waiting request
//! holds neither a connection nor a transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{JobId, QueueName};
use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::{sleep, timeout};

/// Pause between two looks at the jobs that somebody waits for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Wake-ups that a waiting request may fall behind before it counts as "anything may have happened".
const HINTS: usize = 256;

type Waiting = HashMap<JobId, Vec<oneshot::Sender<()>>>;

/// Watches jobs until they are final: one statement a look, whatever the number of requests.
#[derive(Debug)]
pub(crate) struct Watch {
    waiting: Arc<Mutex<Waiting>>,
    newcomer: Arc<Notify>,
    shutdown: Shutdown,
}

impl Watch {
    /// Starts the reader, which ends with the soft shutdown.
    pub(crate) fn start(store: &Store, shutdown: &Shutdown) -> Self {
        let (waiting, newcomer) = (Arc::<Mutex<Waiting>>::default(), Arc::<Notify>::default());
        shutdown.spawn(look_again(store.clone(), waiting.clone(), newcomer.clone(), shutdown.clone()));
        Self { waiting, newcomer, shutdown: shutdown.clone() }
    }

    /// Returns when the job may be final, when the time is over, or when the process goes down.
    pub(crate) async fn until_final(&self, id: JobId, wait: Duration) {
        let (sender, done) = oneshot::channel();
        lock(&self.waiting).entry(id).or_default().push(sender);
        self.newcomer.notify_one();
        tokio::select! {
            _ = timeout(wait, done) => {}
            () = self.shutdown.soft().cancelled() => {}
        }
    }
}

async fn look_again(store: Store, waiting: Arc<Mutex<Waiting>>, newcomer: Arc<Notify>, shutdown: Shutdown) {
    let mut backoff = Backoff::new(LOOK_EVERY, Duration::from_secs(5));
    while !shutdown.soft().is_cancelled() {
        let ids = still_wanted(&waiting);
        if ids.is_empty() {
            tokio::select! {
                () = newcomer.notified() => {}
                () = shutdown.soft().cancelled() => {}
            }
            continue;
        }
        let pause = match look(&store, &ids, &waiting).await {
            Ok(()) => {
                backoff.reset();
                LOOK_EVERY
            }
            Err(error) => {
                tracing::debug!(error.class = error.class(), "jobs that requests wait for cannot be read");
                LOOK_EVERY + backoff.fail()
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.soft().cancelled() => {}
        }
    }
}

/// The jobs whose requests are still there.
fn still_wanted(waiting: &Mutex<Waiting>) -> Vec<JobId> {
    let mut waiting = lock(waiting);
    waiting.retain(|_, senders| {
        senders.retain(|sender| !sender.is_closed());
        !senders.is_empty()
    });
    waiting.keys().copied().collect()
}

async fn look(store: &Store, ids: &[JobId], waiting: &Mutex<Waiting>) -> Result<(), StoreError> {
    let ended = store.not_live(ids).await?;
    let mut waiting = lock(waiting);
    for sender in ended.iter().filter_map(|id| waiting.remove(id)).flatten() {
        // The request went away.
        let _gone = sender.send(());
    }
    Ok(())
}

/// What a wake-up named; empty means any queue.
type Hint = Arc<[QueueName]>;

/// Hears which queues have work. Hints alone: whoever waits also polls.
#[derive(Debug)]
pub(crate) struct Hints {
    sender: broadcast::Sender<Hint>,
}

impl Hints {
    /// Starts the listener, which ends with the soft shutdown.
    pub(crate) fn start(store: &Store, shutdown: &Shutdown) -> Self {
        let (sender, _) = broadcast::channel(HINTS);
        shutdown.spawn(listen(store.clone(), sender.clone(), shutdown.clone()));
        Self { sender }
    }

    /// What comes from now on.
    pub(crate) fn subscribe(&self) -> HintReceiver {
        HintReceiver(self.sender.subscribe())
    }
}

/// Wake-ups as one waiting request hears them.
pub(crate) struct HintReceiver(broadcast::Receiver<Hint>);

impl HintReceiver {
    /// Returns when one of these queues may have work. Cancel-safe.
    pub(crate) async fn of(&mut self, queues: &[QueueName]) {
        loop {
            match self.0.recv().await {
                Ok(hint) if hint.is_empty() || hint.iter().any(|queue| queues.contains(queue)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // No listener, no hints: the caller polls.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

async fn listen(store: Store, hints: broadcast::Sender<Hint>, shutdown: Shutdown) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while !shutdown.soft().is_cancelled() {
        let error = tokio::select! {
            biased;
            () = shutdown.soft().cancelled() => return,
            error = hear(&store, &hints, &mut backoff) => error,
        };
        tracing::debug!(error.class = error.class(), "wake-ups cannot be heard; requests that wait poll");
        let pause = backoff.fail();
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.soft().cancelled() => {}
        }
    }
}

/// Listens until it fails. Its connection is its own, so dropping it half-way harms nobody.
async fn hear(store: &Store, hints: &broadcast::Sender<Hint>, backoff: &mut Backoff) -> StoreError {
    let mut listener = match store.listen().await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        match listener.heard().await {
            Ok(queues) => {
                backoff.reset();
                // Nobody waits just now.
                let _nobody = hints.send(queues.into());
            }
            Err(error) => return error,
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
