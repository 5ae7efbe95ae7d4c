//! jobqueue.forget: when jobs are deleted, nothing of them is left in any table, whichever verb deletes them.

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Outcome};
use jobqueue_store::{AttemptReport, Retention};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, boom, draft, failed, json};

/// The tables that have rows of this job. Every table that refers to jobs has a column `job_id`; `body` has `id`. A settle deletes the rows of
/// leases.
async fn traces(bench: &Bench, id: JobId) -> Vec<String> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = CASE c.relname WHEN 'body' THEN 'id' ELSE 'job_id' END
         WHERE c.relnamespace = 'jobqueue'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
    )
    .fetch_all(&bench.pool)
    .await
    .unwrap();
    assert!(tables.len() >= 10, "{tables:?}");
    let mut found = Vec::new();
    for (table, column) in tables {
        let sql = format!("SELECT count(*) FROM jobqueue.{table} WHERE {column} = $1");
        let rows: i64 = sqlx::query_scalar(&sql).bind(id.as_uuid()).fetch_one(&bench.pool).await.unwrap();
        found.extend((rows > 0).then_some(table));
    }
    found
}

/// A job with a row in every side table: it has failed once with a report, and a cancel request was late.
async fn rich(bench: &mut Bench, key: &str) -> JobId {
    let unique = UniqueDraft { key: key.into(), ..UniqueDraft::default() };
    let expires_at = bench.store.time().await.unwrap().map(|now| (now + 40 * DAY).to_rfc3339());
    let id = bench.add(JobDraft { unique: Some(unique), expires_at, max_snoozes: Some(3), ..draft() }).await;
    let leased = bench.lease_one().await;
    let report = AttemptReport { progress: Some(json("1")), log: "half way\n".into() };
    assert_eq!(bench.store.report(&[(&leased.lease, report)]).await.unwrap(), [true]);
    bench.end(leased, failed()).await;
    let late = "INSERT INTO jobqueue.cancel_request VALUES ($1, 1, NULL, now())";
    sqlx::query(late).bind(id.as_uuid()).execute(&bench.pool).await.unwrap();
    id
}

async fn finish(bench: &mut Bench, id: JobId) {
    bench.pass(60 * MINUTE);
    bench.store.promote_due(10).await.unwrap();
    let leased = bench.lease_one().await;
    assert_eq!(leased.job.id, id);
    bench.end(leased, Outcome::Discarded(boom())).await;
}

#[tokio::test]
async fn nothing_of_a_job_is_left_whether_it_waits_or_is_final() {
    let mut bench = Bench::new().await;
    let done = rich(&mut bench, "done").await;
    finish(&mut bench, done).await;
    let waits = rich(&mut bench, "waits").await;
    let other = bench.add(draft()).await;
    let queued = bench.add(draft()).await;
    assert_eq!(
        traces(&bench, waits).await,
        ["attempt", "body", "cancel_request", "expiry", "report", "scheduled", "snooze", "unique_claim"]
    );
    assert!(traces(&bench, done).await.contains(&"outcome".to_owned()));
    let ids: Vec<Uuid> = [done, waits, queued].iter().map(|id| id.as_uuid()).collect();
    let gone: i64 =
        sqlx::query_scalar("SELECT jobqueue.forget($1)").bind(&ids).fetch_one(&bench.pool).await.unwrap();
    assert_eq!(gone, 3);
    for id in [done, waits, queued] {
        assert_eq!(traces(&bench, id).await, [""; 0]);
    }
    assert_eq!(traces(&bench, other).await, ["body", "ready"]);
    let none = sqlx::query_scalar::<_, i64>("SELECT jobqueue.forget('{}')").fetch_one(&bench.pool).await;
    assert_eq!(none.unwrap(), 0);
}

#[tokio::test]
async fn a_purge_leaves_nothing() {
    let mut bench = Bench::new().await;
    let waits = rich(&mut bench, "waits").await;
    assert_eq!(bench.store.queues().purge(&"default".parse().unwrap(), None, 10).await.unwrap(), 1);
    assert_eq!(traces(&bench, waits).await, [""; 0]);
}

#[tokio::test]
async fn the_drop_of_a_day_leaves_nothing() {
    let mut bench = Bench::new().await;
    let done = rich(&mut bench, "done").await;
    finish(&mut bench, done).await;
    bench.pass(10 * DAY);
    let pruned = bench.store.upkeep().prune(Retention { completed: DAY, failed: DAY }).await.unwrap();
    assert_eq!(pruned.jobs, 1, "{pruned:?}");
    assert_eq!(traces(&bench, done).await, [""; 0]);
}
