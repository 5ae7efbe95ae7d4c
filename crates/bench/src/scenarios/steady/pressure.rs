//! The load of the steady scenarios: producers that keep a bounded number of jobs waiting, and whoever looks on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{Failure, JobDraft, JobId, RetryPolicy};
use jobqueue_store::{Accepted, Answer, Cancelled, Store, Submission};
use sqlx::Connection as _;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Load, Window};
use crate::ground::Ground;
use crate::process::{Told, monotonic_micros};
use crate::stats::Latency;
use crate::submissions;

/// Jobs that may wait before producers pause.
const DEPTH: u64 = 20_000;
/// Jobs of one enqueue call.
const BATCH: usize = 500;
/// The same of large jobs.
const LARGE_BATCH: usize = 50;
const PRODUCERS: usize = 2;
/// Probes a second.
pub(super) const PROBES: u32 = 50;

/// What is submitted, and how far the worker has come by its own count: counting in the database would slow down what is measured.
#[derive(Debug)]
pub(super) struct Pressure {
    stop: AtomicBool,
    submitted: AtomicU64,
    /// Cancelled before they started: no worker tells of these.
    cancelled: AtomicU64,
    told: Arc<Told>,
    /// When each enqueue call ended and what it took.
    calls: Mutex<Vec<(Instant, Duration)>>,
}

