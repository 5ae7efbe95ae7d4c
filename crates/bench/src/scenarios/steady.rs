//! saturate and its variants: jobs are enqueued as fast as they are completed, with a bounded depth, for minutes. The
//! figure is the rate of committed final states; the worst window is also printed.

use std::time::{Duration, Instant};

use super::{STUCK, Sizes, progress};
use crate::cost::{Cost, Meter};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::{Latency, float};
use crate::yardstick::{self, Yardstick};
use load_state::{Helpers, LoadState, PROBES};

mod load_state;

/// The load of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Plain,
    /// An operator runs `SELECT count(*) FROM jobs WHERE status = 'queued'` every second.
    Counted,
    /// Priorities, delays, retries, unique keys and cancels.
    Mixed,
    /// The mixed load with payloads of this many bytes.
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

/// Measures each load, and the yardstick before and after it, because the speed of the machine changes over a long run.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes, loads: &[Load]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut earlier = yardstick::measure(server, sizes.short).await?;
    for load in loads {
        let measured = measure(server, sizes, *load).await?;
        let later = yardstick::measure(server, sizes.short).await?;
        figures.extend(rates(*load, sizes, &measured, [earlier, later]));
        figures.extend(measured.others);
        earlier = later;
    }
    Ok(figures)
}

/// The result of one load.
struct Measured {
    windows: Vec<Window>,
    cost: Cost,
    /// Figures other than the rates.
    others: Vec<Figure>,
}

async fn measure(server: &BenchServer, sizes: Sizes, load: Load) -> anyhow::Result<Measured> {
    server.reset().await?;
    let store = server.store()?;
    let reaper = Process::reaper(server.url())?;
    let mut worker = Process::worker(server.url(), 100, 0)?;
    let mut helpers = Helpers::start(server, &store, load, worker.progress.clone());
    let state = helpers.state.clone();
    wait_until(&mut worker, &mut helpers, |state| state.completed() > 0).await?;
    let mut pin = server.connection().await?;
    if let Load::Pinned { read } = load {
        let statement = if read { "SELECT count(*) FROM jobs" } else { "SELECT 1" };
        sqlx::raw_sql(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {statement}"))
            .execute(&mut pin)
            .await?;
    }
    let before = Meter::read(server, [&worker, &reaper]).await?;
    let windows = watch(&mut helpers, sizes.steady, load.scenario()).await?;
    let after = Meter::read(server, [&worker, &reaper]).await?;
    let mut figures = Vec::new();
    let enqueue_p99s = state.enqueue_p99s(&windows)?;
    if load.is_pinned() {
        figures.extend(dead_rows(server, load).await?);
        sqlx::raw_sql("COMMIT").execute(&mut pin).await?;
        figures.extend(recovery(server, sizes, load, &state).await?);
    }
    helpers.stop().await?;
    wait_until(&mut worker, &mut helpers, |state| state.waiting() == 0).await?;
    let ledger = Ledger::take(&[worker.stop().await?])?;
    reaper.stop().await?;
    let completed = server.completed().await?;
    anyhow::ensure!(
        completed.jobs == state.completed(),
        "the worker counted {} completed jobs",
        state.completed()
    );
    ledger.prove_exactly_once(completed)?;
    store.close().await;
    if load.is_mixed() {
        figures.push(load.figure("cancelled before they started", "jobs", float(state.cancelled())));
    }
    let mut p99_figure = |what: &str, ends: Option<(f64, f64)>| {
        let ends = ends.filter(|(first, _)| *first > 0.0);
        figures.extend(ends.map(|(first, last)| {
            load.figure(&format!("p99 {what}, last window"), "ms", last)
                .compared_with("first window", [first])
        }));
    };
    p99_figure("of an enqueue call", enqueue_p99s);
    if load.is_pinned() {
        p99_figure(&format!("from submission to start of a probe, {PROBES}/s"), probes(&ledger, &windows)?);
    }
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let cost = before.per_job(&after, format!("{jobs:.0}").parse()?);
    Ok(Measured { windows, cost, others: figures })
}

/// Waits until `reached` is true. Fails if the worker or the load ends, or if there is no progress.
async fn wait_until(
    worker: &mut Process,
    helpers: &mut Helpers,
    reached: impl Fn(&LoadState) -> bool,
) -> anyhow::Result<()> {
    let state = helpers.state.clone();
    let (mut last, mut since) = (state.waiting(), Instant::now());
    while !reached(&state) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        worker.is_alive()?;
        helpers.check()?;
        if state.waiting() != last {
            (last, since) = (state.waiting(), Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STUCK, "{last} jobs wait, and there is no progress");
    }
    Ok(())
}

/// The p99 of the probes of the first and of the last window. The number of probes of a window is the number that was
/// due in it, because the load continues after the last window.
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
    // without jobs in the first window there is no ratio, and JSON has no infinity
    let ends = rates.first().zip(rates.last()).filter(|(first, _)| **first > 0.0);
    let ends = ends.map(|(first, last)| load.figure("last window over first", "×", last / first));
    let by_window = format!("{}: by window, median (worst–best)", load.name());
    let mut figures = vec![
        load.figure(&format!("{} s", sizes.steady.as_secs()), "jobs/s", jobs / seconds)
            .compared_with("yardstick", controls.map(|control| control.rate))
            .with_cost(cost)
            .with_series(series(windows)),
        load.figure("WAL per job", "B", cost.wal_bytes)
            .compared_with("yardstick", controls.map(|control| control.wal_bytes)),
        Figure::of(load.scenario(), by_window, "jobs/s", rates),
    ];
    figures.extend(ends);
    figures
}

