//! What every route shares. Owns the parts and the doors to the store; never a decision.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::{Limits, QueueName};
use jobqueue_runtime::Shutdown;
use jobqueue_runtime::admin::{Check, Readiness};
use jobqueue_store::{Notifier, Store, StoreError};
use prometheus::Registry;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use crate::census::CensusReader;
use crate::cursor::Cursors;
use crate::long_poll::{Hints, Watch};
use crate::metrics::Metrics;
use crate::middleware::auth::RootKey;
use crate::problem::{Kind, Problem};
use crate::remote::Remote;
use crate::submitter::Submitter;

/// The longest that a request waits for the store; below the 30 s within which every request is answered.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(25);

/// Connections that each lane of submissions has to itself, out of those of the process: as many as it has flushers. Batches
/// share those of the lane with keys, for they may have some.
const SUBMITTERS: u32 = 2;

/// What the API grants and demands; see [`args::ApiArgs`](crate::args::ApiArgs) for the meanings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root key; `None` serves without any.
    pub key: Option<SecretString>,
    /// Bounds of a job.
    pub limits: Limits,
    /// Single submissions that may wait for their commit; those with a key (unique or idempotency) are counted apart.
    pub max_pending_jobs: usize,
    /// Requests that may wait in a long poll.
    pub max_long_polls: usize,
    /// Bytes of request bodies that may be in memory.
    pub body_memory_bytes: usize,
    /// Within what time the recommended workers work off a backlog.
    pub drain_target: Duration,
}

impl Settings {
    /// The defaults, with or without a key.
    pub fn new(key: Option<SecretString>) -> Self {
        Self {
            key,
            limits: Limits::default(),
            max_pending_jobs: 10_000,
            max_long_polls: 2_000,
            body_memory_bytes: 64 * 1024 * 1024,
            drain_target: Duration::from_mins(1),
        }
    }
}

/// The running API without its socket. Clones share it; when the last one is gone its queue of submissions is drained.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Parts>);

/// The parts; nameless outside of this crate.
#[derive(Debug)]
pub struct Parts {
    store: Store,
    submitting: Store,
    pub(crate) shutdown: Shutdown,
    pub(crate) limits: Limits,
    pub(crate) drain_target: Duration,
    pub(crate) root_key: RootKey,
    pub(crate) cursors: Cursors,
    pub(crate) submitter: Submitter,
    pub(crate) remote: Remote,
    pub(crate) watch: Watch,
    pub(crate) hints: Hints,
    pub(crate) census: CensusReader,
    pub(crate) metrics: Metrics,
    pub(crate) bodies: Arc<Semaphore>,
    notifier: Notifier,
    long_polls: Arc<Semaphore>,
    readiness: Readiness,
}

impl Deref for ApiState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl ApiState {
    /// Starts the tasks behind the routes on `shutdown`, and exports the metrics of this process in `registry`.
    pub fn start(
        store: &Store,
        settings: &Settings,
        shutdown: &Shutdown,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let lane = (store.max_connections() / 4).clamp(1, SUBMITTERS);
        let (plain, submitting) = (store.apart(lane), store.apart(lane));
        let store = store.apart(store.max_connections().saturating_sub(2 * lane));
        let metrics = Metrics::register(registry, [store.clone(), plain.clone(), submitting.clone()])?;
        let (notifier, send_wake_ups) = Notifier::new(&store);
        shutdown.spawn(send_wake_ups);
        let secret = settings.key.as_ref().map_or("", |key| key.expose_secret());
        let parts = Parts {
            shutdown: shutdown.clone(),
            limits: settings.limits,
            drain_target: settings.drain_target,
            root_key: RootKey::new(settings.key.as_ref()),
            cursors: Cursors::new(secret),
            submitter: Submitter::start(
                [&plain, &submitting],
                &notifier,
                settings.max_pending_jobs,
                shutdown,
                &metrics,
            ),
            remote: Remote::start(&store, &notifier, settings.max_long_polls, shutdown, &metrics),
            watch: Watch::start(&store, shutdown),
            hints: Hints::start(&store, shutdown),
            census: CensusReader::default(),
            metrics,
            bodies: Arc::new(Semaphore::new(settings.body_memory_bytes.min(Semaphore::MAX_PERMITS))),
            notifier,
            long_polls: Arc::new(Semaphore::new(settings.max_long_polls.min(Semaphore::MAX_PERMITS))),
            readiness: readiness(&plain),
            store,
            submitting,
        };
        Ok(Self(Arc::new(parts)))
    }

    /// Decides `/ready`: the database answers and has a schema that this build knows. Asked where plain submissions go, which
    /// nobody can hold up.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The door to the store. The call runs in a task of its own, because a client that disconnects drops the request's
    /// future, and a transaction must not be dropped half-way.
    pub(crate) async fn store<T, F, Fut>(&self, call: F) -> Result<T, Problem>
    where
        F: FnOnce(Store) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.answer(call(self.store.clone())).await
    }

    /// The same for what belongs to a submission: it never waits for a connection that readers hold.
    pub(crate) async fn submitting<T, F, Fut>(&self, call: F) -> Result<T, Problem>
    where
        F: FnOnce(Store) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.answer(call(self.submitting.clone())).await
    }

    async fn answer<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Problem> {
        let running = self.shutdown.spawn_contained(call.in_current_span());
        match tokio::time::timeout(CALL_LIMIT, running).await {
            Ok(Ok(answer)) => answer.map_err(Problem::from),
            Ok(Err(_panicked)) => Err(Problem::internal()),
            Err(_) => Err(Problem::new(Kind::Unavailable, "the database did not answer in time")),
        }
    }

    /// The store itself, for tasks that nobody can cancel.
    pub(crate) fn bare_store(&self) -> &Store {
        &self.store
    }

    /// Hints to workers that these queues have work.
    pub(crate) fn wake<'a>(&self, queues: impl IntoIterator<Item = &'a QueueName>) {
        for queue in queues {
            self.notifier.wake(queue);
        }
    }

    /// A place among the requests that wait.
    pub(crate) fn long_poll_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.long_polls.clone().try_acquire_owned().map_err(|_| {
            self.metrics.rejected("long_polls");
            Problem::new(Kind::TooBusy, "too many requests wait already; ask again without `wait`, or later")
        })
    }
}

fn readiness(store: &Store) -> Readiness {
    let store = store.clone();
    Readiness::new(move || {
        let store = store.clone();
        async move {
            match store.check_schema().await {
                Ok(()) => vec![Check::pass("database"), Check::pass("schema")],
                Err(StoreError::Schema(sentence)) => {
                    vec![Check::pass("database"), Check::fail("schema", sentence)]
                }
                Err(error) => {
                    let reason = format!("the database does not answer (class {})", error.class());
                    vec![Check::fail("database", reason)]
                }
            }
        }
    })
}
