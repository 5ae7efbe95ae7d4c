//! The counts of all queues, read at most once a second for all requests. Owns this cache and the metrics of the queues.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_core::QueueLoad;
use jobqueue_store::{Census, QueueCensus};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::problem::Problem;
use crate::store_access::StoreAccess;

/// A census that is younger than this is returned without a new read.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for the read if there is an earlier census. After that it gets the earlier one, and the read
/// continues for the next request.
const LATE_AFTER: Duration = Duration::from_millis(500);
/// The age up to which an earlier census may be returned.
const KEPT: Duration = Duration::from_mins(1);
/// How long a request waits if there is no earlier census. Prometheus ends a scrape after 10 s by default.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A census and when it was read.
#[derive(Debug)]
pub(crate) struct Latest {
    pub(crate) census: Census,
    read_at: Instant,
}

/// One read, shared by all requests that wait for it; `None` until it has ended.
type Reading = watch::Receiver<Option<Result<Arc<Latest>, Problem>>>;

/// Reads the census. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct CensusReader(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: StoreAccess,
    drain_target: Duration,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    latest: Option<Arc<Latest>>,
    reading: Option<Reading>,
}

impl CensusReader {
    /// `drain_target` is the time within which the recommended workers finish a backlog.
    pub(crate) fn new(store: StoreAccess, drain_target: Duration) -> Self {
        Self(Arc::new(Parts { store, drain_target, cache: Mutex::default() }))
    }

    /// The metrics of all queues.
    pub(crate) async fn registry(&self) -> Result<Registry, Problem> {
        let latest = self.read().await?;
        registry(&latest, self.0.drain_target).map_err(|error| {
            tracing::error!(%error, "the metrics of the queues cannot be created");
            Problem::internal()
        })
    }

    /// The census, at most a second old, or at most a minute while the database is slow.
    pub(crate) async fn read(&self) -> Result<Arc<Latest>, Problem> {
        let (latest, mut reading) = match self.fresh_or_reading() {
            Ok(fresh) => return Ok(fresh),
            Err((latest, reading)) => (latest.filter(|latest| latest.read_at.elapsed() < KEPT), reading),
        };
        let limit = if latest.is_some() { LATE_AFTER } else { ANSWER_WITHIN };
        match timeout(limit, reading.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(Problem::internal())),
            Ok(Err(_ended_without_an_answer)) => Err(Problem::internal()),
            Err(_) => latest.ok_or_else(Problem::unanswered),
        }
    }

    /// The latest census if it is fresh. Otherwise the latest census and the current read, which is started if there is none.
    fn fresh_or_reading(&self) -> Result<Arc<Latest>, (Option<Arc<Latest>>, Reading)> {
        let mut cache = self.lock();
        let latest = cache.latest.clone();
        if let Some(fresh) = latest.as_ref().filter(|latest| latest.read_at.elapsed() < FRESH) {
            return Ok(fresh.clone());
        }
        // a read whose sender was dropped has ended
        if let Some(reading) = cache.reading.clone().filter(|reading| reading.has_changed().is_ok()) {
            return Err((latest, reading));
        }
        let (sender, reading) = watch::channel(None);
        cache.reading = Some(reading.clone());
        let reader = self.clone();
        self.0.store.spawn(async move {
            let read_at = Instant::now();
            let census = reader.0.store.call(|store| async move { store.census().await }).await;
            let answer = census.map(|census| Arc::new(Latest { census, read_at }));
            let mut cache = reader.lock();
            if let Ok(latest) = &answer {
                cache.latest = Some(latest.clone());
            }
            cache.reading = None;
            drop(cache);
            sender.send_replace(Some(answer));
        });
        Err((latest, reading))
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    /// How long the oldest job of a queue that can start has waited, in seconds; 0 without one.
    pub(crate) fn oldest_age_seconds(&self, queue: &QueueCensus) -> f64 {
        queue.oldest_at.map_or(0.0, |since| self.age_seconds(queue, since))
    }

    /// The time since `since` in seconds: by the database's clock up to the read, and by this process's clock after it.
    fn age_seconds(&self, queue: &QueueCensus, since: DateTime<Utc>) -> f64 {
        ((queue.now - since).to_std().unwrap_or_default() + self.read_at.elapsed()).as_secs_f64()
    }
}

/// A counter column of the census: metric name, help, value.
type Total = (&'static str, &'static str, fn(&QueueCensus) -> u64);

const TOTALS: [Total; 10] = [
    ("job_created_total", "Jobs submitted", |q| q.created),
    ("job_completed_total", "Jobs completed", |q| q.completed),
    ("job_failed_total", "Jobs failed for good", |q| q.failed),
    ("job_cancelled_total", "Jobs cancelled", |q| q.cancelled),
    ("job_retried_total", "Retries, by the retry policy or by an operator", |q| q.retried),
    ("job_snoozed_total", "Snoozes by handlers; a snooze costs no attempt", |q| q.snoozed),
    ("job_lease_lost_total", "Attempts that ended because their worker or lease was lost", |q| q.lost),
    ("job_pruned_total", "Jobs deleted by retention or purge", |q| q.pruned),
    ("job_attempts_total", "Attempts that ran and ended, with any outcome", |q| q.attempts),
    ("worker_lease_acquired_total", "Jobs leased to workers", |q| q.leased),
];

/// The slots of a worker if no worker has reported its own: the default.
const USUAL_SLOTS: f64 = 10.0;

