//! The reaper's own metrics: whether each duty runs, how long it takes, how much it moves.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// A duty that has not succeeded for this many of its intervals is late.
const LATE_AFTER_INTERVALS: u32 = 3;
/// Even a quick duty gets this long before it counts as late: a failover takes that.
const LATE_AT_LEAST: Duration = Duration::from_mins(1);

/// Handles to what is exported.
#[derive(Debug)]
pub(crate) struct Metrics {
    runs: IntCounterVec,
    jobs: IntCounterVec,
    seconds: HistogramVec,
    last_success: GaugeVec,
    duties: Mutex<BTreeMap<&'static str, Health>>,
}

/// How a duty does.
#[derive(Debug)]
struct Health {
    interval: Duration,
    /// In the future while it rests.
    last_success: Instant,
    /// Why its last run failed; `None` after a success.
    problem: Option<String>,
}

impl Metrics {
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
        registry.register(Box::new(runs.clone()))?;
        registry.register(Box::new(jobs.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(last_success.clone()))?;
        Ok(Self { runs, jobs, seconds, last_success, duties: Mutex::default() })
    }

    /// A duty starts; from now on it may be late. Its series exist from zero, so that rates and absences can be told.
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

    pub(crate) fn failed(&self, duty: &'static str, took: Duration, jobs: u64, reason: &impl Display) {
        self.runs.with_label_values(&[duty, "error"]).inc();
        self.jobs.with_label_values(&[duty]).inc_by(jobs);
        self.seconds.with_label_values(&[duty]).observe(took.as_secs_f64());
        self.note(duty, |health| health.problem = Some(reason.to_string()));
    }

    fn note(&self, duty: &str, change: impl FnOnce(&mut Health)) {
        if let Ok(mut duties) = self.duties.lock()
            && let Some(health) = duties.get_mut(duty)
        {
            change(health);
        }
    }

    /// A duty works no more for so long, on purpose.
    pub(crate) fn rests(&self, duty: &'static str, rest: Duration) {
        self.note(duty, |health| health.last_success = Instant::now() + rest);
    }

    /// Why the last run of a duty failed, if it did or has not been.
    pub(crate) fn problem(&self, duty: &str) -> Option<String> {
        self.duties.lock().ok()?.get(duty)?.problem.clone()
    }

    /// Duties that should have succeeded since.
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
