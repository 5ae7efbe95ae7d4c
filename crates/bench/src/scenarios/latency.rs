//! latency: submission to handler start, open loop, by REST and by SQL. The clock starts when a job was due to be sent, so a slow answer
//! does not hide the jobs behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Sizes, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ground::Ground;
use crate::http_load::{Connection, post};
use crate::ledger::Ledger;
use crate::process::{Process, monotonic_micros};
use crate::report::Figure;
use crate::stats::Latency;
use crate::submissions::KIND;

/// Senders; each has one connection.
const SENDERS: u32 = 32;

/// How jobs are submitted.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// `POST /v1/jobs`.
    Rest(SocketAddr),
    /// A statement with the payload as its parameter, a commit each.
    Sql { url: String, statement: String },
}

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
    let mut figures = Vec::new();
    for route in Route::ALL {
        for per_second in [50, 1000, 5000] {
            // a percentile needs jobs beyond it
            let span = if per_second == 50 { sizes.short * 6 } else { sizes.short };
            let (latency, cost) = measure(ground, route, per_second, span).await?;
            let name = route.name();
            let [median, tail @ ..] = latency.named().map(|(quantile, ms)| {
                Figure::plain("latency", format!("{name} to start, {per_second}/s, {quantile}"), "ms", ms)
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

/// A connection that submits.
enum Sender {
    Rest(Connection),
    Sql { connection: PgConnection, statement: String },
}

impl Sender {
    async fn submit(&mut self, due_micros: u64) -> anyhow::Result<()> {
        let payload = format!(
            r#"{{"sent_micros":{due_micros},"to":"someone@example.com","body":"about a hundred bytes in all"}}"#
        );
        match self {
            Self::Rest(connection) => {
                let body = format!(r#"{{"kind":"{KIND}","payload":{payload}}}"#);
                let status = connection.send(&post("/v1/jobs", &body)).await?;
                anyhow::ensure!(status == 201, "a submission was refused");
            }
            Self::Sql { connection, statement } => {
                sqlx::query(statement).bind(payload).execute(connection).await?;
            }
        }
        Ok(())
    }
}

/// Submits at a steady rate, whatever the answers take; answers how many were submitted.
pub(crate) async fn send(way: Way, per_second: u32, span: Duration) -> anyhow::Result<u64> {
    let mut senders = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..SENDERS {
        let mut sender = match &way {
            Way::Rest(address) => Sender::Rest(Connection::open(*address).await?),
            Way::Sql { url, statement } => {
                Sender::Sql { connection: PgConnection::connect(url).await?, statement: statement.clone() }
            }
        };
        let (queue, mut due) = mpsc::unbounded_channel();
        queues.push(queue);
        senders.spawn(async move {
            let mut sent = 0_u64;
            while let Some(due_micros) = due.recv().await {
                sender.submit(due_micros).await?;
                sent += 1;
            }
            anyhow::Ok(sent)
        });
    }
    tokio::task::spawn_blocking(move || pace(&queues, per_second, span)).await?;
    let mut jobs = 0;
    while let Some(sent) = senders.join_next().await {
        jobs += sent??;
    }
    Ok(jobs)
}

/// Tells the senders in turn when a job is due. A thread of its own, for timers of the runtime are a millisecond coarse.
fn pace(queues: &[mpsc::UnboundedSender<u64>], per_second: u32, span: Duration) {
    let began = Instant::now();
    let began_micros = monotonic_micros();
    for (number, queue) in (0_u32..).zip(queues.iter().cycle()) {
        let due = Duration::from_secs(1) * number / per_second;
        if due >= span {
            return;
        }
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        // a sender that failed has said so
        let _ = queue.send(began_micros + u64::try_from(due.as_micros()).unwrap_or(u64::MAX));
    }
}
