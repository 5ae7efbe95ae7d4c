//! The configuration of a worker. Owns the settings until they are checked; does not run anything.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::KindName;
use jobqueue_core::on_end::WEBHOOK_KIND;
use jobqueue_runtime::ConfigError;
use jobqueue_store::{DatabaseUrl, Pooler, Store, StoreOptions};
use prometheus::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::Processes;
use crate::handler::{self, Handler, HandlerError, Handlers, JobContext};
use crate::http::WebhookHandler;
use crate::metrics::WorkerMetrics;
use crate::options::Options;
use crate::queues::QueuePlan;
use crate::shared::Shared;
use crate::worker::Worker;

impl Worker {
    /// Starts the configuration of a worker on the database that `store` describes. The worker opens its
    /// connections when it runs: those of `store`, one for the heartbeat and one for wake-ups.
    pub fn builder(store: StoreOptions) -> WorkerBuilder {
        let listen = store.pooler == Pooler::None;
        let options = Options { listen, ..Options::default() };
        WorkerBuilder {
            store,
            options,
            handlers: Handlers::default(),
            registry: Registry::new(),
            processes: Processes::new(),
            adopts: false,
            refused: None,
        }
    }

    /// Starts the configuration of a worker on the database of a URL, with default connection settings.
    pub fn at(url: impl Into<DatabaseUrl>) -> WorkerBuilder {
        Self::builder(StoreOptions {
            url: url.into(),
            application_name: "jobqueue-worker".to_owned(),
            max_connections: 4,
            connect_timeout: Duration::from_secs(5),
            pooler: Pooler::None,
        })
    }
}

/// Configures a worker. [`build`](Self::build) rejects invalid settings.
pub struct WorkerBuilder {
    store: StoreOptions,
    pub(crate) options: Options,
    handlers: Handlers,
    registry: Registry,
    pub(crate) processes: Processes,
    adopts: bool,
    refused: Option<String>,
}

impl WorkerBuilder {
    /// The worker's name, shown to people; default: the host's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// The queues: `["critical", "default"]` empties them in this order; `["critical=3", "default"]` draws
    /// the order of each cycle by weight (1 if none is given), so that no queue starves. Default: `default`.
    #[must_use]
    pub fn queues<'a>(mut self, queues: impl IntoIterator<Item = &'a str>) -> Self {
        match QueuePlan::parse(queues) {
            Ok(plan) => self.options.queues = plan,
            Err(reason) => self.refuse(format!("queues: {reason}")),
        }
        self
    }

    /// Leases only these kinds. Default: every kind that has a handler.
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

    /// Hosts, as `host` or `host:port`, to which webhooks of jobs may be sent although their addresses are private. Default: none.
    #[must_use]
    pub fn webhook_allow<'a>(mut self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        self.options.webhook_allow = hosts.into_iter().map(|host| host.trim().to_owned()).collect();
        self
    }

    /// How many jobs run at the same time; default 10.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// The largest number of jobs that one lease call takes, 1 to 1000; default 10.
    #[must_use]
    pub fn batch_size(mut self, jobs: usize) -> Self {
        self.options.batch = jobs;
        self
    }

    /// How often to poll while there is no work and no wake-up; default 1 s, randomly varied by ±10 %. While
    /// polls find jobs that no wake-up announced, polls come faster, at the rate at which jobs arrive, but at
    /// least about 5 ms apart.
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

    /// Time without a heartbeat after which the reaper considers this worker dead. The worker stores it in
    /// its row, where the reaper reads it. Default 30 s. A worker that cannot reach the database for almost
    /// this long starts no more jobs; running jobs continue.
    #[must_use]
    pub fn stale_after(mut self, silence: Duration) -> Self {
        self.options.stale_after = silence;
        self
    }

    /// How long running jobs may continue after the shutdown begins; default 50 s, at most 51.5 s, because
    /// stopping takes up to 8.5 s more.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Time limit of an attempt whose job sets none; default 3600 s.
    #[must_use]
    pub fn default_timeout(mut self, limit: Duration) -> Self {
        self.options.default_timeout = limit;
        self
    }

    /// How long a handler may take to stop after a cancel, before it is dropped; default 5 s.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.options.cancel_grace = grace;
        self
    }

    /// Kills and reaps the processes that programs of `command` handlers leave behind, even if they left
    /// their process group or session. The process becomes the parent of every orphan below it
    /// (`PR_SET_CHILD_SUBREAPER`) and waits for children of any pid, so use this only where nothing else in
    /// the process starts programs. The binary does this; a library does not by default.
    #[must_use]
    pub fn adopt_orphans(mut self) -> Self {
        self.adopts = true;
        self
    }

    /// The registry in which the worker registers its metrics; default: a new one.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Binds a kind to an async function. The payload is deserialised as `Input`; a payload that does not fit
    /// fails the job permanently with `bad_input`. The return value is stored as the result; `()` stores
    /// none. An error returned by `?` means a retry by the job's retry policy.
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

    /// Binds a kind to a blocking function; each attempt runs on its own thread. A thread cannot be stopped
    /// from outside, so the function must check [`JobContext::is_cancelled`] regularly. It keeps its slot
    /// until it returns.
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

    /// Binds a kind to a handler. The kind `*` stands for every kind without its own handler.
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

    /// Checks the settings and builds the worker. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// One sentence that says which setting to change.
    pub fn build(mut self) -> Result<Worker, ConfigError> {
        if let Some(refused) = self.refused {
            return Err(ConfigError(refused));
        }
        self.options.check()?;
        if self.handlers.is_empty() {
            return Err(ConfigError(
                "the worker has no handlers and would run nothing: bind a kind, with the binary by WORKER_CONFIG".to_owned(),
            ));
        }
        let store = Store::connect_lazy(&self.store).map_err(|reason| ConfigError(reason.to_string()))?;
        let webhooks = Arc::new(WebhookHandler::new(store.clone(), self.options.webhook_allow.clone()));
        self.handlers
            .bind_unbound(WEBHOOK_KIND.parse().map_err(|_| ConfigError(WEBHOOK_KIND.to_owned()))?, webhooks);
        if let Some(kind) = self.options.kinds.iter().flatten().find(|kind| self.handlers.of(kind).is_none())
        {
            return Err(ConfigError(format!(
                "the kind `{kind}` of WORKER_KINDS has no handler: bind one or leave the kind out"
            )));
        }
        let kinds = self.handlers.bound().map(ToString::to_string);
        let metrics = WorkerMetrics::new(&self.registry, kinds).map_err(|error| {
            ConfigError(format!("the registry has a metric of this name already: {error}"))
        })?;
        let shared = Shared::new(self.options, self.handlers, metrics);
        let adopts = self.adopts.then_some(self.processes);
        Ok(Worker::new(shared, store, self.store, self.registry, adopts))
    }

    /// Records why `build` must fail. The first reason is kept.
    pub(crate) fn refuse(&mut self, reason: impl Display) {
        self.refused.get_or_insert_with(|| reason.to_string());
    }
}

fn parse_kind(kind: &str) -> Result<KindName, String> {
    kind.parse().map_err(|error| format!("the kind `{kind}` {error}"))
}
