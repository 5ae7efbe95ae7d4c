//! Submissions at a steady rate, whatever the answers take. The clock of a job starts when it was due to be sent, so a slow answer does
//! not hide the jobs behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http_load::{Connection, post};
use crate::process::monotonic_micros;
use crate::stats::float;
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

/// How many jobs are due in the time.
pub(crate) fn due_in(span: Duration, per_second: u32) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(per_second)).div_ceil(1000)
}

/// Submits so many in a second; answers how many were submitted.
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
    for (number, queue) in (0..due_in(span, per_second)).zip(queues.iter().cycle()) {
        let due = Duration::from_secs_f64(float(number) / f64::from(per_second));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        // a sender that failed has said so
        let _ = queue.send(began_micros + u64::try_from(due.as_micros()).unwrap_or(u64::MAX));
    }
}
