//! latency: time from submission to handler start, in an open loop, over REST and in SQL. At 50 jobs/s it is compared
//! with the yardstick of latency: plain SQL on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Sizes, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ledger::Ledger;
use crate::open_loop::{SubmitBy, send};
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::Latency;
use crate::submissions::KIND;
use crate::yardstick;

/// The rate at which the yardstick is measured. From about a thousand per second on, its commits wait for each other
/// because of their notifications.
const SLOW: u32 = 50;

/// How jobs are submitted. A round measures these in this order, each at 50, 1,000 and 5,000 jobs per second.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// `POST /v1/jobs`.
    Rest,
    /// The product's SQL function without a notification in the transaction.
    Sql,
    /// The product's SQL function with a notification.
    SqlWake,
}

impl Route {
    const ALL: [Self; 3] = [Self::Rest, Self::Sql, Self::SqlWake];

    fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Sql => "SQL",
            Self::SqlWake => "SQL with wake",
        }
    }

    fn submit_by(self, url: &str, api: SocketAddr) -> SubmitBy {
        let wake = match self {
            Self::Rest => return SubmitBy::Rest(api),
            Self::Sql => false,
            Self::SqlWake => true,
        };
        let statement = format!("SELECT jobqueue.enqueue('{KIND}', $1::json, wake => {wake})");
        SubmitBy::Sql { url: url.to_owned(), statement }
    }
}

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let long = sizes.short * 6;
    let raw = yardstick::latency(server, SLOW, long).await?;
    let mut figures = Vec::new();
    for route in Route::ALL {
        for per_second in [SLOW, 1000, 5000] {
            // enough jobs for the percentiles
            let span = if per_second == SLOW { long } else { sizes.short };
            let (latency, cost) = measure(server, route, per_second, span).await?;
            let name = route.name();
            let [median, tail @ ..] = std::array::from_fn::<_, 5, _>(|nth| {
                let ((quantile, ms), (_, raw)) = (latency.named()[nth], raw.named()[nth]);
                let figure = Figure::plain(
                    "latency",
                    format!("{name} to start, {per_second}/s, {quantile}"),
                    "ms",
                    ms,
                );
                if per_second == SLOW { figure.compared_with("yardstick", [raw]) } else { figure }
            });
            figures.extend([median.with_cost(&cost)].into_iter().chain(tail));
        }
    }
    Ok(figures)
}

/// One run in an empty database.
pub(crate) async fn measure(
    server: &BenchServer,
    route: Route,
    per_second: u32,
    span: Duration,
) -> anyhow::Result<(Latency, Cost)> {
    server.reset().await?;
    let store = server.store()?;
    let (api, address) = Process::api(server.url(), false).await?;
    let worker = Process::worker(server.url(), 100, 0)?;
    let reaper = Process::reaper(server.url())?;
    let submit_by = route.submit_by(server.url(), address);
    let before = Meter::read(server, [&api, &worker, &reaper]).await?;
    let jobs = send(submit_by, per_second, span).await?;
    wait_for_completed(&store, jobs, &progress("latency", usize::try_from(jobs)?)).await?;
    let cost = before.per_job(&Meter::read(server, [&api, &worker, &reaper]).await?, jobs);
    let ledger = Ledger::take(&[worker.stop().await?])?;
    api.stop().await?;
    reaper.stop().await?;
    store.close().await;
    ledger.prove_exactly_once(server.completed().await?)?;
    Ok((Latency::of_micros(ledger.micros)?, cost))
}
