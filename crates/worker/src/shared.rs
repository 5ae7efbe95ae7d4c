//! What the parts of one worker share: settings, handlers, the table of attempts, its identity and its health. Owns no
//! loop and no connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{Limits, WorkerId};
use jobqueue_runtime::admin::Check;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::handler::Handlers;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::running::Running;

/// One worker.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) handlers: Handlers,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) running: Running,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) health: Health,
    /// There may be work; or something else for the dispatcher to look at.
    pub(crate) wake: Notify,
    /// Tasks of this worker; its end waits for them, for a while.
    pub(crate) tasks: TaskTracker,
    /// The end is forced: nobody gets time to stop by himself.
    pub(crate) forced: AtomicBool,
    /// The drain has begun: heartbeats say so.
    pub(crate) draining: AtomicBool,
}

/// Under which ids this process holds leases.
///
/// Normally one. When the answer of a lease call was lost, jobs may be leased to us that we know nothing of; a heartbeat
/// would renew them for ever. The process then takes a new id, and the old one is given up as soon as its known jobs are
/// done, which lets the reaper have the rest.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) current: WorkerId,
    pub(crate) retired: Vec<WorkerId>,
    /// The lease calls under way: the id of each, and since when.
    pub(crate) leasing: Vec<(WorkerId, Instant)>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self { current: new_id(), retired: Vec::new(), leasing: Vec::new() }
    }

    /// Takes a new id, which must be registered already: leases of an unknown worker are reclaimed at once.
    pub(crate) fn adopt(&mut self, id: WorkerId) {
        let old = std::mem::replace(&mut self.current, id);
        self.retired.push(old);
    }
}

/// An id that no worker had before.
pub(crate) fn new_id() -> WorkerId {
    WorkerId::from_uuid(Uuid::new_v4())
}

impl Shared {
    pub(crate) fn new(options: Options, handlers: Handlers, metrics: Metrics) -> Self {
        Self {
            options,
            handlers,
            limits: Limits::default(),
            metrics,
            running: Running::default(),
            identity: Mutex::new(Identity::new()),
            health: Health::new(),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            forced: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    pub(crate) fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last good heartbeat is so recent that our leases are surely ours: only then is anything started.
    pub(crate) fn is_trusted(&self) -> bool {
        self.health.last_beat().is_some_and(|beat| beat.elapsed() < self.options.trust())
    }

    /// What readiness asks.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let patience = self.options.poll * 3 + LOOP_PATIENCE;
        vec![
            self.health.check("lease_loop", &self.health.cycle, patience),
            self.health.check("heartbeat", &self.health.beat, self.options.trust()),
        ]
    }
}

/// What a lease cycle may take beyond three polls before the worker is not ready.
const LOOP_PATIENCE: Duration = Duration::from_secs(5);

/// When the loops last succeeded, in milliseconds since the start plus one; zero is never.
#[derive(Debug)]
pub(crate) struct Health {
    start: Instant,
    cycle: AtomicU64,
    beat: AtomicU64,
}

impl Health {
    fn new() -> Self {
        Self { start: Instant::now(), cycle: AtomicU64::new(0), beat: AtomicU64::new(0) }
    }

    /// The lease loop came round: it leased, or it saw that there is no room.
    pub(crate) fn cycle_succeeded(&self) {
        self.cycle.store(self.stamp(Instant::now()), Ordering::Relaxed);
    }

    /// A heartbeat that was sent at `sent_at` was answered.
    pub(crate) fn beat_succeeded(&self, sent_at: Instant) {
        self.beat.fetch_max(self.stamp(sent_at), Ordering::Relaxed);
    }

    pub(crate) fn last_beat(&self) -> Option<Instant> {
        self.moment(&self.beat)
    }

    fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn moment(&self, stamp: &AtomicU64) -> Option<Instant> {
        let stamp = stamp.load(Ordering::Relaxed);
        (stamp > 0).then(|| self.start + Duration::from_millis(stamp - 1))
    }

    fn check(&self, name: &str, stamp: &AtomicU64, patience: Duration) -> Check {
        match self.moment(stamp).map(|at| at.elapsed()) {
            None => Check::fail(name, "has not succeeded since the start"),
            Some(ago) if ago > patience => {
                Check::fail(name, format!("last succeeded {:.0} s ago", ago.as_secs_f64()))
            }
            Some(_) => Check::pass(name),
        }
    }
}
