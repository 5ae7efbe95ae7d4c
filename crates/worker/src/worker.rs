//! A worker as a library: built from handlers, run until the shutdown. Owns the order in which its parts start and end.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::KindName;
use jobqueue_runtime::admin::Readiness;
use jobqueue_runtime::{Backoff, ConfigError, Shutdown};
use jobqueue_store::{Pooler, Store, StoreError, StoreOptions};
use prometheus::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dispatcher::Dispatcher;
use crate::handler::{self, Handler, HandlerError, Handlers, JobContext};
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::queues::QueuePlan;
use crate::shared::Shared;

/// What handlers that cannot be stopped get before the worker ends without them.
pub(crate) const ABANDON_AFTER: Duration = Duration::from_millis(500);
/// Pauses between tries to reach the database at the start, and to listen again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A worker, ready to run. See the crate for an example.
pub struct Worker {
    shared: Arc<Shared>,
    store: Store,
    store_options: StoreOptions,
    registry: Registry,
}

impl Worker {
    /// Begins a worker on the database that `store` describes. It opens its connections when it runs: those of `store`, one
    /// for the heartbeat and one for wake-ups.
    pub fn builder(store: StoreOptions) -> WorkerBuilder {
        let listen = store.pooler == Pooler::None;
        let options = Options { listen, ..Options::default() };
        WorkerBuilder {
            store,
            options,
            handlers: Handlers::default(),
            registry: Registry::new(),
            refused: None,
        }
    }

    /// Begins a worker on the database of a URL, with the usual connections.
    pub fn at(url: impl Into<String>) -> WorkerBuilder {
        Self::builder(StoreOptions {
            url: url.into(),
            application_name: "jobqueue-worker".to_owned(),
            max_connections: 4,
            connect_timeout: Duration::from_secs(5),
            pooler: Pooler::None,
        })
    }

    /// Runs jobs until the soft shutdown begins, then drains: it leases nothing more, lets what runs finish within the grace
    /// and gives the rest back without costing an attempt. Returns when it holds nothing any more.
    ///
    /// # Errors
    /// The database has a schema that this build does not know, or the heartbeat cannot be started.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        if !self.wait_for_schema(&shutdown).await? {
            return Ok(());
        }
        let mut heartbeat = Heartbeat::start(self.shared.clone(), self.store_options.clone())?;
        let shared = &self.shared;
        if shared.options.listen {
            let listening = listen(shared.clone(), self.store_options.clone());
            let soft = shutdown.soft().clone();
            shared.tasks.spawn(async move { soft.run_until_cancelled(listening).await });
        }
        if let Some(pod_cost) = shared.options.pod_cost.clone() {
            let telling = pod_cost.run(shared.clone());
            let soft = shutdown.soft().clone();
            shared.tasks.spawn(async move { soft.run_until_cancelled(telling).await });
        }
        let dispatcher = Dispatcher::new(shared.clone(), self.store.clone(), self.store_options.clone());
        // a task of its own: whoever drops this future must not cut it short
        let mut working = shared.tasks.spawn(dispatcher.run(shutdown.clone()));
        tokio::select! {
            ended = &mut working => ended?,
            () = heartbeat.broken() => {
                shutdown.fail("the heartbeat broke");
                working.await?;
                return Ok(());
            }
        }
        heartbeat.finish().await;
        shared.tasks.close();
        if tokio::time::timeout(ABANDON_AFTER, shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = shared.tasks.len(), "handlers that cannot be stopped are abandoned");
        }
        Ok(())
    }

    /// Whether the lease loop and the heartbeat work, for an admin port.
    pub fn readiness(&self) -> Readiness {
        let shared = self.shared.clone();
        Readiness::new(move || std::future::ready(shared.checks()))
    }

    /// The registry with the worker's metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Something that wakes the worker when a queue got work, for a submitter in the same process.
    pub fn waker(&self) -> Waker {
        Waker(self.shared.clone())
    }

    /// Waits until the database answers. False if the shutdown came first.
    async fn wait_for_schema(&self, shutdown: &Shutdown) -> anyhow::Result<bool> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while !shutdown.soft().is_cancelled() {
            let store = self.store.clone();
            match self.shared.tasks.spawn(async move { store.check_schema().await }).await? {
                Ok(()) => return Ok(true),
                Err(StoreError::Schema(reason)) => return Err(ConfigError(reason).into()),
                Err(error) => {
                    let pause = backoff.fail().max(BACKOFF.0);
                    if backoff.failures() == 1 {
                        tracing::error!(%error, "the database cannot be reached, trying again until it can");
                    }
                    shutdown.soft().run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        Ok(false)
    }
}

/// Wakes a worker of the same process.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Hints that there is work. Cheap; many hints become one.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }
}