/// The census as metrics. They are the same on every replica, so aggregate them with `max`, not with `sum`. The recommended
/// workers finish a backlog within `target`. Queues that are not named are summed in one series.
fn registry(latest: &Latest, target: Duration) -> prometheus::Result<Registry> {
    let (registry, census) = (Registry::new(), &latest.census);
    // without any queue the metrics exist too, so that an alert can detect that they are missing
    let none = QueueCensus { queue: "default".to_owned(), ..QueueCensus::default() };
    let named = census.queues.iter().filter(|queue| queue.named);
    let mut queues: Vec<&QueueCensus> = named.chain(&census.others).collect();
    if queues.is_empty() {
        queues.push(&none);
    }
    for (name, help, value) in TOTALS {
        let total = IntCounterVec::new(Opts::new(name, help), &["queue"])?;
        for queue in &queues {
            total.with_label_values(&[&queue.queue]).inc_by(value(queue));
        }
        registry.register(Box::new(total))?;
    }
    let run = CounterVec::new(Opts::new("job_run_seconds_total", "Total run time of attempts"), &["queue"])?;
    for queue in &queues {
        run.with_label_values(&[&queue.queue]).inc_by(queue.run.as_secs_f64());
    }
    registry.register(Box::new(run))?;
    recommended(&registry, &queues, census, target)?;
    depths(&registry, &queues, latest)?;
    let workers =
        prometheus::IntGauge::new("job_queue_workers", "Workers that count as alive, remote ones included")?;
    workers.set(signed(census.workers));
    registry.register(Box::new(workers))?;
    Ok(registry)
}

fn recommended(
    registry: &Registry,
    queues: &[&QueueCensus],
    census: &Census,
    target: Duration,
) -> prometheus::Result<()> {
    let recommended = IntGaugeVec::new(
        Opts::new(
            "job_queue_recommended_workers",
            "Workers needed to keep up with the queue and to finish its backlog in time",
        ),
        &["queue"],
    )?;
    for queue in queues {
        let is_others = census.others.as_ref().is_some_and(|others| std::ptr::eq(others, *queue));
        let load = if is_others { load_of_others(census) } else { load(queue) };
        recommended.with_label_values(&[&queue.queue]).set(load.recommended_workers(target).into());
    }
    registry.register(Box::new(recommended))
}

fn load(queue: &QueueCensus) -> QueueLoad {
    // the jobs of a paused queue need no workers
    let open = !queue.paused;
    QueueLoad {
        arrivals_per_second: if open { queue.arrivals_per_second } else { 0.0 },
        waiting: if open { queue.queued } else { 0 },
        running: queue.running,
        mean_run: queue.mean_run,
        slots: queue.slots.unwrap_or(USUAL_SLOTS),
    }
}

/// The load of the queues that are not named, as if they were one queue.
fn load_of_others(census: &Census) -> QueueLoad {
    let (mut slots, mut served) = (0.0, 0_u32);
    let mut sum = load(&QueueCensus::default());
    for one in census.queues.iter().filter(|queue| !queue.named) {
        let load = load(one);
        sum.arrivals_per_second += load.arrivals_per_second;
        sum.waiting += load.waiting;
        sum.running += load.running;
        slots += one.slots.unwrap_or_default();
        served += u32::from(one.slots.is_some());
    }
    if served > 0 {
        sum.slots = slots / f64::from(served);
    }
    // the mean over all attempts since they have not been named
    let attempts = census.others.as_ref().and_then(|others| u32::try_from(others.attempts).ok());
    sum.mean_run = census.others.as_ref().zip(attempts).and_then(|(others, n)| others.run.checked_div(n));
    sum
}

fn depths(registry: &Registry, queues: &[&QueueCensus], latest: &Latest) -> prometheus::Result<()> {
    let depth = IntGaugeVec::new(
        Opts::new("job_queue_depth", "Jobs that can start, at the last census"),
        &["queue"],
    )?;
    let jobs = IntGaugeVec::new(
        Opts::new("job_queue_jobs", "Live jobs by status, at the last census"),
        &["queue", "status"],
    )?;
    let oldest = GaugeVec::new(
        Opts::new("job_queue_oldest_age_seconds", "How long the oldest job that can start has waited"),
        &["queue"],
    )?;
    let paused = IntGaugeVec::new(
        Opts::new("job_queue_paused", "1 while the queue is paused: its depth and age need no workers"),
        &["queue"],
    )?;
    let dead_letters = IntGaugeVec::new(
        Opts::new(
            "job_dead_letters",
            "Failed jobs that wait for a decision, at the last count of dead letters",
        ),
        &["queue"],
    )?;
    let census_age = GaugeVec::new(
        Opts::new("job_queue_census_age_seconds", "Age of the counts; it grows if no reaper counts"),
        &["queue"],
    )?;
    for queue in queues {
        let name = queue.queue.as_str();
        depth.with_label_values(&[name]).set(signed(queue.queued));
        jobs.with_label_values(&[name, "scheduled"]).set(signed(queue.scheduled));
        jobs.with_label_values(&[name, "queued"]).set(signed(queue.queued));
        jobs.with_label_values(&[name, "running"]).set(signed(queue.running));
        dead_letters.with_label_values(&[name]).set(signed(queue.dead_letters));
        oldest.with_label_values(&[name]).set(latest.oldest_age_seconds(queue));
        paused.with_label_values(&[name]).set(queue.paused.into());
        if let Some(taken_at) = queue.taken_at {
            census_age.with_label_values(&[name]).set(latest.age_seconds(queue, taken_at));
        }
    }
    registry.register(Box::new(depth))?;
    registry.register(Box::new(jobs))?;
    registry.register(Box::new(dead_letters))?;
    registry.register(Box::new(oldest))?;
    registry.register(Box::new(paused))?;
    registry.register(Box::new(census_age))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
