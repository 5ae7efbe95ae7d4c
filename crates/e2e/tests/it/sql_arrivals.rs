//! Jobs that are enqueued in SQL without `wake` start at once: the reaper notifies the workers. The worker here would find them only after
//! minutes.

use jobqueue_testkit::{TestDb, eventually};
use sqlx::PgPool;

use crate::cluster::{Cluster, LIMIT};

/// A worker that does not poll while a test runs.
const HARDLY_EVER: &str = "600";
const NOTIFICATIONS: &str = "reaper_arrival_notifications_total";

async fn completed(pool: &PgPool, jobs: i64) {
    eventually(LIMIT, &format!("{jobs} jobs are completed"), async || {
        let count = "SELECT count(*) FROM jobqueue.jobs WHERE status = 'completed'";
        match sqlx::query_scalar::<_, i64>(count).fetch_one(pool).await.unwrap() {
            count if count == jobs => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

#[tokio::test]
async fn a_lone_job_in_sql_starts_without_a_poll_when_its_transaction_commits() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await.with("WORKER_POLL_INTERVAL_SECONDS", HARDLY_EVER);
    let (_worker, mut reaper) = tokio::join!(cluster.worker("waiting", 4), cluster.reaper());
    let enqueue = "SELECT jobqueue.enqueue('echo', '1')";
    for jobs in 1..=5 {
        db.execute(enqueue).await;
        completed(db.pool(), jobs).await;
    }
    // the reaper sees the call, and notifies before the commit, which no worker profits from
    let before = reaper.metric(NOTIFICATIONS).await;
    let open = db.hold(enqueue).await;
    reaper.metric_reaches(NOTIFICATIONS, before + 1.0).await;
    open.commit().await.unwrap();
    completed(db.pool(), 6).await;
    db.execute("SELECT jobqueue.cancel(jobqueue.enqueue('echo', '1'))").await;
    db.execute("SELECT jobqueue.retry(job_id) FROM jobqueue.outcome WHERE status = 7").await;
    completed(db.pool(), 7).await;

    let second = cluster.reaper().await;
    assert!(second.metric(NOTIFICATIONS).await < 1.0, "one is enough");
    reaper.process.kill();
    second.metric_reaches(NOTIFICATIONS, 1.0).await;
    db.execute(enqueue).await;
    completed(db.pool(), 8).await;
}
