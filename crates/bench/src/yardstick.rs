//! The yardstick: plain SQL with only the three statements of a queue. Insert, lease and delete in batches of 100 from
//! four connections, on the same server in the same run, without history. For latency it uses single jobs: an insert
//! with a notification, and a lease by the session that receives it.

use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cost::Meter;
use crate::open_loop::{SubmitBy, due_in, send};
use crate::process::monotonic_micros;
use crate::scenarios::STUCK;
use crate::server::BenchServer;
use crate::stats::{Latency, float};
use crate::submissions::PAYLOAD;

const BATCH: usize = 100;
const CONNECTIONS: usize = 4;

const TABLE: &str = "CREATE TABLE yardstick (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT NULL, priority smallint NOT NULL,
                            payload jsonb NOT NULL, state smallint NOT NULL DEFAULT 0);
    CREATE INDEX ON yardstick (queue, priority, id) WHERE state = 0";
const INSERT: &str = "INSERT INTO yardstick (queue, priority, payload) SELECT 'default', 0, p::jsonb FROM unnest($1::text[]) AS i (p)";
const LEASE: &str = "UPDATE yardstick SET state = 1 WHERE id IN (SELECT id FROM yardstick WHERE queue = 'default' AND state = 0
    ORDER BY priority, id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING id";
/// Inserts a single job with a notification.
const INSERT_ONE: &str =
    "WITH job AS (INSERT INTO yardstick (queue, priority, payload) VALUES ('default', 0, $1::jsonb))
    SELECT pg_notify('yardstick', '')";
/// Leases jobs and returns when they were due.
const LEASE_TIMED: &str = "UPDATE yardstick SET state = 1 WHERE id IN (SELECT id FROM yardstick WHERE queue = 'default' AND state = 0
    ORDER BY priority, id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING (payload->>'sent_micros')::bigint";
const DELETE: &str = "DELETE FROM yardstick WHERE id = ANY ($1)";

/// The result of the yardstick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yardstick {
    /// Jobs per second through insert, lease and delete.
    pub(crate) rate: f64,
    /// Bytes of WAL per job.
    pub(crate) wal_bytes: f64,
}

/// Measures in an empty database, and leaves its tables behind.
pub(crate) async fn measure(server: &BenchServer, span: Duration) -> anyhow::Result<Yardstick> {
    server.reset().await?;
    let mut connection = server.connection().await?;
    let before = Meter::read(server, []).await?;
    sqlx::raw_sql(TABLE).execute(&mut connection).await?;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(server.url().to_owned(), began + span));
    }
    let mut jobs = 0;
    while let Some(done) = clients.join_next().await {
        jobs += done??;
    }
    let rate = float(jobs) / began.elapsed().as_secs_f64();
    let wal_bytes = before.per_job(&Meter::read(server, []).await?, jobs).wal_bytes;
    Ok(Yardstick { rate, wal_bytes })
}

async fn client(url: String, until: Instant) -> anyhow::Result<u64> {
    let mut connection = PgConnection::connect(&url).await?;
    let payloads = vec![PAYLOAD; BATCH];
    let mut jobs = 0;
    while Instant::now() < until {
        sqlx::query(INSERT).bind(&payloads).execute(&mut connection).await?;
        let ids: Vec<i64> = sqlx::query_scalar(LEASE).fetch_all(&mut connection).await?;
        sqlx::query(DELETE).bind(&ids).execute(&mut connection).await?;
        jobs += u64::try_from(ids.len())?;
    }
    Ok(jobs)
}

/// The latency from the due time of a job until the client knows that its lease is committed.
pub(crate) async fn latency(
    server: &BenchServer,
    per_second: u32,
    span: Duration,
) -> anyhow::Result<Latency> {
    server.reset().await?;
    sqlx::raw_sql(TABLE).execute(&mut server.connection().await?).await?;
    let submit_by = SubmitBy::Sql { url: server.url().to_owned(), statement: INSERT_ONE.to_owned() };
    let mut listener = PgListener::connect(server.url()).await?;
    listener.listen("yardstick").await?;
    let leasing = lease_on_notification(listener, server.connection().await?, due_in(span, per_second));
    let (_, micros) = tokio::try_join!(send(submit_by, per_second, span), leasing)?;
    Latency::of_micros(micros)
}

/// Leases jobs at each notification; returns the latency of each job.
async fn lease_on_notification(
    mut listener: PgListener,
    mut connection: PgConnection,
    jobs: u64,
) -> anyhow::Result<Vec<u64>> {
    let mut micros = Vec::new();
    while micros.len() < usize::try_from(jobs)? {
        timeout(STUCK, listener.recv()).await??;
        let due: Vec<i64> = sqlx::query_scalar(LEASE_TIMED).fetch_all(&mut connection).await?;
        let now = monotonic_micros();
        for due in due {
            micros.push(now.saturating_sub(u64::try_from(due)?));
        }
    }
    Ok(micros)
}
