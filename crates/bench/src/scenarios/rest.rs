//! rest: single POSTs over keep-alive HTTP, with authentication and validation, compared with a control: the same API
//! with one INSERT and one commit per request (a batch of one job). The rate of `/health` shows the cost of HTTP alone.

use std::time::Duration;

use super::Sizes;
use crate::cost::{Cost, Meter};
use crate::http_load::{Load, closed_loop, get, post};
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::float_len;
use crate::submissions;

/// Number of connections that send batches.
const BATCHERS: usize = 4;

/// The submissions of one measurement.
#[derive(Clone, Copy, Debug)]
struct Posts {
    /// Jobs per request.
    jobs: usize,
    connections: usize,
    /// Whether they go to the control.
    control: bool,
}

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [64, 256] {
        let posts = Posts { jobs: 1, connections, control: false };
        let (ours, cost) = posts.send(server, sizes.short).await?;
        let bare = health(server, connections, sizes.short / 4).await?;
        let (control, _) = Posts { control: true, ..posts }.send(server, sizes.short).await?;
        let figure = |what: &str, unit: &str, value: f64| {
            Figure::plain("rest", format!("{connections} connections, {what}"), unit, value)
        };
        figures.extend([
            figure("single POST", "req/s", ours.per_second)
                .compared_with("control", [control.per_second])
                .with_cost(&cost),
            figure("p99", "ms", ours.latency.p99).compared_with("control's", [control.latency.p99]),
            figure("single POST again", "req/s", ours.per_second).compared_with("/health", [bare.per_second]),
        ]);
    }
    for jobs in [100, 1000] {
        let posts = Posts { jobs, connections: BATCHERS, control: false };
        let (load, cost) = posts.send(server, sizes.short).await?;
        let what = |text: &str| format!("batches of {jobs}, {BATCHERS} connections, {text}");
        let rate = load.per_second * float_len(jobs);
        figures.push(Figure::plain("rest", what("jobs"), "jobs/s", rate).with_cost(&cost));
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

    /// Sends them to an API with an empty database; fails unless exactly the acknowledged jobs are stored.
    async fn send(self, server: &BenchServer, span: Duration) -> anyhow::Result<(Load, Cost)> {
        server.reset().await?;
        let (api, address) = Process::api(server.url(), self.control).await?;
        let before = Meter::read(server, [&api]).await?;
        let load = closed_loop(address, &self.request(), 201, self.connections, span).await?;
        let acknowledged = u64::try_from(load.answered * self.jobs)?;
        let cost = before.per_job(&Meter::read(server, [&api]).await?, acknowledged);
        let stored = server.count("queued").await?;
        anyhow::ensure!(stored == acknowledged, "{acknowledged} were acknowledged, {stored} are stored");
        api.stop().await?;
        Ok((load, cost))
    }
}

async fn health(server: &BenchServer, connections: usize, span: Duration) -> anyhow::Result<Load> {
    let (api, address) = Process::api(server.url(), false).await?;
    let load = closed_loop(address, &get("/health"), 200, connections, span).await?;
    api.stop().await?;
    Ok(load)
}
