//! Submissions at a fixed rate, however long the responses take. The latency of a job counts from the time at which it
//! was due, so a slow response does not hide the delay of the jobs after it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http_load::{Connection, post};
use crate::process::monotonic_micros;
use crate::stats::float;
use crate::submissions::KIND;

/// The number of senders; each has one connection.
const SENDERS: u32 = 32;

/// How jobs are submitted.
#[derive(Clone, Debug)]
pub(crate) enum SubmitBy {
    /// `POST /v1/jobs`.
    Rest(SocketAddr),
    /// A statement with the payload as its parameter, committed separately for each job.
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
                anyhow::ensure!(status == 201, "a submission got status {status}");
            }
            Self::Sql { connection, statement } => {
                sqlx::query(statement).bind(payload).execute(connection).await?;
            }
        }
        Ok(())
    }
}

/// The number of jobs that are due in a duration.
pub(crate) fn due_in(span: Duration, per_second: u32) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(per_second)).div_ceil(1000)
}

/// Submits this many jobs per second; returns how many were submitted.
pub(crate) async fn send(submit_by: SubmitBy, per_second: u32, span: Duration) -> anyhow::Result<u64> {
    let mut senders = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..SENDERS {
        let mut sender = match &submit_by {
            SubmitBy::Rest(address) => Sender::Rest(Connection::open(*address).await?),
            SubmitBy::Sql { url, statement } => {
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
    tokio::task::spawn_blocking(move || send_due_times(&queues, per_second, span)).await?;
    let mut jobs = 0;
    while let Some(sent) = senders.join_next().await {
        jobs += sent??;
    }
    Ok(jobs)
}

/// Sends the due time of each job to the senders, one after another. Runs in its own thread, because the timers of the
/// runtime have a resolution of a millisecond.
fn send_due_times(queues: &[mpsc::UnboundedSender<u64>], per_second: u32, span: Duration) {
    let began = Instant::now();
    let began_micros = monotonic_micros();
    for (number, queue) in (0..due_in(span, per_second)).zip(queues.iter().cycle()) {
        let due = Duration::from_secs_f64(float(number) / f64::from(per_second));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        // if a sender has failed, its own error is reported
        let _ = queue.send(began_micros + u64::try_from(due.as_micros()).unwrap_or(u64::MAX));
    }
}
