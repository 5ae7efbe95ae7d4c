//! saturate and its variants: jobs are enqueued as fast as they are done, and the depth is bounded, for minutes. The figure is the rate of
//! committed final states; the worst window is printed.

use std::time::{Duration, Instant};

use super::{STUCK, Sizes, progress};
use crate::cost::{Cost, Meter};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::{Latency, float};
use crate::yardstick::{self, Yardstick};
use pressure::{Helpers, PROBES, Pressure};

mod pressure;

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

    /// One figure of a run under this load.
    fn figure(self, what: &str, unit: &str, value: f64) -> Figure {
        Figure::plain(self.scenario(), format!("{}: {what}", self.name()), unit, value)
    }

    fn is_pinned(self) -> bool {
        matches!(self, Self::Pinned { .. })
    }
}

/// Jobs and seconds of a window.
type Window = (f64, f64);

/// Each load, with a yardstick before it and after it: a long run is set beside what the machine did on both sides.
pub(crate) async fn round(ground: &Ground, sizes: Sizes, loads: &[Load]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut earlier = yardstick::measure(ground, sizes.short).await?;
    for load in loads {
        let measured = measure(ground, sizes, *load).await?;
        let later = yardstick::measure(ground, sizes.short).await?;
        figures.extend(rates(*load, sizes, &measured, [earlier, later]));
        figures.extend(measured.others);
        earlier = later;
    }
    Ok(figures)
}

/// A load that has been borne.
struct Measured {
    windows: Vec<Window>,
    cost: Cost,
    /// What is said besides the rates.
    others: Vec<Figure>,
}

