//! The numbers of all queues, read at most once a second whoever asks. Owns that cache and the metrics text made of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jobqueue_core::QueueLoad;
use jobqueue_store::{Census, QueueCensus};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);
/// A scrape gives up after 10 s by default, and a dashboard earlier.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The latest census.
#[derive(Debug, Default)]
pub(crate) struct CensusReader(Mutex<Option<(Instant, Arc<Census>)>>);

impl CensusReader {
    /// The census of now, or of up to a second ago.
    pub(crate) async fn read(&self, state: &ApiState) -> Result<Arc<Census>, Problem> {
        let late = |_| Problem::new(Kind::Unavailable, "the database did not answer in time");
        timeout(ANSWER_WITHIN, self.read_now(state)).await.map_err(late)?
    }

    async fn read_now(&self, state: &ApiState) -> Result<Arc<Census>, Problem> {
        let mut latest = self.0.lock().await;
        if let Some((taken, census)) = latest.as_ref()
            && taken.elapsed() < FRESH
        {
            return Ok(census.clone());
        }
        let census = Arc::new(state.store(|store| async move { store.census().await }).await?);
        *latest = Some((Instant::now(), census.clone()));
        Ok(census)
    }
}

/// How long the longest-waiting runnable job of a queue waits, in seconds; 0 without one.
pub(crate) fn oldest_age_seconds(queue: &QueueCensus) -> f64 {
    let age = queue.oldest_at.map(|since| (queue.now - since).to_std().unwrap_or_default());
    age.map_or(0.0, |age| age.as_secs_f64())
}

/// A counter column of the census: metric name, help, value.
type Total = (&'static str, &'static str, fn(&QueueCensus) -> u64);

const TOTALS: [Total; 9] = [
    ("job_created_total", "Jobs submitted", |q| q.created),
    ("job_completed_total", "Jobs completed", |q| q.completed),
    ("job_failed_total", "Jobs failed for good", |q| q.failed),
    ("job_cancelled_total", "Jobs cancelled", |q| q.cancelled),
    ("job_retried_total", "Attempts that are tried again, by policy or by an operator", |q| q.retried),
    ("job_lease_lost_total", "Attempts lost with their worker or lease", |q| q.lost),
    ("job_pruned_total", "Jobs forgotten by retention or purge", |q| q.pruned),
    ("job_attempts_total", "Attempts that ran and ended, whatever came of them", |q| q.attempts),
    ("worker_lease_acquired_total", "Jobs handed to workers", |q| q.leased),
];

/// Jobs that a worker runs at once if there is none to ask: its default.
const USUAL_SLOTS: f64 = 10.0;

/// The census as a registry: cluster truth, so use `max` over replicas and never `sum`. A backlog shall be gone within `target`.
pub(crate) fn registry(census: &Census, target: Duration) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    // Without any queue the names still appear, so that an alert on their absence means what it says.
    let none = [QueueCensus { queue: "default".to_owned(), ..QueueCensus::default() }];
    let queues = if census.queues.is_empty() { &none[..] } else { &census.queues[..] };
    for (name, help, value) in TOTALS {
        let total = IntCounterVec::new(Opts::new(name, help), &["queue"])?;
        for queue in queues {
            total.with_label_values(&[&queue.queue]).inc_by(value(queue));
        }
        registry.register(Box::new(total))?;
    }
    let run =
        CounterVec::new(Opts::new("job_run_seconds_total", "How long attempts ran, together"), &["queue"])?;
    let recommended = IntGaugeVec::new(
        Opts::new(
            "job_queue_recommended_workers",
            "Workers that keep up with the queue and work off what waits in time",
        ),
        &["queue"],
    )?;
    for queue in queues {
        run.with_label_values(&[&queue.queue]).inc_by(queue.run.as_secs_f64());
        recommended.with_label_values(&[&queue.queue]).set(load(queue).recommended_workers(target).into());
    }
    registry.register(Box::new(run))?;
    registry.register(Box::new(recommended))?;
    depths(&registry, queues)?;
    let workers = prometheus::IntGauge::new(
        "job_queue_workers",
        "Workers that are not silent for longer than they said",
    )?;
    workers.set(signed(census.workers));
    registry.register(Box::new(workers))?;
    Ok(registry)
}

fn load(queue: &QueueCensus) -> QueueLoad {
    // what nobody may lease is nobody's work
    let open = !queue.paused;
    QueueLoad {
        arrivals_per_second: if open { queue.arrivals_per_second } else { 0.0 },
        waiting: if open { queue.queued } else { 0 },
        running: queue.running,
        mean_run: queue.mean_run,
        slots: queue.slots.unwrap_or(USUAL_SLOTS),
    }
}

fn depths(registry: &Registry, queues: &[QueueCensus]) -> prometheus::Result<()> {
    let depth =
        IntGaugeVec::new(Opts::new("job_queue_depth", "Runnable jobs, at the last census"), &["queue"])?;
    let jobs = IntGaugeVec::new(
        Opts::new("job_queue_jobs", "Live jobs by status, at the last census"),
        &["queue", "status"],
    )?;
    let oldest = GaugeVec::new(
        Opts::new("job_queue_oldest_age_seconds", "How long the longest-waiting runnable job waits"),
        &["queue"],
    )?;
    let paused = IntGaugeVec::new(
        Opts::new(
            "job_queue_paused",
            "1 while nobody may lease from the queue: its depth and age call for no workers",
        ),
        &["queue"],
    )?;
    let census_age = GaugeVec::new(
        Opts::new("job_queue_census_age_seconds", "How old the depths are; grows if no reaper counts"),
        &["queue"],
    )?;
    for queue in queues {
        let name = queue.queue.as_str();
        depth.with_label_values(&[name]).set(signed(queue.queued));
        jobs.with_label_values(&[name, "scheduled"]).set(signed(queue.scheduled));
        jobs.with_label_values(&[name, "queued"]).set(signed(queue.queued));
        jobs.with_label_values(&[name, "running"]).set(signed(queue.running));
        oldest.with_label_values(&[name]).set(oldest_age_seconds(queue));
        paused.with_label_values(&[name]).set(queue.paused.into());
        if let Some(taken_at) = queue.taken_at {
            let age = (queue.now - taken_at).to_std().unwrap_or_default();
            census_age.with_label_values(&[name]).set(age.as_secs_f64());
        }
    }
    registry.register(Box::new(depth))?;
    registry.register(Box::new(jobs))?;
    registry.register(Box::new(oldest))?;
    registry.register(Box::new(paused))?;
    registry.register(Box::new(census_age))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
