//! idle: the processor time of a worker and an API that have nothing to do.

use std::time::Instant;

use super::Sizes;
use crate::ground::Ground;
use crate::process::Process;
use crate::report::Figure;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    ground.fresh().await?;
    let (api, _) = Process::api(ground.url(), false).await?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    tokio::time::sleep(sizes.short / 4).await;
    let (began, api_cpu, worker_cpu) = (Instant::now(), api.cpu()?, worker.cpu()?);
    tokio::time::sleep(sizes.short * 3).await;
    let seconds = began.elapsed().as_secs_f64();
    let share = |now: std::time::Duration, before: std::time::Duration| {
        now.saturating_sub(before).as_secs_f64() / seconds * 100.0
    };
    let figures = vec![
        Figure::plain("idle", "worker with 100 slots", "% of a core", &[share(worker.cpu()?, worker_cpu)]),
        Figure::plain("idle", "API", "% of a core", &[share(api.cpu()?, api_cpu)]),
        Figure::plain("idle", "worker, resident memory", "MB", &[worker.rss_mb()?]),
    ];
    let ledger = worker.stop().await?;
    std::fs::remove_file(ledger)?;
    api.stop().await?;
    Ok(figures)
}
