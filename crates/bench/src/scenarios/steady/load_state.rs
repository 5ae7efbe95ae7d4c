//! The load of the steady scenarios: producers that keep a bounded number of jobs waiting, and sessions that count or
//! probe.

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
use crate::process::{WorkerProgress, monotonic_micros};
use crate::server::BenchServer;
use crate::stats::Latency;
use crate::submissions;

/// Number of waiting jobs at which producers pause.
const DEPTH: u64 = 20_000;
/// Jobs per enqueue call.
const BATCH: usize = 500;
/// Jobs per enqueue call with large payloads.
const LARGE_BATCH: usize = 50;
const PRODUCERS: usize = 2;
/// Probes per second.
pub(super) const PROBES: u32 = 50;

/// The number of submitted jobs, and the worker's own count of ended jobs. Counting in the database would slow down the
/// measured system.
#[derive(Debug)]
pub(super) struct LoadState {
    stop: AtomicBool,
    submitted: AtomicU64,
    /// Jobs that were cancelled before they started, which no worker counts.
    cancelled: AtomicU64,
    progress: Arc<WorkerProgress>,
    /// When each enqueue call ended, and how long it took.
    calls: Mutex<Vec<(Instant, Duration)>>,
}

/// The tasks of the load, which run until they are stopped.
pub(super) struct Helpers {
    pub(super) state: Arc<LoadState>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Helpers {
    pub(super) fn start(
        server: &BenchServer,
        store: &Store,
        load: Load,
        progress: Arc<WorkerProgress>,
    ) -> Self {
        let state = Arc::new(LoadState {
            stop: AtomicBool::default(),
            submitted: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            progress,
            calls: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for producer in 0..PRODUCERS {
            tasks.spawn(produce(store.clone(), load, producer, state.clone()));
        }
        if load == Load::Counted {
            tasks.spawn(count_every_second(server.url().to_owned(), state.clone()));
        }
        if load.is_pinned() {
            tasks.spawn(probe(server.url().to_owned(), state.clone()));
        }
        Self { state, tasks }
    }

    /// Fails if a task has ended, because the measurement needs the whole load.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.and_then(|()| anyhow::bail!("the load ended by itself")),
        }
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.state.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

impl LoadState {
    pub(super) fn completed(&self) -> u64 {
        self.progress.completed.load(Ordering::Relaxed)
    }

    /// Jobs that have not ended.
    pub(super) fn waiting(&self) -> u64 {
        let ended = self.progress.ended.load(Ordering::Relaxed) + self.cancelled.load(Ordering::Relaxed);
        self.submitted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    pub(super) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The p99 of the enqueue calls of the first and of the last window. Call it when the last window ends.
    pub(super) fn enqueue_p99s(&self, windows: &[Window]) -> anyhow::Result<Option<(f64, f64)>> {
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

/// The request of enqueue call number `call` of this producer.
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

/// A job of the mixed load: 20 % fail once, 10 % are delayed, 5 % have a unique key, and there are four priorities.
/// `nth` counts this producer's jobs.
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

async fn produce(store: Store, load: Load, producer: usize, state: Arc<LoadState>) -> anyhow::Result<()> {
    let mut call = 0;
    let plain = [request(load, producer, call)?];
    let batch = u64::try_from(load.batch())?;
    while !state.stopped() {
        if state.waiting() > DEPTH {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        call += 1;
        // before the call, so that the number of waiting jobs is never negative
        state.submitted.fetch_add(batch, Ordering::Relaxed);
        let began = Instant::now();
        let accepted = if load.is_mixed() {
            store.enqueue(&[request(load, producer, call)?]).await?
        } else {
            store.enqueue(&plain).await?
        };
        if let Ok(mut calls) = state.calls.lock() {
            calls.push((Instant::now(), began.elapsed()));
        }
        if load.is_mixed() {
            let reason = Failure::new("cancelled", "one in a hundred");
            let answers =
                store.jobs().cancel(&one_in_a_hundred(&accepted, call * load.batch()), &reason).await?;
            let now = answers.iter().filter(|answer| **answer == Cancelled::Now).count();
            state.cancelled.fetch_add(u64::try_from(now)?, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One in a hundred of the jobs that were just submitted, to be cancelled. `from` is the number of the first of them.
fn one_in_a_hundred(answers: &[Answer], from: usize) -> Vec<JobId> {
    let created = answers.iter().flat_map(|answer| match answer {
        Answer::Served { jobs, .. } => jobs.as_slice(),
        Answer::KeyReused => &[],
    });
    // none of those that fail once, because the ledger would contain only their first attempt
    let chosen = (from..).zip(created).filter(|(nth, _)| nth % 100 == 90);
    let id = |(_, accepted): (usize, &Accepted)| match accepted {
        Accepted::Created { id, .. } => Some(*id),
        _ => None,
    };
    chosen.filter_map(id).collect()
}

/// Counts the queued jobs every second, as an operator might do.
async fn count_every_second(url: String, state: Arc<LoadState>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !state.stopped() {
        second.tick().await;
        sqlx::query("SELECT count(*) FROM jobs WHERE status = 'queued'").execute(&mut connection).await?;
    }
    Ok(())
}

/// Submits jobs with the highest priority, whose latency does not include the wait behind other jobs.
async fn probe(url: String, state: Arc<LoadState>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let mut interval = tokio::time::interval(Duration::from_secs(1) / PROBES);
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, began_micros) = (tokio::time::Instant::now(), monotonic_micros());
    while !state.stopped() {
        let due = interval.tick().await.saturating_duration_since(began);
        let due = began_micros + u64::try_from(due.as_micros()).context("a long run")?;
        state.submitted.fetch_add(1, Ordering::Relaxed);
        sqlx::query("SELECT jobqueue.enqueue('noop', $1::json, priority => 100, wake => true)")
            .bind(format!(r#"{{"sent_micros":{due}}}"#))
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}
