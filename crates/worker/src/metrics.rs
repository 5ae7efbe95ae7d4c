//! The worker's metrics. Owns their names, labels and bounds; no decision depends on a metric.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobqueue_core::{Job, Status};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

/// The largest number of kinds with their own label value; the others share `other`.
const MAX_KINDS: usize = 100;

/// The metrics of one worker.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    kinds: BTreeSet<String>,
    wait: HistogramVec,
    duration: HistogramVec,
    jobs: IntCounterVec,
    pub(crate) slots: IntGauge,
    pub(crate) slots_in_use: IntGauge,
    pub(crate) prefetched: IntGauge,
    pub(crate) unsettled: IntGauge,
    pub(crate) lease_seconds: Histogram,
    pub(crate) heartbeat_failures: IntCounter,
    pub(crate) store_failures: IntCounter,
    pub(crate) stale: IntCounter,
    /// Settled attempts of all kinds.
    ends: AtomicU64,
}

impl WorkerMetrics {
    /// Registers the metrics. Each of `kinds` has its own label value, up to `MAX_KINDS`.
    pub(crate) fn new(registry: &Registry, kinds: impl Iterator<Item = String>) -> prometheus::Result<Self> {
        let labels = ["queue", "kind"];
        let wait = HistogramOpts::new(
            "job_wait_seconds",
            "Time from when a job could run to the lease of its first attempt",
        )
        .buckets(exponential_buckets(0.001, 4.0, 10)?);
        let duration = HistogramOpts::new("job_duration_seconds", "How long an attempt ran")
            .buckets(exponential_buckets(0.001, 4.0, 11)?);
        let lease = HistogramOpts::new("worker_lease_seconds", "Duration of a call that leases or settles")
            .buckets(exponential_buckets(0.0005, 3.0, 10)?);
        let metrics = Self {
            kinds: kinds.take(MAX_KINDS).collect(),
            wait: HistogramVec::new(wait, &labels)?,
            duration: HistogramVec::new(duration, &labels)?,
            jobs: IntCounterVec::new(
                Opts::new(
                    "worker_attempts_total",
                    "Attempts that ended on this worker, by the status of the job after it",
                ),
                &["queue", "kind", "status"],
            )?,
            slots: IntGauge::new("worker_slots", "Jobs that this worker can run at the same time")?,
            slots_in_use: IntGauge::new("worker_slots_in_use", "Slots that run a job")?,
            prefetched: IntGauge::new("worker_prefetched_jobs", "Leased jobs that wait for a slot")?,
            unsettled: IntGauge::new("worker_unsettled_results", "Ended attempts that are not settled yet")?,
            lease_seconds: Histogram::with_opts(lease)?,
            heartbeat_failures: IntCounter::new("worker_heartbeat_failures_total", "Heartbeats that failed")?,
            store_failures: IntCounter::new(
                "worker_store_failures_total",
                "Lease and settle calls that failed",
            )?,
            stale: IntCounter::new(
                "worker_settle_stale_total",
                "Results that were dropped because the lease was lost",
            )?,
            ends: AtomicU64::new(0),
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn prometheus::core::Collector>> {
        vec![
            Box::new(self.wait.clone()),
            Box::new(self.duration.clone()),
            Box::new(self.jobs.clone()),
            Box::new(self.slots.clone()),
            Box::new(self.slots_in_use.clone()),
            Box::new(self.prefetched.clone()),
            Box::new(self.unsettled.clone()),
            Box::new(self.lease_seconds.clone()),
            Box::new(self.heartbeat_failures.clone()),
            Box::new(self.store_failures.clone()),
            Box::new(self.stale.clone()),
        ]
    }

    pub(crate) fn waited(&self, job: &Job, waited: Duration) {
        self.wait.with_label_values(&[job.queue.as_str(), self.kind(job)]).observe(waited.as_secs_f64());
    }

    pub(crate) fn ran(&self, job: &Job, ran: Duration) {
        self.duration.with_label_values(&[job.queue.as_str(), self.kind(job)]).observe(ran.as_secs_f64());
    }

    pub(crate) fn ended(&self, job: &Job, status: Status) {
        let status = status.as_str();
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.jobs.with_label_values(&[job.queue.as_str(), self.kind(job), status]).inc();
    }

    /// The number of settled attempts since the start.
    pub(crate) fn ends(&self) -> u64 {
        self.ends.load(Ordering::Relaxed)
    }

    /// The label value of a job's kind. Submitters choose kinds, so without a bound a catch-all handler would
    /// let them create any number of series.
    fn kind<'a>(&self, job: &'a Job) -> &'a str {
        if self.kinds.contains(job.kind.as_str()) { job.kind.as_str() } else { "other" }
    }
}
