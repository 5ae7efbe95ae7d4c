//! rest: single POSTs over keep-alive HTTP, with authentication and validation, beside a control: the same API, one INSERT and one commit a
//! request (a batch of one job). `/health` beside both shows what HTTP alone costs.

use std::net::SocketAddr;

use super::Sizes;
use crate::ground::Ground;
use crate::http_load::{Load, closed_loop, get, post};
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float_len;
use crate::submissions;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [64, 256] {
        let (mut pairs, mut tails, mut health, mut rss) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..sizes.repeats {
            ground.fresh().await?;
            let (api, address) = Process::api(ground.url(), false).await?;
            let ours = single(address, connections, sizes).await?;
            prove_stored(ground, ours.answered).await?;
            let bare = closed_loop(address, &get("/health"), 200, connections, sizes.short / 4).await?;
            health.push((ours.per_second, bare.per_second));
            rss.push(api.peak_rss_mb()?);
            api.stop().await?;
            ground.fresh().await?;
            let (api, address) = Process::api(ground.url(), true).await?;
            let body = format!(r#"{{"jobs":[{}]}}"#, submissions::body());
            let control =
                closed_loop(address, &post("/v1/jobs/batch", &body), 201, connections, sizes.short).await?;
            prove_stored(ground, control.answered).await?;
            api.stop().await?;
            eprintln!("rest {connections}: {:.0}/s, control {:.0}/s", ours.per_second, control.per_second);
            pairs.push((ours.per_second, control.per_second));
            tails.push((ours.latency.p99, control.latency.p99));
        }
        let firsts = |pairs: &[(f64, f64)]| pairs.iter().map(|(first, _)| *first).collect::<Vec<_>>();
        let what = |text: &str| format!("{connections} connections, {text}");
        figures.push(
            Figure::plain("rest", what("single POST"), "req/s", &firsts(&pairs)).beside("control", &pairs),
        );
        figures.push(Figure::plain("rest", what("p99"), "ms", &firsts(&tails)).beside("control's", &tails));
        figures.push(
            Figure::plain("rest", what("single POST again"), "req/s", &firsts(&health))
                .beside("/health", &health),
        );
        figures.push(Figure::plain("rest", what("API, resident memory"), "MB", &rss));
    }
    for jobs in [100, 1000] {
        figures.extend(batches(ground, jobs, sizes).await?);
    }
    Ok(figures)
}

/// Connections that send batches.
const BATCHERS: usize = 4;

async fn batches(ground: &Ground, jobs: usize, sizes: Sizes) -> anyhow::Result<[Figure; 2]> {
    let body = format!(r#"{{"jobs":[{}]}}"#, vec![submissions::body(); jobs].join(","));
    let (mut rates, mut tails) = (Vec::new(), Vec::new());
    for _ in 0..sizes.repeats {
        ground.fresh().await?;
        let (api, address) = Process::api(ground.url(), false).await?;
        let load = closed_loop(address, &post("/v1/jobs/batch", &body), 201, BATCHERS, sizes.short).await?;
        prove_stored(ground, load.answered * jobs).await?;
        api.stop().await?;
        rates.push(load.per_second * float_len(jobs));
        tails.push(load.latency.p99);
    }
    let what = |text: &str| format!("batches of {jobs}, {BATCHERS} connections, {text}");
    Ok([
        Figure::plain("rest", what("jobs"), "jobs/s", &rates),
        Figure::plain("rest", what("p99"), "ms", &tails),
    ])
}

/// Fails unless what was acknowledged is what is stored.
async fn prove_stored(ground: &Ground, acknowledged: usize) -> anyhow::Result<()> {
    let stored = ground.count("queued").await?;
    anyhow::ensure!(
        stored == u64::try_from(acknowledged)?,
        "{acknowledged} were acknowledged, {stored} are stored"
    );
    Ok(())
}

async fn single(address: SocketAddr, connections: usize, sizes: Sizes) -> anyhow::Result<Load> {
    closed_loop(address, &post("/v1/jobs", &submissions::body()), 201, connections, sizes.short).await
}