/// Turns wake-ups of the database into looks. Whatever goes wrong costs at most a poll interval.
async fn listen(shared: Arc<Shared>, options: StoreOptions) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    // its own connection: the listener keeps it
    let Ok(store) = Store::connect_lazy(&StoreOptions { max_connections: 1, ..options }) else { return };
    let ours: Vec<_> = shared.options.queues.names().into_iter().cloned().collect();
    loop {
        let Ok(mut listener) = store.listen().await else {
            tokio::time::sleep(backoff.fail().max(BACKOFF.0)).await;
            continue;
        };
        backoff.reset();
        // something may have been missed
        shared.wake.notify_one();
        while let Ok(queues) = listener.heard().await {
            if queues.is_empty() || queues.iter().any(|queue| ours.contains(queue)) {
                shared.wake.notify_one();
            }
        }
    }
}

/// A worker in the making. What makes no sense is refused by [`build`](Self::build).
pub struct WorkerBuilder {
    store: StoreOptions,
    pub(crate) options: Options,
    handlers: Handlers,
    registry: Registry,
    refused: Option<String>,
}

impl WorkerBuilder {
    /// A name for humans; default: the host's.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// The queues: `["critical", "default"]` empties them in this order; `["critical=3", "default"]` draws the order of each
    /// cycle by weight (1 if none is given), so that no queue starves. Default: `default`.
    #[must_use]
    pub fn queues<'a>(mut self, queues: impl IntoIterator<Item = &'a str>) -> Self {
        match QueuePlan::parse(queues) {
            Ok(plan) => self.options.queues = plan,
            Err(reason) => self.refuse(format!("queues: {reason}")),
        }
        self
    }

    /// Leases these kinds only. Default: every kind that has a handler.
    #[must_use]
    pub fn kinds<'a>(mut self, kinds: impl IntoIterator<Item = &'a str>) -> Self {
        let parsed: Result<BTreeSet<KindName>, _> =
            kinds.into_iter().map(|kind| parse_kind(kind.trim())).collect();
        match parsed {
            Ok(kinds) => self.options.kinds = Some(kinds),
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Jobs that run at once; default 10.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// Most jobs of one lease call, 1 to 1000; default 10.
    #[must_use]
    pub fn batch_size(mut self, jobs: usize) -> Self {
        self.options.batch = jobs;
        self
    }

    /// How often to look for work while none comes, without a wake-up; default 1 s, ±10 % by chance. Where looks find jobs that
    /// no wake-up announced, the next one comes at their pace, after about 5 ms at least.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval;
        self
    }

    /// How long a lease lasts unless a heartbeat renews it; default 300 s.
    #[must_use]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.options.lease = duration;
        self
    }

    /// Time between heartbeats; default 10 s.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.options.heartbeat = interval;
        self
    }

    /// The silence after which the reaper takes this worker for dead: it reads it from the worker's row. Default 30 s. A worker that
    /// reaches no database for almost as long starts nothing new; what runs goes on.
    #[must_use]
    pub fn stale_after(mut self, silence: Duration) -> Self {
        self.options.stale_after = silence;
        self
    }

    /// What running jobs get at the end of the process; default 50 s, at most 51.5 s: the end takes up to 8.5 s more.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Limit of an attempt whose job has none; default 3600 s.
    #[must_use]
    pub fn default_timeout(mut self, limit: Duration) -> Self {
        self.options.default_timeout = limit;
        self
    }

    /// What a handler gets to stop by itself after a cancel, before it is dropped; default 5 s.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.options.cancel_grace = grace;
        self
    }

    /// The registry that gets the worker's metrics; default: a new one.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Binds a kind to an async function. The payload is read as `Input` (one that does not fit fails the job for good, as
    /// `bad_input`); what it gives back is stored as the result, `()` stores none. `?` on any error means: try again by the
    /// job's retry policy.
    #[must_use]
    pub fn handle<Input, Output, Running>(
        self,
        kind: &str,
        run: impl Fn(JobContext, Input) -> Running + Send + Sync + 'static,
    ) -> Self
    where
        Input: DeserializeOwned,
        Output: Serialize,
        Running: Future<Output = Result<Output, HandlerError>> + Send + 'static,
    {
        self.handler(kind, handler::asynchronous(run))
    }

    /// Binds a kind to a function that blocks; each attempt gets a thread. A thread cannot be stopped from outside, so the
    /// function must look at [`JobContext::is_cancelled`] now and then; until it returns it keeps its slot.
    #[must_use]
    pub fn handle_blocking<Input, Output>(
        self,
        kind: &str,
        run: impl Fn(JobContext, Input) -> Result<Output, HandlerError> + Send + Sync + 'static,
    ) -> Self
    where
        Input: DeserializeOwned,
        Output: Serialize,
    {
        self.handler(kind, handler::blocking(run))
    }

    /// Binds a kind to a handler. The kind `*` stands for every kind that has no handler of its own.
    #[must_use]
    pub fn handler(mut self, kind: &str, handler: Arc<dyn Handler>) -> Self {
        if kind == "*" {
            self.handlers.bind_rest(handler);
            return self;
        }
        match parse_kind(kind) {
            Ok(kind) => {
                if !self.handlers.bind(kind.clone(), handler) {
                    self.refuse(format!("the kind `{kind}` is bound twice: bind it to one handler"));
                }
            }
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Checks everything. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// One sentence that says what to change.
    pub fn build(self) -> Result<Worker, ConfigError> {
        if let Some(refused) = self.refused {
            return Err(ConfigError(refused));
        }
        self.options.check()?;
        if self.handlers.is_empty() {
            return Err(ConfigError(
                "the worker has no handlers and would run nothing: bind a kind, with the binary by WORKER_CONFIG".to_owned(),
            ));
        }
        if let Some(kind) = self.options.kinds.iter().flatten().find(|kind| self.handlers.of(kind).is_none())
        {
            return Err(ConfigError(format!(
                "the kind `{kind}` of WORKER_KINDS has no handler: bind one or leave the kind out"
            )));
        }
        let store = Store::connect_lazy(&self.store)
            .map_err(|error| ConfigError(format!("DATABASE_URL is not usable: {error}")))?;
        let kinds = self.handlers.bound().map(ToString::to_string);
        let metrics = Metrics::new(&self.registry, kinds).map_err(|error| {
            ConfigError(format!("the registry has a metric of this name already: {error}"))
        })?;
        let shared = Arc::new(Shared::new(self.options, self.handlers, metrics));
        Ok(Worker { shared, store, store_options: self.store, registry: self.registry })
    }

    /// Keeps the first reason.
    pub(crate) fn refuse(&mut self, reason: impl Display) {
        self.refused.get_or_insert_with(|| reason.to_string());
    }
}

fn parse_kind(kind: &str) -> Result<KindName, String> {
    kind.parse().map_err(|error| format!("the kind `{kind}` {error}"))
}
