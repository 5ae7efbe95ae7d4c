//! backlog: does a deep queue drain as fast as a shallow one, and what does counting it take?

use std::time::Instant;

use super::{Sizes, fill, progress, wait_for_completed};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::{float, float_len};

/// Jobs that are drained on top of each backlog.
const DRAINED: u64 = 200_000;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut rates = Vec::new();
    let (mut count_seconds, mut bytes, mut rss) = (0.0, 0, 0.0);
    let drained = DRAINED.min(u64::try_from(sizes.deep)? / 2);
    let shallow = usize::try_from(drained)?;
    let middle = (sizes.deep / 10).max(shallow);
    for depth in [shallow, middle, sizes.deep] {
        ground.fresh().await?;
        let store = ground.store()?;
        fill(&store, depth).await?;
        ground.checkpoint().await?;
        let asked = Instant::now();
        ground.count("queued").await?;
        count_seconds = asked.elapsed().as_secs_f64();
        let began = Instant::now();
        let worker = Process::worker(ground.url(), 100, 0)?;
        wait_for_completed(&store, drained, &progress("backlog", usize::try_from(drained)?)).await?;
        rates.push(float_len(usize::try_from(drained)?) / began.elapsed().as_secs_f64());
        rss = worker.peak_rss_mb()?;
        Ledger::take(&[worker.stop().await?])?.prove_exactly_once(ground.completed().await?)?;
        bytes = ground.number("SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ '^(body|ready)'").await?;
        store.close().await;
    }
    let [at_shallow, at_middle, at_deep] = rates[..] else { anyhow::bail!("{} rates", rates.len()) };
    let beside = |depth: usize, rate: f64| {
        Figure::plain("backlog", format!("{depth} waiting, first {drained}"), "jobs/s", &[rate])
            .beside(format!("{drained} waiting"), &[(rate, at_shallow)])
    };
    Ok(vec![
        beside(middle, at_middle),
        beside(sizes.deep, at_deep),
        Figure::plain("backlog", "worker, resident memory", "MB", &[rss]),
        Figure::plain("backlog", format!("count(*) of {} queued", sizes.deep), "s", &[count_seconds]),
        Figure::plain(
            "backlog",
            "tables and indexes of waiting jobs, a job",
            "bytes",
            &[float(u64::try_from(bytes)?) / float_len(sizes.deep)],
        ),
    ])
}
