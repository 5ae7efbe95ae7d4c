//! The waiting place: jobs that wait for their time and jobs that wait for other jobs are in one table, and every verb treats both.

use std::time::Duration;

use jobqueue_core::{Failure, JobDraft, JobId, Status};
use jobqueue_store::{Cancelled, JobFilter};

use crate::bench::{Bench, MINUTE, boom, delayed, draft};

/// A job that waits for two other jobs. No verb makes one yet.
async fn blocked(bench: &Bench, draft: JobDraft) -> JobId {
    let id = bench.add(JobDraft { delay_seconds: Some(60.0), ..draft }).await;
    let sql = "UPDATE jobqueue.scheduled SET pending = 2 WHERE job_id = $1";
    sqlx::query(sql).bind(id.as_uuid()).execute(&bench.pool).await.unwrap();
    id
}

async fn listed(bench: &Bench, status: Status) -> Vec<JobId> {
    let filter = JobFilter { statuses: vec![status], ..JobFilter::default() };
    bench.store.find(&filter, None, 10).await.unwrap().ids
}

async fn in_sql(bench: &Bench, id: JobId) -> (String, String) {
    sqlx::query_as("SELECT status, jobqueue.status(id) FROM jobqueue.jobs WHERE id = $1")
        .bind(id.as_uuid())
        .fetch_one(&bench.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_job_that_waits_for_other_jobs_reads_as_blocked_everywhere() {
    let bench = Bench::new().await;
    let (waits, timed) = (blocked(&bench, draft()).await, bench.add(delayed(60.0)).await);
    for (id, status) in [(waits, Status::Blocked), (timed, Status::Scheduled)] {
        assert_eq!(bench.status(id).await, status);
        assert_eq!(listed(&bench, status).await, [id]);
        assert_eq!(in_sql(&bench, id).await, (status.to_string(), status.to_string()));
    }
    let queue = bench.store.queues().get(&"default".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(queue.scheduled, 1, "only the one that waits for its time");
    bench.store.take_census(10).await.unwrap();
    assert_eq!(bench.store.census().await.unwrap().queues[0].scheduled, 1);
}

#[tokio::test]
async fn a_blocked_job_is_promoted_when_it_waits_for_no_job_and_its_time_has_come() {
    let mut bench = Bench::new().await;
    let id = blocked(&bench, draft()).await;
    bench.pass(2 * MINUTE);
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 0);
    assert_eq!(bench.store.jobs().promote(&[id]).await.unwrap(), [], "not by an operator either");
    assert_eq!(bench.status(id).await, Status::Blocked);
    bench.execute("UPDATE jobqueue.scheduled SET pending = NULL").await;
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 1);
    assert_eq!(bench.status(id).await, Status::Queued);
}

#[tokio::test]
async fn blocked_jobs_are_cancelled_expired_and_purged_like_scheduled_ones() {
    let mut bench = Bench::new().await;
    let rest = blocked(&bench, draft()).await;
    assert_eq!(bench.store.jobs().cancel(&[rest], &boom()).await.unwrap(), [Cancelled::Now]);
    let sql = blocked(&bench, draft()).await;
    let answer: String = sqlx::query_scalar("SELECT jobqueue.cancel($1)")
        .bind(sql.as_uuid())
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_eq!(answer, "cancelled");
    let expires_at = bench.store.time().await.unwrap().map(|now| (now + Duration::from_mins(2)).to_rfc3339());
    let expires = blocked(&bench, JobDraft { expires_at, ..draft() }).await;
    bench.pass(3 * MINUTE);
    assert_eq!(bench.store.expire_due(10).await.unwrap(), 1);
    for (id, error) in [(rest, "boom"), (sql, "cancelled"), (expires, "expired")] {
        let record = bench.record(id).await;
        let found = record.error.map(|Failure { kind, .. }| kind);
        assert_eq!((record.status, found.as_deref()), (Status::Cancelled, Some(error)));
    }
    blocked(&bench, draft()).await;
    assert_eq!(bench.store.queues().purge(&"default".parse().unwrap(), None, 10).await.unwrap(), 1);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.scheduled").await, 0);
}

/// The column costs the jobs of today nothing: a null takes no room in the row.
#[tokio::test]
async fn a_scheduled_job_takes_as_much_room_as_before_the_column() {
    let bench = Bench::new().await;
    bench.add(delayed(60.0)).await;
    let sizes: (i32, i32) = sqlx::query_as(
        "SELECT pg_column_size(s.*), pg_column_size(ROW (job_id, run_at, lane, kind, attempt)) FROM jobqueue.scheduled s",
    )
    .fetch_one(&bench.pool)
    .await
    .unwrap();
    assert_eq!(sizes.0, sizes.1);
}
