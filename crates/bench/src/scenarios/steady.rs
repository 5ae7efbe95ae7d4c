//! saturate and its variants: jobs are enqueued as fast as they are done, and the depth is bounded, for minutes. The figure is the rate of
//! committed final states; the worst window is printed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{Failure, JobDraft, JobId, RetryPolicy};
use jobqueue_store::{Accepted, Answer, Store, Submission};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::{Sizes, progress};
use crate::ground::{Cost, Ground};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::{Latency, float};
use crate::submissions;
use crate::yardstick;

/// Jobs that may wait before producers pause.
const DEPTH: u64 = 20_000;
/// Jobs of one enqueue call.
const BATCH: usize = 500;
const PRODUCERS: usize = 2;

/// What goes on besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Plain,
    /// An operator runs `SELECT count(*) FROM jobs WHERE status = 'queued'` every second.
    Counted,
    /// Priorities, delays, retries, unique keys and cancels.
    Mixed,
    /// The same with payloads of so many bytes.
    MixedPayload(usize),
    /// Another session holds a snapshot, which may have read `jobs`.
    Pinned {
        read: bool,
    },
}

impl Load {
    fn scenario(self) -> &'static str {
        match self {
            Self::Plain => "saturate",
            Self::Counted => "count",
            Self::Mixed | Self::MixedPayload(_) => "mixed",
            Self::Pinned { .. } => "pinned",
        }
    }

    fn name(self) -> String {
        match self {
            Self::MixedPayload(bytes) => format!("payloads of {bytes} bytes"),
            Self::Pinned { read: true } => "a snapshot that has read jobs".to_owned(),
            Self::Pinned { read: false } => "a snapshot".to_owned(),
            _ => "one worker process".to_owned(),
        }
    }

    fn is_mixed(self) -> bool {
        self.scenario() == "mixed"
    }
}

