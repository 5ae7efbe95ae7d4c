//! crowd: many slots and many workers. A thousand slots as ten processes of a hundred beside one process of a hundred, and two hundred
//! remote workers that lease one job at a time by long poll.

use std::time::Instant;

use super::{Sizes, fill, progress, wait_for_completed};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float;

/// Worker processes of the crowd.
const PROCESSES: usize = 10;
/// Remote workers.
const REMOTE: usize = 200;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let jobs = sizes.jobs.min(400_000);
    let (mut pairs, mut remote) = (Vec::new(), Vec::new());
    for _ in 0..sizes.repeats {
        let alone = drain(ground, jobs, 1).await?;
        let crowd = drain(ground, jobs, PROCESSES).await?;
        pairs.push((crowd, alone));
        remote.push((over_http(ground, jobs / 10).await?, alone));
    }
    let rates: Vec<f64> = pairs.iter().map(|(rate, _)| *rate).collect();
    let remote_rates: Vec<f64> = remote.iter().map(|(rate, _)| *rate).collect();
    Ok(vec![
        Figure::plain("crowd", format!("{jobs} jobs, {PROCESSES} processes of 100 slots"), "jobs/s", &rates)
            .beside("one process", &pairs),
        Figure::plain("crowd", format!("{REMOTE} remote workers, a job a request"), "jobs/s", &remote_rates)
            .beside("one process", &remote),
    ])
}

async fn drain(ground: &Ground, jobs: usize, processes: usize) -> anyhow::Result<f64> {
    ground.fresh().await?;
    let store = ground.store()?;
    fill(&store, jobs).await?;
    ground.checkpoint().await?;
    let began = Instant::now();
    let workers = (0..processes)
        .map(|number| Process::worker(ground.url(), 100, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    wait_for_completed(&store, u64::try_from(jobs)?, &progress("crowd", jobs)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut ledgers = Vec::new();
    for worker in workers {
        ledgers.push(worker.stop().await?);
    }
    Ledger::take(&ledgers)?.prove_exactly_once(ground.completed().await?)?;
    store.close().await;
    Ok(float(u64::try_from(jobs)?) / seconds)
}

async fn over_http(ground: &Ground, jobs: usize) -> anyhow::Result<f64> {
    ground.fresh().await?;
    let store = ground.store()?;
    fill(&store, jobs).await?;
    let (api, address) = Process::api(ground.url(), false).await?;
    let began = Instant::now();
    let workers = Process::remote(address, REMOTE)?;
    wait_for_completed(&store, u64::try_from(jobs)?, &progress("remote", jobs)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let ledger = workers.stop().await?;
    api.stop().await?;
    Ledger::take(&[ledger])?.prove_exactly_once(ground.completed().await?)?;
    store.close().await;
    Ok(float(u64::try_from(jobs)?) / seconds)
}
