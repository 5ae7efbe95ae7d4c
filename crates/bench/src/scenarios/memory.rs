//! memory: is it flat? API, worker and reaper under a steady load for as long as the steady scenarios take, resident memory every tenth.

use anyhow::Context as _;

use super::{Sizes, progress, wait_for_completed};
use crate::cost::Meter;
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::open_loop::{Way, send};
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float;

/// Submissions a second.
const PER_SECOND: u32 = 1000;
/// Readings.
const READINGS: u32 = 10;

/// See the module.
pub(crate) async fn round(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    ground.fresh().await?;
    let store = ground.store()?;
    let (api, address) = Process::api(ground.url(), false).await?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    let reaper = Process::reaper(ground.url())?;
    let processes = [&api, &worker, &reaper];
    let before = Meter::read(ground, processes).await?;
    let mut readings = [const { Vec::new() }; 3];
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(send(Way::Rest(address), PER_SECOND, sizes.steady));
    let bar = progress("memory", usize::try_from(READINGS)?);
    for _ in 0..READINGS {
        tokio::time::sleep(sizes.steady / READINGS).await;
        for (process, readings) in processes.into_iter().zip(&mut readings) {
            readings.push(process.rss_mb()?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let jobs = sending.join_next().await.context("nothing was sent")???;
    wait_for_completed(&store, jobs, &progress("memory", usize::try_from(jobs)?)).await?;
    let cost = before.per_job(&Meter::read(ground, processes).await?, jobs);
    let load = format!("{PER_SECOND}/s for {} s", sizes.steady.as_secs());
    let mut figures =
        vec![Figure::plain("memory", format!("jobs, {load}"), "jobs", float(jobs)).costing(&cost)];
    for (process, readings) in processes.into_iter().zip(readings) {
        let what = |what: &str| format!("{}, {load}, {what}", process.role);
        let ends = readings.first().zip(readings.last()).map(|(first, last)| last / first);
        figures.push(Figure::of("memory", what("resident"), "MB", readings));
        figures
            .extend(ends.map(|ratio| Figure::plain("memory", what("last reading over first"), "×", ratio)));
    }
    let ledger = worker.stop().await?;
    api.stop().await?;
    reaper.stop().await?;
    store.close().await;
    Ledger::take(&[ledger])?.prove_exactly_once(ground.completed().await?)?;
    Ok(figures)
}
