//! latency: submission to handler start, open loop, by REST and by SQL. Beside it at 50 jobs/s is the yardstick of latency: what SQL
//! and nothing else takes on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Sizes, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::open_loop::{Way, send};
use crate::process::Process;
use crate::report::Figure;
use crate::stats::Latency;
use crate::submissions::KIND;
use crate::yardstick;

/// Where the yardstick is beside: more of its commits than about a thousand a second wait for each other's notifications.
const SLOW: u32 = 50;

/// What a round measures, in this order, each at 50, 1,000 and 5,000 jobs a second.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// `POST /v1/jobs`.
    Rest,
    /// SQL of the product that leaves it to polls to find the job.
    Sql,
    /// SQL of the product that wakes a worker.
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

    fn way(self, url: &str, api: SocketAddr) -> Way {
        let wake = match self {
            Self::Rest => return Way::Rest(api),
            Self::Sql => false,
            Self::SqlWake => true,
        };
        let statement = format!("SELECT jobqueue.enqueue('{KIND}', $1::json, wake => {wake})");
        Way::Sql { url: url.to_owned(), statement }
    }
}

/// See the module.
pub(crate) async fn round(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let long = sizes.short * 6;
    let raw = yardstick::latency(ground, SLOW, long).await?;
    let mut figures = Vec::new();
    for route in Route::ALL {
        for per_second in [SLOW, 1000, 5000] {
            // a percentile needs jobs beyond it
            let span = if per_second == SLOW { long } else { sizes.short };
            let (latency, cost) = measure(ground, route, per_second, span).await?;
            let name = route.name();
            let [median, tail @ ..] = std::array::from_fn::<_, 5, _>(|nth| {
                let ((quantile, ms), (_, raw)) = (latency.named()[nth], raw.named()[nth]);
                let figure = Figure::plain(
                    "latency",
                    format!("{name} to start, {per_second}/s, {quantile}"),
                    "ms",
                    ms,
                );
                if per_second == SLOW { figure.beside("yardstick", [raw]) } else { figure }
            });
            figures.extend([median.costing(&cost)].into_iter().chain(tail));
        }
    }
    Ok(figures)
}

/// One run in a fresh database.
pub(crate) async fn measure(
    ground: &Ground,
    route: Route,
    per_second: u32,
    span: Duration,
) -> anyhow::Result<(Latency, Cost)> {
    ground.fresh().await?;
    let store = ground.store()?;
    let (api, address) = Process::api(ground.url(), false).await?;
    let worker = Process::worker(ground.url(), 100, 0)?;
    let way = route.way(ground.url(), address);
    let before = Meter::read(ground, [&api, &worker]).await?;
    let jobs = send(way, per_second, span).await?;
    wait_for_completed(&store, jobs, &progress("latency", usize::try_from(jobs)?)).await?;
    let cost = before.per_job(&Meter::read(ground, [&api, &worker]).await?, jobs);
    let ledger = Ledger::take(&[worker.stop().await?])?;
    api.stop().await?;
    store.close().await;
    ledger.prove_exactly_once(ground.completed().await?)?;
    Ok((Latency::of_micros(ledger.micros)?, cost))
}
