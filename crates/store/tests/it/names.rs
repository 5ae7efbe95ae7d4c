//! New names in SQL: they are created when the transaction commits, and no other session waits for that.

use std::collections::BTreeSet;

use jobqueue_core::{JobDraft, JobId, Status};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::bench::{Bench, draft, request};

async fn named(bench: &Bench, id: JobId) -> (String, i16, String) {
    let job = bench.record(id).await.job;
    (job.queue.to_string(), job.priority, job.kind.to_string())
}

async fn enqueue(connection: &mut PgConnection, arguments: &str) -> JobId {
    let sql = format!("SELECT jobqueue.enqueue({arguments})");
    let id: Uuid = sqlx::query_scalar(&sql).fetch_one(connection).await.unwrap();
    JobId::from_uuid(id)
}

#[tokio::test]
async fn two_transactions_with_the_same_new_names_in_opposite_order_commit() {
    let bench = Bench::new().await;
    let (mut one, mut other) = (bench.pool.begin().await.unwrap(), bench.pool.begin().await.unwrap());
    let mut jobs = BTreeSet::new();
    for [first, second] in [["a", "b"], ["b", "a"]] {
        jobs.insert(enqueue(&mut one, &format!("'kind.{first}', queue => 'q.{first}', priority => 3")).await);
        jobs.insert(
            enqueue(&mut other, &format!("'kind.{second}', queue => 'q.{second}', priority => 3")).await,
        );
    }
    // and another session needs the same names while both are open
    let third = bench
        .add(JobDraft { kind: "kind.a".into(), queue: Some("q.b".into()), priority: Some(3), ..draft() })
        .await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.jobs").await, 1);
    let (one, other) = tokio::join!(one.commit(), other.commit());
    one.unwrap();
    other.unwrap();
    jobs.insert(third);
    let leased = bench.store.lease(&request(Some(bench.worker), &["q.a", "q.b"], 10)).await.unwrap();
    assert_eq!(leased.iter().map(|leased| leased.job.id).collect::<BTreeSet<_>>(), jobs);
    assert!(leased.iter().all(|leased| leased.job.priority == 3));
    for table in ["queue WHERE name LIKE 'q.%'", "kind WHERE name LIKE 'kind.%'", "lane WHERE priority = 3"] {
        assert_eq!(bench.count(&format!("SELECT count(*) FROM jobqueue.{table}")).await, 2, "{table}");
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unnamed").await, 0);
    assert_eq!(bench.count("SELECT sum(created) FROM jobqueue.tally").await, 5);
}

#[tokio::test]
async fn jobs_with_new_names_are_visible_to_their_transaction_and_after_the_commit() {
    let bench = Bench::new().await;
    let mut transaction = bench.pool.begin().await.unwrap();
    let now = enqueue(&mut transaction, "'new', '[1]', queue => 'fresh'").await;
    let later =
        enqueue(&mut transaction, "'new', queue => 'fresh', priority => 5, delay_seconds => 3600").await;
    let mut inner = transaction.begin().await.unwrap();
    enqueue(&mut inner, "'undone', queue => 'undone'").await;
    inner.rollback().await.unwrap();
    let known = "SELECT count(*) FROM jobqueue.jobs WHERE status IN ('queued', 'scheduled')";
    let seen: i64 = sqlx::query_scalar(known).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(seen, 2);
    assert_eq!(bench.count(known).await, 0);
    transaction.commit().await.unwrap();
    assert_eq!(named(&bench, now).await, ("fresh".into(), 0, "new".into()));
    assert_eq!(named(&bench, later).await, ("fresh".into(), 5, "new".into()));
    assert_eq!(bench.status(later).await, Status::Scheduled);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.kind WHERE name = 'undone'").await, 0);
    // many names in one transaction are created in one pass
    let many = "SELECT count(jobqueue.enqueue('many', queue => 'many')) FROM generate_series(1, 2000)";
    assert_eq!(bench.count(many).await, 2000);
    let leased = bench.store.lease(&request(Some(bench.worker), &["many"], 1000)).await.unwrap();
    assert_eq!(leased.len(), 1000);
}

#[tokio::test]
async fn names_created_after_a_snapshot_make_its_commit_fail() {
    let bench = Bench::new().await;
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut transaction =
            bench.pool.begin_with(format!("BEGIN ISOLATION LEVEL {isolation}")).await.unwrap();
        let kind = format!("late.{}", isolation.len());
        enqueue(&mut transaction, &format!("'{kind}'")).await;
        bench.add(JobDraft { kind: kind.clone(), ..draft() }).await;
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "40001", "{error}");
        // applications repeat the transaction in this case
        let mut again = bench.pool.begin_with(format!("BEGIN ISOLATION LEVEL {isolation}")).await.unwrap();
        let id = enqueue(&mut again, &format!("'{kind}'")).await;
        again.commit().await.unwrap();
        assert_eq!(named(&bench, id).await.2, kind);
    }
}

#[tokio::test]
async fn names_are_created_although_triggers_are_disabled() {
    let bench = Bench::new().await;
    let mut transaction = bench.pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL session_replication_role = replica").execute(&mut *transaction).await.unwrap();
    let id = enqueue(&mut transaction, "'quiet'").await;
    transaction.commit().await.unwrap();
    assert_eq!(named(&bench, id).await.2, "quiet");
}