/// Jobs and seconds of a window.
type Window = (f64, f64);

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes, load: Load) -> anyhow::Result<Vec<Figure>> {
    let control = yardstick::measure(ground.url(), sizes.short).await?;
    ground.fresh().await?;
    let store = ground.store()?;
    let pressure = Arc::new(Pressure::default());
    let mut helpers = JoinSet::new();
    for producer in 0..PRODUCERS {
        helpers.spawn(produce(store.clone(), load, producer, pressure.clone()));
    }
    helpers.spawn(gauge(store.clone(), pressure.clone()));
    if load == Load::Counted {
        helpers.spawn(count_every_second(ground.url().to_owned(), pressure.clone()));
    }
    let reaper = Process::reaper(ground.url())?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    while pressure.completed.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut pin = ground.connection().await?;
    if let Load::Pinned { read } = load {
        let look = if read { "SELECT count(*) FROM jobs" } else { "SELECT 1" };
        sqlx::raw_sql(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {look}")).execute(&mut pin).await?;
    }
    let (before, cpu) = (ground.meter().await?, worker.cpu()?);
    let windows = watch(&pressure, sizes.steady, load.scenario()).await?;
    let (after, cpu) = (ground.meter().await?, worker.cpu()?.saturating_sub(cpu));
    let dead = ground.number(DEAD).await?;
    let index_bytes = ground.number("SELECT pg_relation_size('jobqueue.ready_pkey')").await?;
    pressure.stop.store(true, Ordering::Relaxed);
    let tails = pressure.tails(&windows)?;
    pin.close().await?;
    let recovery = if matches!(load, Load::Pinned { .. }) { recovery(ground).await? } else { None };
    while let Some(done) = helpers.join_next().await {
        done??;
    }
    while waiting(&store).await? > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rss = worker.rss_mb()?;
    let ledger = Ledger::take(&[worker.stop().await?])?;
    reaper.stop().await?;
    ledger.prove_exactly_once(ground.count("completed").await?)?;
    store.close().await;
    let mut figures = figures(load, &windows, control, |jobs| before.cost(&after, jobs))?;
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let name = |what: &str| format!("{}: {what}", load.name());
    let scenario = load.scenario();
    let micros = cpu.as_secs_f64() / jobs.max(1.0) * 1_000_000.0;
    figures.push(Figure::plain(scenario, name("worker, CPU a job"), "us", &[micros]));
    figures.push(Figure::plain(scenario, name("worker, resident memory"), "MB", &[rss]));
    if let Some((first, last)) = tails {
        figures.push(
            Figure::plain(scenario, name("p99 of an enqueue call, last window"), "ms", &[last])
                .beside("first window", &[(last, first)]),
        );
    }
    if let Load::Pinned { .. } = load {
        let dead = float(u64::try_from(dead)?);
        figures.push(Figure::plain(scenario, name("dead rows of ready at the end"), "rows", &[dead]));
        let bytes = float(u64::try_from(index_bytes)?);
        figures.push(Figure::plain(scenario, name("its index at the end"), "MB", &[bytes / 1e6]));
        figures.extend(recovery.map(|seconds| {
            Figure::plain(scenario, name("a vacuum of ready after it was let go"), "s", &[seconds])
        }));
    }
    Ok(figures)
}

/// The rates of a run.
fn figures(
    load: Load,
    windows: &[Window],
    control: f64,
    cost: impl FnOnce(u64) -> Cost,
) -> anyhow::Result<Vec<Figure>> {
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let seconds: f64 = windows.iter().map(|(_, seconds)| *seconds).sum();
    let rates: Vec<f64> = windows.iter().map(|(jobs, seconds)| jobs / seconds).collect();
    // a window without a job has no ratio to another: JSON has no infinity
    let ends = rates.first().zip(rates.last()).filter(|(first, _)| **first > 0.0);
    let plain = |what: &str, unit: &str, values: &[f64]| {
        Figure::plain(load.scenario(), format!("{}: {what}", load.name()), unit, values)
    };
    let mut figures = vec![
        plain(&format!("{seconds:.0} s"), "jobs/s", &[jobs / seconds])
            .beside("yardstick", &[(jobs / seconds, control)])
            .costing(cost(format!("{jobs:.0}").parse()?))
            .over(course(windows)),
        plain("by window, median (worst–best)", "jobs/s", &rates),
    ];
    figures.extend(ends.map(|(first, last)| plain("last window over first", "×", &[last / first])));
    Ok(figures)
}

/// Rows that nobody can see any more.
const DEAD: &str = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'ready'";

/// What it takes to remove the dead rows once nobody sees them, while what waits is worked off; `None` if many stay.
async fn recovery(ground: &Ground) -> anyhow::Result<Option<f64>> {
    let began = Instant::now();
    sqlx::raw_sql("VACUUM jobqueue.ready").execute(&mut ground.connection().await?).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((ground.number(DEAD).await? < 100_000).then_some(seconds))
}

/// The rate of each window at its end.
fn course(windows: &[Window]) -> Vec<(f64, f64)> {
    let mut at = 0.0;
    windows
        .iter()
        .map(|(jobs, seconds)| {
            at += seconds;
            (at, jobs / seconds)
        })
        .collect()
}

/// How far the load has come; looked up by one task, for looking costs.
#[derive(Debug, Default)]
struct Pressure {
    stop: AtomicBool,
    waiting: AtomicU64,
    completed: AtomicU64,
    /// When each enqueue call ended and what it took.
    calls: Mutex<Vec<(Instant, Duration)>>,
}

impl Pressure {
    /// The p99 of the enqueue calls of the first and of the last of the windows, which have just ended.
    fn tails(&self, windows: &[Window]) -> anyhow::Result<Option<(f64, f64)>> {
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

async fn gauge(store: Store, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    while !pressure.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let (created, ended, completed) = totals(&store).await?;
        pressure.waiting.store(created.saturating_sub(ended), Ordering::Relaxed);
        pressure.completed.store(completed, Ordering::Relaxed);
        // under a snapshot this look itself grows dear
        tokio::time::sleep(Duration::from_millis(100).max(asked.elapsed() * 20)).await;
    }
    Ok(())
}

/// One enqueue call of the load: the `call`th of this producer.
fn request(load: Load, producer: usize, call: usize) -> anyhow::Result<Submission> {
    let draft = |n: usize| match load {
        Load::MixedPayload(bytes) => mixed(n, producer, call, bytes),
        Load::Mixed => mixed(n, producer, call, 60),
        _ => submissions::draft(),
    };
    let batch = if load == Load::MixedPayload(64_000) { BATCH / 10 } else { BATCH };
    submissions::submission((0..batch).map(draft).collect::<anyhow::Result<_>>()?)
}

/// 20 % fail once, 10 % are delayed, four priorities, 5 % have a unique key.
fn mixed(n: usize, producer: usize, call: usize, bytes: usize) -> anyhow::Result<JobDraft> {
    let fails = if n % 5 == 1 { r#""fail_first":true,"# } else { "" };
    let unique = UniqueDraft { key: format!("key-{producer}-{call}-{n}"), ..UniqueDraft::default() };
    Ok(JobDraft {
        priority: Some([0, 5, -5, 50].get(n % 4).copied().unwrap_or(0)),
        retry: Some(RetryPolicy::Fixed { delay_seconds: 0.5 }),
        delay_seconds: (n % 10 == 3).then_some(0.5),
        unique: (n % 20 == 7).then_some(unique),
        ..submissions::draft_with(submissions::padded(fails, bytes))?
    })
}

async fn produce(store: Store, load: Load, producer: usize, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    let mut call = 0;
    let plain = [request(load, producer, call)?];
    while !pressure.stop.load(Ordering::Relaxed) {
        if pressure.waiting.load(Ordering::Relaxed) > DEPTH {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        call += 1;
        let asked = Instant::now();
        let accepted = if load.is_mixed() {
            store.enqueue(&[request(load, producer, call)?]).await?
        } else {
            store.enqueue(&plain).await?
        };
        if let Ok(mut calls) = pressure.calls.lock() {
            calls.push((Instant::now(), asked.elapsed()));
        }
        pressure
            .waiting
            .fetch_add(u64::try_from(plain.iter().map(|s| s.jobs.len()).sum::<usize>())?, Ordering::Relaxed);
        if load.is_mixed() {
            store.cancel(&hundredth(&accepted), &Failure::new("cancelled", "one in a hundred")).await?;
        }
    }
    Ok(())
}

/// One in a hundred of those that were just submitted, for cancelling.
fn hundredth(answers: &[Answer]) -> Vec<JobId> {
    let created = answers.iter().flat_map(|answer| match answer {
        Answer::Served { jobs, .. } => jobs.as_slice(),
        Answer::KeyReused => &[],
    });
    let id = |accepted: &Accepted| match accepted {
        Accepted::Created { id, .. } => Some(*id),
        _ => None,
    };
    // not one of those that fail once: their first attempt would stand in the ledger alone
    created.skip(90).step_by(100).filter_map(id).collect()
}

async fn count_every_second(url: String, pressure: Arc<Pressure>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    while !pressure.stop.load(Ordering::Relaxed) {
        sqlx::query("SELECT count(*) FROM jobs WHERE status = 'queued'").execute(&mut connection).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Jobs created, ended and completed so far.
async fn totals(store: &Store) -> anyhow::Result<(u64, u64, u64)> {
    let (mut created, mut ended, mut completed) = (0, 0, 0);
    for queue in store.census().await?.queues {
        created += queue.created;
        ended += queue.completed + queue.failed + queue.cancelled;
        completed += queue.completed;
    }
    Ok((created, ended, completed))
}

async fn waiting(store: &Store) -> anyhow::Result<u64> {
    let (created, ended, _) = totals(store).await?;
    Ok(created.saturating_sub(ended))
}

/// The windows of a run: a minute each, or a fifth of a short run.
async fn watch(pressure: &Pressure, span: Duration, name: &str) -> anyhow::Result<Vec<Window>> {
    let window = (span / 5).min(Duration::from_mins(1));
    let count = usize::try_from(span.as_millis() / window.as_millis().max(1))?;
    let bar = progress(name, count);
    let mut windows = Vec::with_capacity(count);
    let (mut last, mut at) = (pressure.completed.load(Ordering::Relaxed), Instant::now());
    for _ in 0..count {
        tokio::time::sleep(window).await;
        let now = pressure.completed.load(Ordering::Relaxed);
        windows.push((float(now - last), at.elapsed().as_secs_f64()));
        (last, at) = (now, Instant::now());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(windows)
}
