//! The reaper's own metrics: whether each duty runs, how long it takes, how much it moves.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jobqueue_runtime::OutageLog;
use jobqueue_store::StoreError;
use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::schedule_metrics::ScheduleMetrics;

/// A duty that has not succeeded for this many of its intervals is late.
const LATE_AFTER_INTERVALS: u32 = 3;
/// A duty is late after this time at the earliest, because a failover may take as long.
const LATE_AT_LEAST: Duration = Duration::from_mins(1);

/// The reaper's metrics, and the state of each duty.
#[derive(Debug)]
pub(crate) struct ReaperMetrics {
    runs: IntCounterVec,
    jobs: IntCounterVec,
    seconds: HistogramVec,
    last_success: GaugeVec,
    /// Notifications of jobs that were enqueued in SQL.
    pub(crate) arrivals: IntCounter,
    /// Of the duty `schedules`.
    pub(crate) schedules: ScheduleMetrics,
    duties: Mutex<BTreeMap<&'static str, Health>>,
    /// Logs failed runs, with repetitions counted.
    pub(crate) outages: OutageLog,
}

/// The state of one duty.
#[derive(Debug)]
struct Health {
    interval: Duration,
    /// When it last succeeded; in the future during a planned pause.
    last_success: Instant,
    /// Why its last run failed; `None` after a success.
    problem: Option<String>,
}

impl ReaperMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let runs = IntCounterVec::new(
            Opts::new("reaper_runs_total", "Runs of a duty, by how they ended."),
            &["duty", "outcome"],
        )?;
        let jobs = IntCounterVec::new(Opts::new("reaper_jobs_total", "Jobs that a duty moved."), &["duty"])?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("reaper_run_seconds", "Duration of a run of a duty.")
                .buckets(vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0]),
            &["duty"],
        )?;
        let last_success = GaugeVec::new(
            Opts::new("reaper_last_success_timestamp_seconds", "When a duty last succeeded, in Unix time."),
            &["duty"],
        )?;
        let arrivals = IntCounter::new(
            "reaper_arrival_notifications_total",
            "Notifications of workers about jobs that were enqueued in SQL.",
        )?;
        registry.register(Box::new(arrivals.clone()))?;
        registry.register(Box::new(runs.clone()))?;
        registry.register(Box::new(jobs.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(last_success.clone()))?;
        Ok(Self {
            runs,
            jobs,
            seconds,
            last_success,
            arrivals,
            schedules: ScheduleMetrics::new(registry)?,
            duties: Mutex::default(),
            outages: OutageLog::default(),
        })
    }

    /// Registers a duty; from now on it may be late. Its series start at zero, so that rates and missing
    /// duties can be detected.
    pub(crate) fn expect(&self, duty: &'static str, interval: Duration) {
        self.runs.with_label_values(&[duty, "ok"]);
        self.runs.with_label_values(&[duty, "error"]);
        self.jobs.with_label_values(&[duty]);
        if let Ok(mut duties) = self.duties.lock() {
            let problem = Some("has not run yet".to_owned());
            duties.insert(duty, Health { interval, last_success: Instant::now(), problem });
        }
    }

    pub(crate) fn succeeded(&self, duty: &'static str, took: Duration, jobs: u64) {
        self.runs.with_label_values(&[duty, "ok"]).inc();
        self.jobs.with_label_values(&[duty]).inc_by(jobs);
        self.seconds.with_label_values(&[duty]).observe(took.as_secs_f64());
        set_to_now(&self.last_success.with_label_values(&[duty]));
        self.note(duty, |health| (health.last_success, health.problem) = (Instant::now(), None));
    }

    pub(crate) fn failed(&self, duty: &'static str, took: Duration, jobs: u64, error: &StoreError) {
        self.runs.with_label_values(&[duty, "error"]).inc();
        self.jobs.with_label_values(&[duty]).inc_by(jobs);
        self.seconds.with_label_values(&[duty]).observe(took.as_secs_f64());
        self.outages.failed(duty, error.word(), error);
        self.note(duty, |health| health.problem = Some(error.reason().to_owned()));
    }

    fn note(&self, duty: &str, change: impl FnOnce(&mut Health)) {
        if let Ok(mut duties) = self.duties.lock()
            && let Some(health) = duties.get_mut(duty)
        {
            change(health);
        }
    }

    /// Records that a duty pauses for this time on purpose.
    pub(crate) fn rests(&self, duty: &'static str, rest: Duration) {
        self.note(duty, |health| health.last_success = Instant::now() + rest);
    }

    /// Why the last run of a duty failed; `None` if it succeeded.
    pub(crate) fn problem(&self, duty: &str) -> Option<String> {
        self.duties.lock().ok()?.get(duty)?.problem.clone()
    }

    /// The duties whose last success is too long ago.
    pub(crate) fn late(&self) -> Vec<&'static str> {
        let Ok(duties) = self.duties.lock() else { return vec![] };
        let late = |health: &Health| {
            health.last_success.elapsed() > (health.interval * LATE_AFTER_INTERVALS).max(LATE_AT_LEAST)
        };
        duties.iter().filter(|(_, health)| late(health)).map(|(duty, _)| *duty).collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Prometheus compares the gauge with its own wall clock; nothing here depends on it"
)]
fn set_to_now(gauge: &Gauge) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    gauge.set(now.as_secs_f64());
}
