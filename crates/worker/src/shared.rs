//! The state that the parts of one worker share: settings, handlers, the table of attempts, the lease calls in
//! flight and health. Owns no loop and no connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jobqueue_core::{Limits, WorkerId};
use jobqueue_runtime::OutageLog;
use jobqueue_runtime::admin::Check;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::control::Control;
use crate::handler::Handlers;
use crate::lease_calls::LeaseCalls;
use crate::metrics::WorkerMetrics;
use crate::options::Options;
use crate::running::Running;

/// The shared state of one worker.
pub(crate) struct Shared {
    /// The id of this process, under which it holds leases. Random for every start.
    pub(crate) worker_id: WorkerId,
    pub(crate) options: Options,
    pub(crate) handlers: Handlers,
    /// What operators can change while the worker runs.
    pub(crate) control: Control,
    pub(crate) limits: Limits,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) running: Running,
    pub(crate) lease_calls: LeaseCalls,
    pub(crate) health: Health,
    /// Logs failed store calls, with repetitions counted.
    pub(crate) outages: OutageLog,
    /// Wakes the dispatcher: there may be work, or its state may have changed.
    pub(crate) wake: Notify,
    /// The worker's tasks. The shutdown waits for them, for a limited time.
    pub(crate) tasks: TaskTracker,
    /// Set by a forced shutdown: handlers get no time to stop.
    pub(crate) forced: AtomicBool,
    /// Set when the drain begins. Heartbeats report it.
    pub(crate) draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(options: Options, handlers: Handlers, metrics: WorkerMetrics) -> Self {
        Self {
            worker_id: WorkerId::from_uuid(Uuid::new_v4()),
            control: Control::new(options.slots, options.queues.clone()),
            options,
            handlers,
            limits: Limits::default(),
            metrics,
            running: Running::default(),
            lease_calls: LeaseCalls::default(),
            health: Health::new(),
            outages: OutageLog::default(),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            forced: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether the last successful heartbeat is so recent that no lease can have been reclaimed. Jobs are
    /// started only then.
    pub(crate) fn heartbeat_is_recent(&self) -> bool {
        self.health.last_beat().is_some_and(|beat| beat.elapsed() < self.options.max_heartbeat_age())
    }

    /// The checks of `/ready`.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let tolerance = self.options.poll * 3 + LOOP_TOLERANCE;
        vec![
            self.health.check("lease_loop", &self.health.cycle, tolerance),
            self.health.check("heartbeat", &self.health.beat, self.options.max_heartbeat_age()),
        ]
    }
}

/// How long a lease cycle may take beyond three poll intervals before the worker is reported as not ready.
const LOOP_TOLERANCE: Duration = Duration::from_secs(5);

/// When the loops last succeeded, in milliseconds since the start plus one; zero means never.
#[derive(Debug)]
pub(crate) struct Health {
    start: Instant,
    cycle: AtomicU64,
    beat: AtomicU64,
    /// Why the last store call failed, as text that may be shown to anyone; `None` after a success.
    last_failure: Mutex<Option<&'static str>>,
}

impl Health {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            cycle: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }

    /// Records a successful cycle of the lease loop: it leased, or it has no free capacity.
    pub(crate) fn cycle_succeeded(&self) {
        self.cycle.store(self.stamp(Instant::now()), Ordering::Relaxed);
    }

    /// Records why the last store call failed; `None` if it succeeded.
    pub(crate) fn set_last_failure(&self, reason: Option<&'static str>) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Records that the heartbeat sent at `sent_at` succeeded.
    pub(crate) fn beat_succeeded(&self, sent_at: Instant) {
        self.beat.fetch_max(self.stamp(sent_at), Ordering::Relaxed);
    }

    pub(crate) fn last_beat(&self) -> Option<Instant> {
        self.instant(&self.beat)
    }

    fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn instant(&self, stamp: &AtomicU64) -> Option<Instant> {
        let stamp = stamp.load(Ordering::Relaxed);
        (stamp > 0).then(|| self.start + Duration::from_millis(stamp - 1))
    }

    fn check(&self, name: &str, stamp: &AtomicU64, tolerance: Duration) -> Check {
        let since = match self.instant(stamp).map(|at| at.elapsed()) {
            None => "has not succeeded since the start".to_owned(),
            Some(ago) if ago > tolerance => format!("last succeeded {:.0} s ago", ago.as_secs_f64()),
            Some(_) => return Check::pass(name),
        };
        match *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Check::fail(name, format!("{since}: {reason}")),
            None => Check::fail(name, since),
        }
    }
}
