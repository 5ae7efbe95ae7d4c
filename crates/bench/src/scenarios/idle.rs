//! idle: the processor time of worker, API and reaper without jobs and with fifty jobs per second. It takes minutes, so
//! that periodic work is included.

use super::{Sizes, progress, wait_for_completed};
use crate::cost::Meter;
use crate::ledger::Ledger;
use crate::open_loop::{SubmitBy, send};
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    server.reset().await?;
    let store = server.store()?;
    let (api, address) = Process::api(server.url(), false).await?;
    let worker = Process::worker(server.url(), 100, 0)?;
    let reaper = Process::reaper(server.url())?;
    tokio::time::sleep(sizes.short / 4).await;
    let (mut figures, mut sent) = (Vec::new(), 0);
    for (what, jobs_per_second) in [("nothing to do", 0), ("50 jobs/s", 50)] {
        let before = Meter::read(server, [&api, &worker, &reaper]).await?;
        if jobs_per_second == 0 {
            tokio::time::sleep(sizes.idle).await;
        } else {
            sent += send(SubmitBy::Rest(address), jobs_per_second, sizes.idle).await?;
        }
        let after = Meter::read(server, [&api, &worker, &reaper]).await?;
        let figure = |name: &str, unit: &str, value| {
            let what = format!("{name}, {what}, {} s", sizes.idle.as_secs());
            Figure::plain("idle", what, unit, value)
        };
        let transactions = figure("transactions", "/s", before.transactions_per_second(&after));
        figures.push(transactions.with_cost(&before.per_second(&after)));
        let shares = before.cores(&after).into_iter();
        figures.extend(shares.map(|(who, share)| figure(who, "% of a core", share)));
    }
    wait_for_completed(&store, sent, &progress("idle", usize::try_from(sent)?)).await?;
    store.close().await;
    let ledger = worker.stop().await?;
    api.stop().await?;
    reaper.stop().await?;
    Ledger::take(&[ledger])?.prove_exactly_once(server.completed().await?)?;
    Ok(figures)
}
