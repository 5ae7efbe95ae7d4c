//! idle: the processor time of worker, API and reaper that have nothing to do, and of a worker with fifty jobs a second.

use std::time::{Duration, Instant};

use super::Sizes;
use super::latency::{Way, send};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    ground.fresh().await?;
    let (api, address) = Process::api(ground.url(), false).await?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    let reaper = Process::reaper(ground.url())?;
    tokio::time::sleep(sizes.short / 4).await;
    let mut figures = Vec::new();
    for (what, jobs_per_second) in [("nothing to do", 0), ("50 jobs/s", 50)] {
        let (began, before) = (Instant::now(), cpu(&[&api, &worker, &reaper])?);
        if jobs_per_second == 0 {
            tokio::time::sleep(sizes.short * 3).await;
        } else {
            send(Way::Rest(address), jobs_per_second, sizes.short * 3).await?;
        }
        let (seconds, after) = (began.elapsed().as_secs_f64(), cpu(&[&api, &worker, &reaper])?);
        for ((name, before), after) in
            ["API", "worker with 100 slots", "reaper"].iter().zip(before).zip(after)
        {
            let share = after.saturating_sub(before).as_secs_f64() / seconds * 100.0;
            figures.push(Figure::plain("idle", format!("{name}, {what}"), "% of a core", &[share]));
        }
    }
    for (name, process) in [("API", &api), ("worker", &worker), ("reaper", &reaper)] {
        let what = format!("{name}, resident memory");
        figures.push(Figure::plain("idle", what, "MB", &[process.rss_mb()?]));
    }
    let ledger = worker.stop().await?;
    api.stop().await?;
    reaper.stop().await?;
    Ledger::take(&[ledger])?.prove_exactly_once(ground.count("completed").await?)?;
    Ok(figures)
}

fn cpu(processes: &[&Process]) -> anyhow::Result<Vec<Duration>> {
    processes.iter().map(|process| process.cpu()).collect()
}
