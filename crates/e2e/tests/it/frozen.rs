//! A worker freezes inside a transaction that locks its jobs: they run on another worker as soon as those of a dead
//! worker, both with and without a pooler.

use jobqueue_testkit::{Signal, TestDb, eventually};

use crate::cluster::{Cluster, LIMIT};
use crate::ledger::{FLAKY, WorkDir, job};
use crate::pgbouncer;

/// Maximum time from the last heartbeat to the next start, with any settings.
const GUARANTEED_SECONDS: f64 = 35.0;

#[tokio::test]
async fn jobs_that_a_frozen_worker_has_locked_run_on_another_worker() {
    let db = TestDb::new().await;
    freeze_and_recover(&Cluster::quick(db.url()).await, &db).await;
}

#[tokio::test]
async fn jobs_that_a_frozen_worker_has_locked_behind_a_pooler_run_on_another_worker() {
    let Some(program) = pgbouncer::program() else {
        eprintln!("SKIPPED: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        return;
    };
    let (db, work) = (TestDb::new().await, WorkDir::new());
    let (_bouncer, port) = pgbouncer::start(&program, &work, db.url(), pgbouncer::TRANSACTION).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", db.name());
    freeze_and_recover(&Cluster::quick(&url).await.with("DATABASE_POOLER", "transaction"), &db).await;
}

async fn freeze_and_recover(cluster: &Cluster, db: &TestDb) {
    let (api, _reaper, victim) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("victim", 1));
    // the settle of the failed attempt locks the lease, and then waits for a lock of this test
    let held = db.hold("LOCK TABLE jobqueue.attempt IN SHARE MODE").await;
    let id = api.client.submit(&job(FLAKY, "locked")).await;
    cluster.work.started("locked", 1).await;
    let waits = "wait_event_type = 'Lock' AND backend_xid IS NOT NULL";
    eventually(LIMIT, "the settle waits", async || match db.sessions(waits).await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    victim.process.signal(Signal::STOP);
    held.rollback().await.unwrap();
    let idle = "state = 'idle in transaction' AND backend_xid IS NOT NULL";
    eventually(LIMIT, "its transaction is open", async || match db.sessions(idle).await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;

    let _heir = cluster.worker("heir", 1).await;
    cluster.work.started("locked", 2).await;
    let attempts = api.client.attempts(&id).await;
    assert_eq!(attempts[0]["ended"], "lost", "{attempts:?}");
    let silence: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM $1::text::timestamptz - w.beat_at)::float8 FROM jobqueue.worker w WHERE w.name = 'victim'",
    )
    .bind(attempts[1]["started_at"].as_str().unwrap())
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert!(silence <= GUARANTEED_SECONDS, "leased again {silence} s after the last sign of life");
}
