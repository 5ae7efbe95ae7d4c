//! The jobs of a dead worker are reclaimed although the connection of the reaper, or Postgres itself, fails repeatedly.
//! The time between two outages is shorter than the reaper's hold-off, so a hold-off that started again at each outage
//! would never end.

use std::time::Duration;

use jobqueue_testkit::{Fault, FaultProxy, TestDb, TestServer, eventually};
use sqlx::PgPool;
use tokio::time::sleep;

use crate::cluster::{Cluster, LIMIT, Node};
use crate::ledger::{GATE, job};

const JOBS: i64 = 3;

/// Kills a worker whose slots are all busy.
async fn kill_busy_worker(cluster: &Cluster) -> Node {
    let (api, mut victim) = tokio::join!(cluster.api(), cluster.worker("victim", 3));
    for n in 0..JOBS {
        let word = format!("orphan-{n}");
        api.client.submit(&job(GATE, &word)).await;
        cluster.work.started(&word, 1).await;
    }
    victim.process.kill();
    victim
}

/// Waits until every attempt of the dead worker is declared lost.
async fn all_reclaimed(pool: &PgPool) {
    eventually(LIMIT, "every orphan is back", async || {
        let lost = "SELECT count(*) FROM jobqueue.attempt WHERE ended = 'lost'";
        match sqlx::query_scalar::<_, i64>(lost).fetch_one(pool).await {
            Ok(JOBS) => Ok(()),
            other => Err(other.map_err(|error| error.to_string())),
        }
    })
    .await;
}

/// Repeats `again` until the jobs are reclaimed.
async fn repeat_until_reclaimed(pool: &PgPool, again: impl AsyncFn()) {
    let for_ever = async {
        loop {
            again().await;
        }
    };
    tokio::select! {
        () = all_reclaimed(pool) => {}
        () = for_ever => {}
    }
}

#[tokio::test]
async fn jobs_are_reclaimed_while_the_reapers_connection_is_unstable() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let proxy = FaultProxy::before(db.url()).await;
    let _reaper = cluster.clone().through(&proxy.through(db.url())).reaper().await;
    let _victim = kill_busy_worker(&cluster).await;
    // the duration of the outages is what is tested: each cycle is shorter than the hold-off of 3 s
    repeat_until_reclaimed(db.pool(), async || {
        proxy.set(Fault::Cut);
        sleep(Duration::from_millis(700)).await;
        proxy.set(Fault::Pass);
        sleep(Duration::from_millis(1800)).await;
    })
    .await;
}

#[tokio::test]
async fn jobs_are_reclaimed_while_postgres_restarts_repeatedly() {
    let server = TestServer::durable().await;
    let cluster = Cluster::quick(server.url()).await.with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1");
    let _reaper = cluster.reaper().await;
    let _victim = kill_busy_worker(&cluster).await;
    let pool = server.pool();
    repeat_until_reclaimed(&pool, async || {
        server.stop_immediate().await;
        server.start().await;
        // the time between two restarts is what is tested: it is shorter than the hold-off
        sleep(Duration::from_millis(2200)).await;
    })
    .await;
}
