//! memory: resident memory of API, worker and reaper under a steady load, for the duration of the steady scenarios,
//! read ten times. It should not grow.

use anyhow::Context as _;

use super::{Sizes, progress, wait_for_completed};
use crate::cost::Meter;
use crate::ledger::Ledger;
use crate::open_loop::{SubmitBy, send};
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::float;

/// Submissions per second.
const PER_SECOND: u32 = 1000;
/// Number of readings.
const READINGS: u32 = 10;

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    server.reset().await?;
    let store = server.store()?;
    let (api, address) = Process::api(server.url(), false).await?;
    let worker = Process::worker(server.url(), 100, 0)?;
    let reaper = Process::reaper(server.url())?;
    let processes = [&api, &worker, &reaper];
    let before = Meter::read(server, processes).await?;
    let mut readings = [const { Vec::new() }; 3];
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(send(SubmitBy::Rest(address), PER_SECOND, sizes.steady));
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
    let cost = before.per_job(&Meter::read(server, processes).await?, jobs);
    let load = format!("{PER_SECOND}/s for {} s", sizes.steady.as_secs());
    let mut figures =
        vec![Figure::plain("memory", format!("jobs, {load}"), "jobs", float(jobs)).with_cost(&cost)];
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
    Ledger::take(&[ledger])?.prove_exactly_once(server.completed().await?)?;
    Ok(figures)
}
