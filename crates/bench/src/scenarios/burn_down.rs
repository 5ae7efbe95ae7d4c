//! burn-down: one worker process drains waiting no-op jobs. From its start to the commit of the last final state.

use std::time::Instant;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, RetryPolicy};

use super::{Sizes, fill_with, progress, wait_for_completed};
use crate::ground::Ground;
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
        ..draft_with(padded(&format!(r#""result":true,{fails}"#), 60))?
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
    let (mut pairs, mut costs, mut rss, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..sizes.repeats {
        let control = yardstick::measure(ground.url(), sizes.short).await?;
        ground.fresh().await?;
        let store = ground.store()?;
        fill_with(&store, sizes.jobs, kind.draft).await?;
        ground.checkpoint().await?;
        let jobs = u64::try_from(sizes.jobs)?;
        let reaper = Process::reaper(ground.url())?;
        let before = ground.meter().await?;
        let began = Instant::now();
        let worker = Process::worker(ground.url(), 100, round)?;
        wait_for_completed(&store, jobs, &progress("burn-down", sizes.jobs)).await?;
        let seconds = began.elapsed().as_secs_f64();
        costs.push(before.cost(&ground.meter().await?, jobs));
        cpu.push(worker.cpu()?.as_secs_f64() / float(jobs) * 1_000_000.0);
        rss.push(worker.rss_mb()?);
        let ledger = Ledger::take(&[worker.stop().await?])?;
        reaper.stop().await?;
        ledger.prove_exactly_once(ground.count("completed").await?)?;
        store.close().await;
        pairs.push((float(jobs) / seconds, control));
        eprintln!("burn-down {}: {:.0} jobs/s, yardstick {control:.0}", kind.name, float(jobs) / seconds);
    }
    let rates: Vec<f64> = pairs.iter().map(|(rate, _)| *rate).collect();
    let what = format!("{} jobs, one worker process, {}", sizes.jobs, kind.name);
    let figure = Figure::plain("burn-down", what, "jobs/s", &rates).beside("yardstick", &pairs);
    let named = |what: &str| format!("{what}, {}", kind.name);
    Ok(vec![
        costs.pop().map_or(figure.clone(), |cost| figure.costing(cost)),
        Figure::plain("burn-down", named("worker, CPU a job"), "us", &cpu),
        Figure::plain("burn-down", named("worker, resident memory"), "MB", &rss),
    ])
}