async fn measure(ground: &Ground, sizes: Sizes, load: Load) -> anyhow::Result<Measured> {
    ground.fresh().await?;
    let store = ground.store()?;
    let reaper = Process::reaper(ground.url())?;
    let mut worker = Process::worker(ground.url(), 100, 0)?;
    let mut helpers = Helpers::start(ground, &store, load, worker.told.clone());
    let pressure = helpers.pressure.clone();
    until(&mut worker, &mut helpers, |pressure| pressure.completed() > 0).await?;
    let mut pin = ground.connection().await?;
    if let Load::Pinned { read } = load {
        let look = if read { "SELECT count(*) FROM jobs" } else { "SELECT 1" };
        sqlx::raw_sql(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {look}")).execute(&mut pin).await?;
    }
    let before = Meter::read(ground, [&worker, &reaper]).await?;
    let windows = watch(&mut helpers, sizes.steady, load.scenario()).await?;
    let after = Meter::read(ground, [&worker, &reaper]).await?;
    let mut figures = Vec::new();
    let tails = pressure.tails(&windows)?;
    if load.is_pinned() {
        figures.extend(bloat(ground, load).await?);
        sqlx::raw_sql("COMMIT").execute(&mut pin).await?;
        figures.extend(recovery(ground, sizes, load, &pressure).await?);
    }
    helpers.stop().await?;
    until(&mut worker, &mut helpers, |pressure| pressure.waiting() == 0).await?;
    let ledger = Ledger::take(&[worker.stop().await?])?;
    reaper.stop().await?;
    let completed = ground.completed().await?;
    anyhow::ensure!(completed.jobs == pressure.completed(), "the worker counted {}", pressure.completed());
    ledger.prove_exactly_once(completed)?;
    store.close().await;
    if load.is_mixed() {
        figures.push(load.figure("cancelled before they started", "jobs", float(pressure.cancelled())));
    }
    let mut tail = |what: &str, ends: Option<(f64, f64)>| {
        let ends = ends.filter(|(first, _)| *first > 0.0);
        figures.extend(ends.map(|(first, last)| {
            load.figure(&format!("p99 {what}, last window"), "ms", last).beside("first window", [first])
        }));
    };
    tail("of an enqueue call", tails);
    if load.is_pinned() {
        tail(&format!("from submission to start of a probe, {PROBES}/s"), probes(&ledger, &windows)?);
    }
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let cost = before.per_job(&after, format!("{jobs:.0}").parse()?);
    Ok(Measured { windows, cost, others: figures })
}

/// Waits until that is so; fails if the worker or the load ends, or if nothing changes any more.
async fn until(
    worker: &mut Process,
    helpers: &mut Helpers,
    reached: impl Fn(&Pressure) -> bool,
) -> anyhow::Result<()> {
    let pressure = helpers.pressure.clone();
    let (mut last, mut since) = (pressure.waiting(), Instant::now());
    while !reached(&pressure) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        worker.is_alive()?;
        helpers.check()?;
        if pressure.waiting() != last {
            (last, since) = (pressure.waiting(), Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STUCK, "{last} jobs wait, and none is done");
    }
    Ok(())
}

/// The p99 of the probes that started in the first and in the last of the windows, as many as were due in them; the load went on after
/// them.
fn probes(ledger: &Ledger, windows: &[Window]) -> anyhow::Result<Option<(f64, f64)>> {
    let count = |seconds: f64| format!("{:.0}", seconds * f64::from(PROBES)).parse::<usize>();
    let (Some((_, first)), Some((_, last))) = (windows.first(), windows.last()) else { return Ok(None) };
    let all = count(windows.iter().map(|(_, seconds)| seconds).sum())?.min(ledger.micros.len());
    let (Some(first), Some(last)) =
        (ledger.micros.get(..count(*first)?), ledger.micros.get(all.saturating_sub(count(*last)?)..all))
    else {
        return Ok(None);
    };
    let p99 = |micros: &[u64]| anyhow::Ok(Latency::of_micros(micros.iter().copied())?.p99);
    Ok(Some((p99(first)?, p99(last)?)))
}

/// The rates of a run.
fn rates(load: Load, sizes: Sizes, measured: &Measured, controls: [Yardstick; 2]) -> Vec<Figure> {
    let Measured { windows, cost, .. } = measured;
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let seconds: f64 = windows.iter().map(|(_, seconds)| *seconds).sum();
    let rates: Vec<f64> = windows.iter().map(|(jobs, seconds)| jobs / seconds).collect();
    // a window without a job has no ratio to another: JSON has no infinity
    let ends = rates.first().zip(rates.last()).filter(|(first, _)| **first > 0.0);
    let ends = ends.map(|(first, last)| load.figure("last window over first", "×", last / first));
    let by_window = format!("{}: by window, median (worst–best)", load.name());
    let mut figures = vec![
        load.figure(&format!("{} s", sizes.steady.as_secs()), "jobs/s", jobs / seconds)
            .beside("yardstick", controls.map(|control| control.rate))
            .costing(cost)
            .over(course(windows)),
        load.figure("WAL a job", "B", cost.wal_bytes)
            .beside("yardstick", controls.map(|control| control.wal_bytes)),
        Figure::of(load.scenario(), by_window, "jobs/s", rates),
    ];
    figures.extend(ends);
    figures
}

/// What the snapshot keeps from being removed.
async fn bloat(ground: &Ground, load: Load) -> anyhow::Result<[Figure; 2]> {
    let dead = ground.number(DEAD).await?;
    let index = ground.number("SELECT pg_relation_size('jobqueue.ready_pkey')").await?;
    Ok([
        load.figure("dead rows of ready at the end", "rows", float(u64::try_from(dead)?)),
        load.figure("its index at the end", "MB", float(u64::try_from(index)?) / 1e6),
    ])
}

/// Rows that nobody can see any more.
const DEAD: &str = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'ready'";

/// The load goes on: how long after the snapshot was let go has autovacuum removed the dead rows, and what is the rate then?
async fn recovery(
    ground: &Ground,
    sizes: Sizes,
    load: Load,
    pressure: &Pressure,
) -> anyhow::Result<Vec<Figure>> {
    let (limit, began, before) = (sizes.steady / 3, Instant::now(), ground.number(DEAD).await?);
    let bar = progress("recovery", usize::try_from(limit.as_secs())?);
    while ground.number(DEAD).await? > before / 10 {
        if began.elapsed() > limit {
            eprintln!("{limit:?} after the snapshot was let go, its dead rows are still there");
            return Ok(vec![]);
        }
        bar.inc(1);
        tokio::time::sleep(Duration::from_secs(1).min(limit)).await;
    }
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let (completed, asked) = (pressure.completed(), Instant::now());
    tokio::time::sleep(sizes.short).await;
    let rate = float(pressure.completed() - completed) / asked.elapsed().as_secs_f64();
    Ok(vec![
        load.figure("until autovacuum had removed the dead rows, under load", "s", seconds),
        load.figure("rate after that", "jobs/s", rate),
    ])
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

/// The windows of a run: a minute each, or a fifth of a short run.
async fn watch(helpers: &mut Helpers, span: Duration, name: &str) -> anyhow::Result<Vec<Window>> {
    let pressure = helpers.pressure.clone();
    let window = (span / 5).min(Duration::from_mins(1));
    let count = usize::try_from(span.as_millis() / window.as_millis().max(1))?;
    let bar = progress(name, count);
    let mut windows = Vec::with_capacity(count);
    let (mut last, mut at) = (pressure.completed(), Instant::now());
    for _ in 0..count {
        tokio::time::sleep(window).await;
        helpers.check()?;
        let now = pressure.completed();
        windows.push((float(now - last), at.elapsed().as_secs_f64()));
        (last, at) = (now, Instant::now());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(windows)
}
