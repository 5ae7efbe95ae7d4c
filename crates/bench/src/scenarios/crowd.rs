//! crowd: many slots and many workers. Compares ten processes of a hundred slots with one, and measures two hundred
//! remote workers that lease one job at a time by long poll.

use std::time::Instant;

use super::burn_down::{self, Drain};
use super::{Sizes, fill, progress, wait_for_completed};
use crate::cost::Meter;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::float;
use crate::submissions;

/// Worker processes of the crowd.
const PROCESSES: usize = 10;
/// Remote workers.
const REMOTE: usize = 200;

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let jobs = sizes.jobs.min(400_000);
    let alone = burn_down::once(server, jobs, 1, |_| submissions::draft()).await?.rate;
    let crowd = burn_down::once(server, jobs, PROCESSES, |_| submissions::draft()).await?;
    let remote = over_http(server, jobs / 10).await?;
    let figure = |what: String, drain: &Drain| {
        Figure::plain("crowd", what, "jobs/s", drain.rate)
            .compared_with("one process", [alone])
            .with_cost(&drain.cost)
    };
    Ok(vec![
        figure(format!("{jobs} jobs, {PROCESSES} processes of 100 slots"), &crowd),
        figure(format!("{REMOTE} remote workers, a job a request"), &remote),
    ])
}

async fn over_http(server: &BenchServer, count: usize) -> anyhow::Result<Drain> {
    let jobs = u64::try_from(count)?;
    server.reset().await?;
    let store = server.store()?;
    fill(&store, count).await?;
    let (api, address) = Process::api(server.url(), false).await?;
    let before = Meter::read(server, [&api]).await?;
    let began = Instant::now();
    let workers = Process::remote(address, REMOTE)?;
    wait_for_completed(&store, jobs, &progress("remote", count)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cost = before.per_job(&Meter::read(server, [&api]).await?, jobs);
    let ledger = workers.stop().await?;
    api.stop().await?;
    Ledger::take(&[ledger])?.prove_exactly_once(server.completed().await?)?;
    store.close().await;
    Ok(Drain { rate: float(jobs) / seconds, cost })
}
