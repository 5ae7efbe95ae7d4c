//! latency: submission to handler start, open loop, by REST and by SQL. The clock starts when a job was due to be sent, so a slow answer
//! does not hide the jobs behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Sizes, progress, wait_for_completed};
use crate::ground::Ground;
use crate::http_load::{Connection, post};
use crate::ledger::Ledger;
use crate::process::{Process, monotonic_micros};
use crate::report::Figure;
use crate::stats::{Latency, float};
use crate::submissions::KIND;

/// Senders; each has one connection.
const SENDERS: u32 = 32;

/// How jobs are submitted.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// `POST /v1/jobs`.
    Rest(SocketAddr),
    /// `jobqueue.enqueue(…, wake => true)`, a commit each.
    Sql(String),
}

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (rest, per_second) in [(true, 50), (true, 1000), (true, 5000), (false, 50), (false, 1000)] {
        ground.fresh().await?;
        let store = ground.store()?;
        let (api, address) = Process::api(ground.url(), false).await?;
        let worker = Process::worker(ground.url(), 100, 0)?;
        let (name, way) =
            if rest { ("REST", Way::Rest(address)) } else { ("SQL", Way::Sql(ground.url().to_owned())) };
        let jobs = send(way, per_second, sizes.short).await?;
        wait_for_completed(&store, jobs, &progress("latency", usize::try_from(jobs)?)).await?;
        let told = Ledger::take(&[worker.stop().await?])?;
        api.stop().await?;
        store.close().await;
        told.prove_exactly_once(jobs)?;
        let latency = Latency::of_micros(told.micros)?;
        for (quantile, value) in latency.named() {
            let what = format!("{name} to start, {per_second}/s, {quantile}");
            figures.push(Figure::plain("latency", what, "ms", &[value]));
        }
        eprintln!("latency {name} {per_second}/s ({:.0} jobs): {latency:?}", float(jobs));
    }
    Ok(figures)
}

/// A connection that submits.
enum Sender {
    Rest(Connection),
    Sql(PgConnection),
}

impl Sender {
    async fn submit(&mut self, due_micros: u64) -> anyhow::Result<()> {
        let payload = format!(r#"{{"sent_micros":{due_micros}}}"#);
        match self {
            Self::Rest(connection) => {
                let body = format!(r#"{{"kind":"{KIND}","payload":{payload}}}"#);
                let status = connection.send(&post("/v1/jobs", &body)).await?;
                anyhow::ensure!(status == 201, "a submission was refused");
            }
            Self::Sql(connection) => {
                let call = "SELECT jobqueue.enqueue($1, $2::json, wake => true)";
                sqlx::query(call).bind(KIND).bind(payload).execute(connection).await?;
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
            Way::Sql(url) => Sender::Sql(PgConnection::connect(url).await?),
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
