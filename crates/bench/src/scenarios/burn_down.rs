//! burn-down: one worker process drains waiting no-op jobs. From its start to the commit of the last final state.

use std::time::Instant;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, RetryPolicy};

use super::{Sizes, fill_with, progress, wait_for_completed};
use crate::ground::{Cost, Ground};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float;
use crate::submissions::{draft, draft_with, padded};
use crate::yardstick;

/// What the jobs use.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    draft: fn(usize) -> anyhow::Result<JobDraft>,
}

/// Everything: a result each, a unique key each, and one in five fails at its first attempt.
fn rich(n: usize) -> anyhow::Result<JobDraft> {
    let fails = if n.is_multiple_of(5) { r#""fail_first":true,"# } else { "" };
    Ok(JobDraft {
        retry: Some(RetryPolicy::Fixed { delay_seconds: 0.1 }),
        unique: Some(UniqueDraft { key: format!("key-{n}"), ..UniqueDraft::default() }),
        ..draft_with(padded(&format!(r#""result":true,{fails}"#), 60, n))?
    })
}

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in [
        Kind { name: "plain", draft: |_| draft() },
        Kind { name: "with results, unique keys and 20 % retries", draft: rich },
    ] {
        figures.extend(drain(ground, sizes, kind).await?);
    }
    Ok(figures)
}

async fn drain(ground: &Ground, sizes: Sizes, kind: Kind) -> anyhow::Result<Vec<Figure>> {
    let (mut pairs, mut drains) = (Vec::new(), Vec::new());
    for _ in 0..sizes.repeats {
        let control = yardstick::measure(ground, sizes.short).await?;
        let drain = once(ground, sizes.jobs, kind.draft).await?;
        eprintln!("burn-down {}: {:.0} jobs/s, yardstick {:.0}", kind.name, drain.rate, control.rate);
        pairs.push((drain.rate, control.rate));
        drains.push(drain);
    }
    let of = |value: fn(&Drain) -> f64| drains.iter().map(value).collect::<Vec<_>>();
    let what = format!("{} jobs, one worker process, {}", sizes.jobs, kind.name);
    let figure =
        Figure::plain("burn-down", what, "jobs/s", &of(|drain| drain.rate)).beside("yardstick", &pairs);
    let named = |what: &str| format!("{what}, {}", kind.name);
    Ok(vec![
        drains.last().map_or(figure.clone(), |drain| figure.costing(drain.cost)),
        Figure::plain("burn-down", named("worker, CPU a job"), "us", &of(|drain| drain.cpu_micros)),
        Figure::plain("burn-down", named("worker, resident memory, most"), "MB", &of(|drain| drain.rss_mb)),
    ])
}

/// What one drain took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// Jobs per second.
    pub(crate) rate: f64,
    cost: Cost,
    /// Of the worker, a job.
    cpu_micros: f64,
    rss_mb: f64,
}

/// Fills a fresh database and drains it.
pub(crate) async fn once(
    ground: &Ground,
    count: usize,
    draft: fn(usize) -> anyhow::Result<JobDraft>,
) -> anyhow::Result<Drain> {
    ground.fresh().await?;
    let store = ground.store()?;
    fill_with(&store, count, draft).await?;
    ground.checkpoint().await?;
    let jobs = u64::try_from(count)?;
    let reaper = Process::reaper(ground.url())?;
    let before = ground.meter().await?;
    let began = Instant::now();
    let worker = Process::worker(ground.url(), 100, 0)?;
    wait_for_completed(&store, jobs, &progress("burn-down", count)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cost = before.cost(&ground.meter().await?, jobs);
    let (cpu_micros, rss_mb) = (worker.cpu()?.as_secs_f64() / float(jobs) * 1e6, worker.peak_rss_mb()?);
    let ledger = Ledger::take(&[worker.stop().await?])?;
    reaper.stop().await?;
    ledger.prove_exactly_once(ground.completed().await?)?;
    store.close().await;
    Ok(Drain { rate: float(jobs) / seconds, cost, cpu_micros, rss_mb })
}