/// The dead rows that the snapshot prevents from being removed.
async fn dead_rows(server: &BenchServer, load: Load) -> anyhow::Result<[Figure; 2]> {
    let dead = server.number(DEAD).await?;
    let index = server.number("SELECT pg_relation_size('jobqueue.ready_pkey')").await?;
    Ok([
        load.figure("dead rows of ready at the end", "rows", float(u64::try_from(dead)?)),
        load.figure("index of ready at the end", "MB", float(u64::try_from(index)?) / 1e6),
    ])
}

/// The number of dead rows of `ready`.
const DEAD: &str = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'ready'";

/// Measures, under the continuing load, how long after the end of the snapshot autovacuum has removed the dead rows,
/// and the rate after that.
async fn recovery(
    server: &BenchServer,
    sizes: Sizes,
    load: Load,
    state: &LoadState,
) -> anyhow::Result<Vec<Figure>> {
    let (limit, began, before) = (sizes.steady / 3, Instant::now(), server.number(DEAD).await?);
    let bar = progress("recovery", usize::try_from(limit.as_secs())?);
    while server.number(DEAD).await? > before / 10 {
        if began.elapsed() > limit {
            eprintln!("{limit:?} after the end of the snapshot, its dead rows have not been removed");
            return Ok(vec![]);
        }
        bar.inc(1);
        tokio::time::sleep(Duration::from_secs(1).min(limit)).await;
    }
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let (completed, measured_at) = (state.completed(), Instant::now());
    tokio::time::sleep(sizes.short).await;
    let rate = float(state.completed() - completed) / measured_at.elapsed().as_secs_f64();
    Ok(vec![
        load.figure("time until autovacuum had removed the dead rows, under load", "s", seconds),
        load.figure("rate after that", "jobs/s", rate),
    ])
}

/// The rate of each window, with the time of its end.
fn series(windows: &[Window]) -> Vec<(f64, f64)> {
    let mut at = 0.0;
    windows
        .iter()
        .map(|(jobs, seconds)| {
            at += seconds;
            (at, jobs / seconds)
        })
        .collect()
}

/// Measures the windows of a run: a minute each, or a fifth of a short run.
async fn watch(helpers: &mut Helpers, span: Duration, name: &str) -> anyhow::Result<Vec<Window>> {
    let state = helpers.state.clone();
    let window = (span / 5).min(Duration::from_mins(1));
    let count = usize::try_from(span.as_millis() / window.as_millis().max(1))?;
    let bar = progress(name, count);
    let mut windows = Vec::with_capacity(count);
    let (mut last, mut at) = (state.completed(), Instant::now());
    for _ in 0..count {
        tokio::time::sleep(window).await;
        helpers.check()?;
        let now = state.completed();
        windows.push((float(now - last), at.elapsed().as_secs_f64()));
        (last, at) = (now, Instant::now());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(windows)
}