/// Those who submit and those who look on, until they are stopped.
pub(super) struct Helpers {
    pub(super) pressure: Arc<Pressure>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Helpers {
    pub(super) fn start(ground: &Ground, store: &Store, load: Load, told: Arc<Told>) -> Self {
        let pressure = Arc::new(Pressure {
            stop: AtomicBool::default(),
            submitted: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            told,
            calls: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for producer in 0..PRODUCERS {
            tasks.spawn(produce(store.clone(), load, producer, pressure.clone()));
        }
        if load == Load::Counted {
            tasks.spawn(count_every_second(ground.url().to_owned(), pressure.clone()));
        }
        if load.is_pinned() {
            tasks.spawn(probe(ground.url().to_owned(), pressure.clone()));
        }
        Self { pressure, tasks }
    }

    /// Fails if one of them has: a load that is not there any more would measure nothing.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.and_then(|()| anyhow::bail!("the load ended by itself")),
        }
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.pressure.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

impl Pressure {
    pub(super) fn completed(&self) -> u64 {
        self.told.completed.load(Ordering::Relaxed)
    }

    /// Jobs that are not ended.
    pub(super) fn waiting(&self) -> u64 {
        let ended = self.told.ended.load(Ordering::Relaxed) + self.cancelled.load(Ordering::Relaxed);
        self.submitted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    pub(super) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The p99 of the enqueue calls of the first and of the last of the windows, which have just ended.
    pub(super) fn tails(&self, windows: &[Window]) -> anyhow::Result<Option<(f64, f64)>> {
        let calls = self.calls.lock().map_err(|_| anyhow::anyhow!("a producer panicked"))?;
        let seconds: f64 = windows.iter().map(|(_, seconds)| *seconds).sum();
        let began = Instant::now().checked_sub(Duration::from_secs_f64(seconds));
        let (Some(began), Some((_, first)), Some((_, last))) = (began, windows.first(), windows.last())
        else {
            return Ok(None);
        };
        let p99 = |from: f64, to: f64| {
            let within = |at: &Instant| {
                let since = at.saturating_duration_since(began).as_secs_f64();
                *at >= began && since >= from && since < to
            };
            let micros = |took: &Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let those = calls.iter().filter(|(at, _)| within(at)).map(|(_, took)| micros(took));
            anyhow::Ok(Latency::of_micros(those)?.p99)
        };
        Ok(Some((p99(0.0, *first)?, p99(seconds - last, seconds)?)))
    }
}

/// One enqueue call of the load: the `call`th of this producer.
fn request(load: Load, producer: usize, call: usize) -> anyhow::Result<Submission> {
    let batch = load.batch();
    let draft = |n: usize| match load {
        Load::MixedPayload(bytes) => mixed(n, producer, call * batch + n, bytes),
        Load::Mixed => mixed(n, producer, call * batch + n, 80),
        _ => submissions::draft(),
    };
    submissions::submission((0..batch).map(draft).collect::<anyhow::Result<_>>()?)
}

impl Load {
    fn batch(self) -> usize {
        if self == Self::MixedPayload(64_000) { LARGE_BATCH } else { BATCH }
    }
}

/// 20 % fail once, 10 % are delayed, four priorities, 5 % have a unique key. `nth` counts this producer's jobs.
fn mixed(n: usize, producer: usize, nth: usize, bytes: usize) -> anyhow::Result<JobDraft> {
    let fails = if n % 5 == 1 { r#""fail_first":true,"# } else { "" };
    let unique = UniqueDraft { key: format!("key-{producer}-{nth}"), ..UniqueDraft::default() };
    Ok(JobDraft {
        priority: Some([0, 5, -5, 50].get(n % 4).copied().unwrap_or(0)),
        retry: Some(RetryPolicy::Fixed { delay_seconds: 0.5 }),
        delay_seconds: (n % 10 == 3).then_some(0.5),
        unique: (n % 20 == 7).then_some(unique),
        ..submissions::draft_with(submissions::padded(fails, bytes, nth))?
    })
}

async fn produce(store: Store, load: Load, producer: usize, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    let mut call = 0;
    let plain = [request(load, producer, call)?];
    let batch = u64::try_from(load.batch())?;
    while !pressure.stopped() {
        if pressure.waiting() > DEPTH {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        call += 1;
        // first, so that what waits is never less than nothing
        pressure.submitted.fetch_add(batch, Ordering::Relaxed);
        let asked = Instant::now();
        let accepted = if load.is_mixed() {
            store.enqueue(&[request(load, producer, call)?]).await?
        } else {
            store.enqueue(&plain).await?
        };
        if let Ok(mut calls) = pressure.calls.lock() {
            calls.push((Instant::now(), asked.elapsed()));
        }
        if load.is_mixed() {
            let reason = Failure::new("cancelled", "one in a hundred");
            let answers = store.cancel(&hundredth(&accepted, call * load.batch()), &reason).await?;
            let now = answers.iter().filter(|answer| **answer == Cancelled::Now).count();
            pressure.cancelled.fetch_add(u64::try_from(now)?, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One in a hundred of those that were just submitted, the first of which was this producer's `from`th, for cancelling.
fn hundredth(answers: &[Answer], from: usize) -> Vec<JobId> {
    let created = answers.iter().flat_map(|answer| match answer {
        Answer::Served { jobs, .. } => jobs.as_slice(),
        Answer::KeyReused => &[],
    });
    // not one of those that fail once: their first attempt would stand in the ledger alone
    let chosen = (from..).zip(created).filter(|(nth, _)| nth % 100 == 90);
    let id = |(_, accepted): (usize, &Accepted)| match accepted {
        Accepted::Created { id, .. } => Some(*id),
        _ => None,
    };
    chosen.filter_map(id).collect()
}

/// An operator with a question.
async fn count_every_second(url: String, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !pressure.stopped() {
        second.tick().await;
        sqlx::query("SELECT count(*) FROM jobs WHERE status = 'queued'").execute(&mut connection).await?;
    }
    Ok(())
}

/// Jobs of the highest priority, so that their way from the submission to the handler is not that of those that wait before them.
async fn probe(url: String, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let mut turn = tokio::time::interval(Duration::from_secs(1) / PROBES);
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, began_micros) = (tokio::time::Instant::now(), monotonic_micros());
    while !pressure.stopped() {
        let due = turn.tick().await.saturating_duration_since(began);
        let due = began_micros + u64::try_from(due.as_micros()).context("a long run")?;
        pressure.submitted.fetch_add(1, Ordering::Relaxed);
        sqlx::query("SELECT jobqueue.enqueue('noop', $1::json, priority => 100, wake => true)")
            .bind(format!(r#"{{"sent_micros":{due}}}"#))
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}
