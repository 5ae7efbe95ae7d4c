//! rest: single POSTs over keep-alive HTTP, with authentication and validation, beside a control: the same API, one INSERT and one commit a
//! request (a batch of one job). `/health` beside both shows what HTTP alone costs.

use std::time::Duration;

use super::Sizes;
use crate::cost::{Cost, Meter};
use crate::ground::Ground;
use crate::http_load::{Load, closed_loop, get, post};
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float_len;
use crate::submissions;

/// Connections that send batches.
const BATCHERS: usize = 4;

/// Submissions that all look the same.
#[derive(Clone, Copy, Debug)]
struct Posts {
    /// Jobs of a request.
    jobs: usize,
    connections: usize,
    /// To the control.
    control: bool,
}

/// See the module.
pub(crate) async fn round(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [64, 256] {
        let posts = Posts { jobs: 1, connections, control: false };
        let (ours, cost) = posts.send(ground, sizes.short).await?;
        let bare = health(ground, connections, sizes.short / 4).await?;
        let (control, _) = Posts { control: true, ..posts }.send(ground, sizes.short).await?;
        let figure = |what: &str, unit: &str, value: f64| {
            Figure::plain("rest", format!("{connections} connections, {what}"), unit, value)
        };
        figures.extend([
            figure("single POST", "req/s", ours.per_second)
                .beside("control", [control.per_second])
                .costing(&cost),
            figure("p99", "ms", ours.latency.p99).beside("control's", [control.latency.p99]),
            figure("single POST again", "req/s", ours.per_second).beside("/health", [bare.per_second]),
        ]);
    }
    for jobs in [100, 1000] {
        let posts = Posts { jobs, connections: BATCHERS, control: false };
        let (load, cost) = posts.send(ground, sizes.short).await?;
        let what = |text: &str| format!("batches of {jobs}, {BATCHERS} connections, {text}");
        let rate = load.per_second * float_len(jobs);
        figures.push(Figure::plain("rest", what("jobs"), "jobs/s", rate).costing(&cost));
        figures.push(Figure::plain("rest", what("p99"), "ms", load.latency.p99));
    }
    Ok(figures)
}

impl Posts {
    fn request(self) -> Vec<u8> {
        if self.jobs == 1 && !self.control {
            return post("/v1/jobs", &submissions::body());
        }
        let jobs = vec![submissions::body(); self.jobs].join(",");
        post("/v1/jobs/batch", &format!(r#"{{"jobs":[{jobs}]}}"#))
    }

    /// Sends them to an API with an empty database for a while; fails unless what was acknowledged is what is stored.
    async fn send(self, ground: &Ground, span: Duration) -> anyhow::Result<(Load, Cost)> {
        ground.fresh().await?;
        let (api, address) = Process::api(ground.url(), self.control).await?;
        let before = Meter::read(ground, [&api]).await?;
        let load = closed_loop(address, &self.request(), 201, self.connections, span).await?;
        let acknowledged = u64::try_from(load.answered * self.jobs)?;
        let cost = before.per_job(&Meter::read(ground, [&api]).await?, acknowledged);
        let stored = ground.count("queued").await?;
        anyhow::ensure!(stored == acknowledged, "{acknowledged} were acknowledged, {stored} are stored");
        api.stop().await?;
        Ok((load, cost))
    }
}

async fn health(ground: &Ground, connections: usize, span: Duration) -> anyhow::Result<Load> {
    let (api, address) = Process::api(ground.url(), false).await?;
    let load = closed_loop(address, &get("/health"), 200, connections, span).await?;
    api.stop().await?;
    Ok(load)
}
