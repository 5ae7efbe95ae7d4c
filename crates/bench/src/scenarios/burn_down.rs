//! burn-down: one worker process drains waiting no-op jobs. Measured from its start to the commit of the last final
//! state.

use std::time::Instant;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, RetryPolicy};

use super::{Sizes, fill_with, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::float;
use crate::submissions::{draft, draft_with, padded};
use crate::yardstick;

/// The features that the jobs use.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    draft: fn(usize) -> anyhow::Result<JobDraft>,
}

/// Each job has a result and a unique key, and one in five fails in its first attempt.
fn rich(n: usize) -> anyhow::Result<JobDraft> {
    let fails = if n.is_multiple_of(5) { r#""fail_first":true,"# } else { "" };
    Ok(JobDraft {
        retry: Some(RetryPolicy::Fixed { delay_seconds: 0.1 }),
        unique: Some(UniqueDraft { key: format!("key-{n}"), ..UniqueDraft::default() }),
        ..draft_with(padded(&format!(r#""result":true,{fails}"#), 60, n))?
    })
}

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in [
        Kind { name: "plain", draft: |_| draft() },
        Kind { name: "with results, unique keys and 20 % retries", draft: rich },
    ] {
        let control = yardstick::measure(server, sizes.short).await?;
        let drain = once(server, sizes.jobs, 1, kind.draft).await?;
        let what = format!("{} jobs, one worker process, {}", sizes.jobs, kind.name);
        let figure = Figure::plain("burn-down", what, "jobs/s", drain.rate);
        figures.push(figure.compared_with("yardstick", [control.rate]).with_cost(&drain.cost));
    }
    Ok(figures)
}

/// The result of one drain.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// Jobs per second.
    pub(crate) rate: f64,
    pub(crate) cost: Cost,
}

/// Fills an empty database and drains it with this many worker processes.
pub(crate) async fn once(
    server: &BenchServer,
    count: usize,
    processes: usize,
    draft: fn(usize) -> anyhow::Result<JobDraft>,
) -> anyhow::Result<Drain> {
    server.reset().await?;
    let store = server.store()?;
    fill_with(&store, count, draft).await?;
    server.checkpoint().await?;
    let jobs = u64::try_from(count)?;
    let reaper = Process::reaper(server.url())?;
    let before = Meter::read(server, [&reaper]).await?;
    let began = Instant::now();
    let workers = (0..processes)
        .map(|number| Process::worker(server.url(), 100, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    wait_for_completed(&store, jobs, &progress("draining", count)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cost = before.per_job(&Meter::read(server, workers.iter().chain([&reaper])).await?, jobs);
    let mut ledgers = Vec::new();
    for worker in workers {
        ledgers.push(worker.stop().await?);
    }
    reaper.stop().await?;
    Ledger::take(&ledgers)?.prove_exactly_once(server.completed().await?)?;
    store.close().await;
    Ok(Drain { rate: float(jobs) / seconds, cost })
}
