//! A worker as a library: it is built from handlers and runs until the shutdown. Owns the order in which its
//! parts start and stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jobqueue_runtime::admin::Readiness;
use jobqueue_runtime::{Backoff, ConfigError, Shutdown};
use jobqueue_store::{Store, StoreError, StoreOptions};
use prometheus::Registry;
use tokio::time::Instant;

use crate::command::Processes;
use crate::dispatcher::Dispatcher;
use crate::heartbeat::Heartbeat;
use crate::shared::Shared;
use crate::stop_times::ABANDON_AFTER;
use crate::wake_up::{self, Waker};

/// First and longest pause between attempts to reach the database at the start.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A worker, ready to run. See the crate for an example.
pub struct Worker {
    shared: Arc<Shared>,
    store: Store,
    store_options: StoreOptions,
    registry: Registry,
    /// Set if the worker adopts the orphans that its programs leave behind.
    adopts: Option<Processes>,
}

impl Worker {
    /// A worker from checked settings.
    pub(crate) fn new(
        shared: Shared,
        store: Store,
        store_options: StoreOptions,
        registry: Registry,
        adopts: Option<Processes>,
    ) -> Self {
        Self { shared: Arc::new(shared), store, store_options, registry, adopts }
    }

    /// Runs jobs until the soft shutdown begins, then drains: it leases nothing more, lets running jobs
    /// finish within the grace period, and releases the rest, which costs them no attempt. Returns when it
    /// holds no lease. It also returns when an operator has drained it or shut it down by a command.
    ///
    /// # Errors
    /// This build does not know the database's schema, or the heartbeat cannot be started.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        if !self.wait_for_schema(&shutdown).await? {
            return Ok(());
        }
        let adoption =
            self.adopts.as_ref().map(Processes::adopt).transpose().context("orphans cannot be adopted")?;
        let (counting, until) = (self.shared.clone(), shutdown.clone());
        // also ends the tasks of a worker that a command has ended
        let ending = shutdown.soft().child_token();
        let ended = ending.clone();
        self.shared.tasks.spawn(async move { ended.run_until_cancelled(counting.outages.run(&until)).await });
        let mut heartbeat = Heartbeat::start(self.shared.clone(), self.store_options.clone())?;
        let shared = &self.shared;
        if shared.options.listen {
            let listening = wake_up::listen(shared.clone(), self.store_options.clone());
            let ended = ending.clone();
            shared.tasks.spawn(async move { ended.run_until_cancelled(listening).await });
        }
        if let Some(pod_cost) = shared.options.pod_cost.clone() {
            let measured = shared.clone();
            let reporting = pod_cost.run(move || measured.running.run_times(Instant::now()));
            let ended = ending.clone();
            shared.tasks.spawn(async move { ended.run_until_cancelled(reporting).await });
        }
        let dispatcher = Dispatcher::new(shared.clone(), self.store.clone(), self.store_options.clone());
        // a separate task: if the caller drops this future, the dispatcher still finishes
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
        ending.cancel();
        if let Some(adoption) = adoption {
            adoption.finish().await;
        }
        shared.tasks.close();
        if tokio::time::timeout(ABANDON_AFTER, shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = shared.tasks.len(), "handlers that cannot be stopped are abandoned");
        }
        Ok(())
    }

    /// Reports whether the lease loop and the heartbeat work. For an admin port.
    pub fn readiness(&self) -> Readiness {
        let shared = self.shared.clone();
        Readiness::new(move || std::future::ready(shared.checks()))
    }

    /// The registry with the worker's metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A handle for a submitter in the same process. It wakes the worker when a queue has new work.
    pub fn waker(&self) -> Waker {
        Waker::new(self.shared.clone())
    }

    /// Waits until the database is reachable and its schema is known. Returns false if the shutdown came
    /// first.
    async fn wait_for_schema(&self, shutdown: &Shutdown) -> anyhow::Result<bool> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while !shutdown.soft().is_cancelled() {
            let store = self.store.clone();
            match self.shared.tasks.spawn(async move { store.check_schema().await }).await? {
                Ok(()) => return Ok(true),
                Err(StoreError::Schema(reason)) => return Err(ConfigError(reason).into()),
                Err(error) => {
                    let pause = backoff.fail().max(BACKOFF.0);
                    self.shared.health.set_last_failure(Some(error.reason()));
                    self.shared.outages.failed("the schema check", error.word(), &error);
                    shutdown.soft().run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        Ok(false)
    }
}
