//! burn-down: one worker process drains waiting no-op jobs. From its start to the commit of the last final state.

use std::time::Instant;

use super::{Sizes, fill, progress, wait_for_completed};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::{float, float_len};
use crate::yardstick;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let (mut pairs, mut costs, mut rss, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..sizes.repeats {
        let control = yardstick::measure(ground.url(), sizes.short).await?;
        ground.fresh().await?;
        let store = ground.store()?;
        fill(&store, sizes.jobs).await?;
        ground.checkpoint().await?;
        let jobs = u64::try_from(sizes.jobs.div_ceil(1000) * 1000)?;
        let before = ground.meter().await?;
        let bar = progress("burn-down", sizes.jobs);
        let began = Instant::now();
        let worker = Process::worker(ground.url(), 100, round)?;
        wait_for_completed(&store, jobs, &bar).await?;
        let seconds = began.elapsed().as_secs_f64();
        bar.finish_and_clear();
        costs.push(before.cost(&ground.meter().await?, jobs));
        cpu.push(worker.cpu()?.as_secs_f64() / float(jobs) * 1000.0);
        rss.push(worker.rss_mb()?);
        let ledger = worker.stop().await?;
        Ledger::read(&[&ledger])?.prove_exactly_once(ground.count("completed").await?)?;
        std::fs::remove_file(ledger)?;
        store.close().await;
        pairs.push((float_len(sizes.jobs) / seconds, control));
        eprintln!("burn-down {round}: {:.0} jobs/s, yardstick {control:.0}", float_len(sizes.jobs) / seconds);
    }
    let rates: Vec<f64> = pairs.iter().map(|(rate, _)| *rate).collect();
    let figure =
        Figure::plain("burn-down", format!("{} jobs, one worker process", sizes.jobs), "jobs/s", &rates)
            .beside("yardstick", &pairs);
    Ok(vec![
        costs.pop().map_or(figure.clone(), |cost| figure.costing(cost)),
        Figure::plain("burn-down", "worker, CPU-seconds per 1000 jobs", "s", &cpu),
        Figure::plain("burn-down", "worker, resident memory (with its ledger)", "MB", &rss),
    ])
}
