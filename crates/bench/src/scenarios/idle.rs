//! idle: the processor time of worker, API and reaper that have nothing to do, and of a worker with fifty jobs a second.

use std::time::{Duration, Instant};

use super::latency::{Way, send};
use super::{Sizes, progress, wait_for_completed};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    ground.fresh().await?;
    let store = ground.store()?;
    let (api, address) = Process::api(ground.url(), false).await?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    let reaper = Process::reaper(ground.url())?;
    tokio::time::sleep(sizes.short / 4).await;
    let (mut figures, mut sent) = (Vec::new(), 0);
    for (what, jobs_per_second) in [("nothing to do", 0), ("50 jobs/s", 50)] {
        let processes = [&api, &worker, &reaper];
        let (began, before) = (Instant::now(), cpu(ground, &processes).await?);
        if jobs_per_second == 0 {
            tokio::time::sleep(sizes.short * 6).await;
        } else {
            sent += send(Way::Rest(address), jobs_per_second, sizes.short * 6).await?;
        }
        let (seconds, after) = (began.elapsed().as_secs_f64(), cpu(ground, &processes).await?);
        for ((name, before), after) in NAMES.iter().zip(before).zip(after) {
            let share = after.saturating_sub(before).as_secs_f64() / seconds * 100.0;
            figures.push(Figure::plain("idle", format!("{name}, {what}"), "% of a core", &[share]));
        }
    }
    for (name, process) in [("API", &api), ("worker", &worker), ("reaper", &reaper)] {
        let what = format!("{name}, resident memory");
        figures.push(Figure::plain("idle", what, "MB", &[process.rss_mb()?]));
    }
    wait_for_completed(&store, sent, &progress("idle", usize::try_from(sent)?)).await?;
    store.close().await;
    let ledger = worker.stop().await?;
    api.stop().await?;
    reaper.stop().await?;
    Ledger::take(&[ledger])?.prove_exactly_once(ground.completed().await?)?;
    Ok(figures)
}

const NAMES: [&str; 4] = ["API", "worker with 100 slots", "reaper", "Postgres for them"];

/// Of the processes, and of Postgres.
async fn cpu(ground: &Ground, processes: &[&Process]) -> anyhow::Result<Vec<Duration>> {
    let mut used = processes.iter().map(|process| process.cpu()).collect::<anyhow::Result<Vec<_>>>()?;
    used.push(ground.meter().await?.cpu);
    Ok(used)
}
