//! prune: final jobs are deleted when their retention ends, by days, and no live job is deleted.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Status};
use jobqueue_store::{Answer, Idempotency, Pruned, QueueSettings, Retention, Submission};
use sqlx::Connection as _;

use crate::bench::{Bench, DAY, MINUTE, delayed, draft, failed, submission};

const RETENTION: Retention =
    Retention { completed: Duration::from_hours(7 * 24), failed: Duration::from_hours(30 * 24) };

async fn prune(bench: &Bench) -> Pruned {
    bench.store.upkeep().prune(RETENTION).await.unwrap()
}

async fn exists(bench: &Bench, id: JobId) -> bool {
    bench.store.job(id).await.unwrap().is_some()
}

async fn days(bench: &Bench) -> i64 {
    bench
        .count("SELECT count(*) FROM pg_class WHERE relname ~ '^(body|outcome|attempt|report)_[0-9]{8}$'")
        .await
}

/// Checks that created = live + final + pruned.
async fn assert_conservation(bench: &Bench) {
    let lost = "SELECT (SELECT sum(created - pruned) FROM jobqueue.tally) - (SELECT count(*) FROM jobs)";
    assert_eq!(bench.count(lost).await, 0);
    assert_eq!(
        bench.count("SELECT (SELECT count(*) FROM jobs) - (SELECT count(*) FROM jobqueue.body)").await,
        0
    );
}

#[tokio::test]
async fn days_are_dropped_and_jobs_that_must_stay_are_moved() {
    let mut bench = Bench::new().await;
    let dead = bench.dead(draft()).await;
    let done = bench.done(draft()).await;
    bench.store.report(&[]).await.unwrap();
    let retrying = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    bench.end(leased, failed()).await;
    let (waiting, running) =
        (bench.add(delayed(1e7)).await, bench.add(JobDraft { priority: Some(9), ..draft() }).await);
    let leased = bench.lease_one().await;
    let queued = bench.add(draft()).await;
    assert_eq!(prune(&bench).await.days, 0);
    bench.pass(6 * DAY);
    prune(&bench).await;
    assert!(exists(&bench, done).await);
    bench.pass(3 * DAY);
    let young = bench.done(JobDraft { priority: Some(1), ..draft() }).await;
    let pruned = prune(&bench).await;
    assert!(pruned.days > 0 && pruned.days_waiting == 0, "{pruned:?}");
    assert_eq!(pruned.jobs, 1);
    assert!(!exists(&bench, done).await && exists(&bench, young).await);
    for (id, status) in [
        (dead, Status::Failed),
        (retrying, Status::Scheduled),
        (waiting, Status::Scheduled),
        (running, Status::Running),
        (queued, Status::Queued),
    ] {
        assert_eq!(bench.status(id).await, status);
    }
    assert_eq!(bench.store.attempts(dead).await.unwrap().len(), 1, "history goes along");
    assert_conservation(&bench).await;
    // they continue
    bench.end(leased, jobqueue_core::Outcome::Completed(None)).await;
    bench.store.jobs().promote(&[waiting, retrying]).await.unwrap();
    assert_eq!(bench.lease(10).await.len(), 3);
    bench.pass(22 * DAY);
    let pruned = prune(&bench).await;
    assert!(!exists(&bench, dead).await && !exists(&bench, running).await, "{pruned:?}");
    assert!(!exists(&bench, young).await);
    assert_conservation(&bench).await;
    assert_eq!(
        bench.count("SELECT count(*) FROM jobqueue.attempt_default").await,
        1,
        "that of the one that was retried"
    );
}

#[tokio::test]
async fn tables_of_coming_days_are_created_once() {
    let mut bench = Bench::new().await;
    prune(&bench).await;
    let before = days(&bench).await;
    assert_eq!(prune(&bench).await, Pruned::default());
    bench.pass(DAY);
    assert_eq!(prune(&bench).await.days_made, 1);
    assert_eq!(days(&bench).await, before + 4);
    // after a long pause, jobs are in the default table, which is not an error
    bench.pass(60 * DAY);
    let id = bench.done(draft()).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.body_default").await, 1);
    assert_eq!(prune(&bench).await.days_made, 3, "not the day that is in use already");
    assert!(exists(&bench, id).await);
    bench.pass(8 * DAY);
    assert_eq!(prune(&bench).await.jobs, 1);
    assert!(!exists(&bench, id).await);
    assert_conservation(&bench).await;
}

#[tokio::test]
async fn a_queue_has_its_own_retention() {
    let mut bench = Bench::new().await;
    let settings = QueueSettings {
        completed_retention: Some(Some(DAY)),
        failed_retention: Some(Some(2 * DAY)),
        max_queued: None,
    };
    bench.store.queues().create(&"short".parse().unwrap()).await.unwrap();
    bench.store.queues().configure(&"short".parse().unwrap(), settings).await.unwrap();
    let of = |queue: &str| JobDraft { queue: Some(queue.into()), ..draft() };
    let kept = bench.done(draft()).await;
    let mut short = Vec::new();
    for outcome in
        [jobqueue_core::Outcome::Completed(None), jobqueue_core::Outcome::Discarded(crate::bench::boom())]
    {
        short.push(bench.add(of("short")).await);
        let leased = bench
            .store
            .lease(&crate::bench::request(Some(bench.worker), &["short"], 1))
            .await
            .unwrap()
            .pop()
            .unwrap();
        bench.end(leased, outcome).await;
    }
    bench.pass(47 * DAY / 24);
    prune(&bench).await;
    assert!(exists(&bench, short[1]).await && exists(&bench, kept).await);
    bench.pass(DAY + 2 * MINUTE);
    prune(&bench).await;
    assert!(!exists(&bench, short[0]).await && !exists(&bench, short[1]).await && exists(&bench, kept).await);
    assert_conservation(&bench).await;
}

#[tokio::test]
async fn keys_are_deleted_with_their_jobs_and_after_a_day() {
    let mut bench = Bench::new().await;
    let statuses = Some(Status::ALL.to_vec());
    let keyed = JobDraft {
        unique: Some(UniqueDraft { key: "k".into(), statuses, ..UniqueDraft::default() }),
        ..draft()
    };
    bench.done(keyed.clone()).await;
    let request =
        || Submission { idempotency: Some(Idempotency::new("t", "k", "b")), ..submission(vec![draft()]) };
    bench.store.enqueue(&[request()]).await.unwrap();
    bench.pass(23 * DAY / 24);
    prune(&bench).await;
    let again = bench.store.enqueue(&[request()]).await.unwrap();
    assert!(matches!(again[..], [Answer::Served { replayed: true, .. }]));
    bench.pass(DAY / 12);
    prune(&bench).await;
    let again = bench.store.enqueue(&[request()]).await.unwrap();
    assert!(matches!(again[..], [Answer::Served { replayed: false, .. }]));
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 1);
    bench.pass(8 * DAY);
    prune(&bench).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 0);
    assert_conservation(&bench).await;
}

#[tokio::test]
async fn a_long_read_delays_prune_without_an_error() {
    let mut bench = Bench::new().await;
    let id = bench.done(draft()).await;
    prune(&bench).await;
    bench.pass(9 * DAY);
    bench.add(draft()).await;
    create_tables_only(&bench).await;
    let mut reader = sqlx::PgConnection::connect(bench.db.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM jobqueue.body").execute(&mut reader).await.unwrap();
    let pruned = prune(&bench).await;
    assert!(pruned.days == 0 && pruned.days_waiting > 0, "{pruned:?}");
    assert!(exists(&bench, id).await);
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(prune(&bench).await.jobs, 1);
    assert_conservation(&bench).await;
}

/// Creates the tables of the next days, so that the next prune only drops days.
async fn create_tables_only(bench: &Bench) {
    bench.count("SELECT jobqueue.add_partitions((jobqueue.now() AT TIME ZONE 'UTC')::date, 4)::bigint").await;
}

#[tokio::test]
async fn a_job_that_is_retried_while_its_day_is_dropped_is_kept() {
    let mut bench = Bench::new().await;
    let id = bench.dead(draft()).await;
    let stays = bench.add(JobDraft { queue: Some("other".into()), ..draft() }).await;
    bench.pass(40 * DAY);
    create_tables_only(&bench).await;
    // the operator's retry is not committed yet when the day is scanned
    let mut operator = bench.pool.begin().await.unwrap();
    let retry = format!(
        "WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = '{id}' RETURNING job_id)
         INSERT INTO jobqueue.ready SELECT b.id, b.lane, b.kind, 0 FROM gone JOIN jobqueue.body b ON b.id = gone.job_id"
    );
    sqlx::raw_sql(&retry).execute(&mut *operator).await.unwrap();
    let store = bench.store.clone();
    let pruning = crate::bench::start(async move { store.upkeep().prune(RETENTION).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    jobqueue_testkit::eventually(Duration::from_secs(20), "prune waits for the operator", async || {
        if bench.count(waits).await > 0 || pruning.is_finished() { Ok(()) } else { Err("not yet") }
    })
    .await;
    operator.commit().await.unwrap();
    pruning.await.unwrap();
    prune(&bench).await;
    assert_eq!((bench.status(id).await, bench.status(stays).await), (Status::Queued, Status::Queued));
    assert_conservation(&bench).await;
}

#[tokio::test]
async fn dead_workers_and_old_cancel_requests_are_deleted() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    bench.store.jobs().cancel(&[id], &crate::bench::boom()).await.unwrap();
    prune(&bench).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.cancel_request").await, 1);
    bench.pass(2 * DAY);
    prune(&bench).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.worker").await, 1, "it still holds a lease");
    bench.end(leased, jobqueue_core::Outcome::Cancelled).await;
    prune(&bench).await;
    assert_eq!(bench.count("SELECT (SELECT count(*) FROM jobqueue.worker) + (SELECT count(*) FROM jobqueue.cancel_request)").await, 0);
}

/// 25,000 jobs of a day must stay, which is too many to move. The expired jobs of that day are deleted nevertheless,
/// queue by queue.
#[tokio::test]
async fn a_day_full_of_jobs_that_must_stay_keeps_no_job_of_another_queue() {
    let mut bench = Bench::new().await;
    let keep = QueueSettings { completed_retention: Some(Some(365 * DAY)), ..QueueSettings::default() };
    bench.store.queues().create(&"long".parse().unwrap()).await.unwrap();
    bench.store.queues().configure(&"long".parse().unwrap(), keep).await.unwrap();
    let _lane = bench.add(JobDraft { queue: Some("long".into()), ..delayed(1e7) }).await;
    let statuses = Some(Status::ALL.to_vec());
    let unique = Some(UniqueDraft { key: "k".into(), statuses, ..UniqueDraft::default() });
    let (done, dead) = (bench.done(JobDraft { unique, ..draft() }).await, bench.dead(draft()).await);
    let queued = bench.add(draft()).await;
    // 15,000 jobs that are kept for a year, and 10,000 that wait; their ids are after those of the jobs above
    for (jobs, place) in [
        (15_000, "outcome (job_id, finished_at, status, attempt) SELECT id, jobqueue.now(), 5, 1"),
        (10_000, "scheduled SELECT id, jobqueue.now() + interval '1 year', lane, 1, 0"),
    ] {
        let stay = format!(
            "WITH made AS (INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload)
                 SELECT jobqueue.new_id(), l.id, 1, 3, '{{}}' FROM generate_series(1, {jobs}), jobqueue.lane l
                 JOIN jobqueue.queue q ON q.id = l.queue_id WHERE q.name = 'long' RETURNING id, lane),
             tally AS (INSERT INTO jobqueue.tally (queue_id, created) SELECT q.id, {jobs} FROM jobqueue.queue q WHERE name = 'long')
             INSERT INTO jobqueue.{place} FROM made"
        );
        bench.execute(&stay).await;
    }
    let mut last = Vec::new();
    for outcome in [jobqueue_core::Outcome::Completed(None), failed()] {
        last.push(bench.add(JobDraft { priority: Some(100), ..draft() }).await);
        let leased = bench.lease_one().await;
        bench.end(leased, outcome).await;
    }
    bench.pass(9 * DAY);
    let pruned = prune(&bench).await;
    assert!(pruned.jobs == 2 && pruned.days_waiting > 0, "{pruned:?}");
    assert!(
        !exists(&bench, done).await && !exists(&bench, last[0]).await,
        "both ends of the day were looked at"
    );
    for id in [dead, queued, last[1]] {
        assert!(exists(&bench, id).await, "dead letters are kept for longer, and what lives for ever");
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 0);
    assert_conservation(&bench).await;
    assert_eq!(prune(&bench).await.jobs, 0, "one pass an hour");

    // after a crash, the next prune continues the pass without a gap
    bench.pass(22 * DAY);
    bench
        .execute(
            "UPDATE jobqueue.prune_pass SET after = '00000000-0000-0000-0000-000000000000', ended_at = NULL",
        )
        .await;
    let pruned = prune(&bench).await;
    assert_eq!(pruned.jobs, 1, "{pruned:?}");
    assert!(!exists(&bench, dead).await && exists(&bench, queued).await && exists(&bench, last[1]).await);
    assert_eq!(bench.store.attempts(dead).await.unwrap().len(), 0, "history goes along");
    assert_conservation(&bench).await;

    // when only few jobs must stay, the day is dropped
    bench.execute("UPDATE jobqueue.queue SET completed_retention = NULL WHERE name = 'long'").await;
    bench.pass(DAY);
    let pruned = prune(&bench).await;
    assert!(pruned.days > 0 && pruned.days_waiting == 0, "{pruned:?}");
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.prune_pass").await, 0);
    assert_eq!(bench.status(queued).await, Status::Queued);
    assert_conservation(&bench).await;
}

/// An operator retries a job whose retention has ended, while the pass reaches it.
#[tokio::test]
async fn a_job_that_is_retried_during_the_pass_over_its_day_is_kept() {
    let mut bench = Bench::new().await;
    let (retried, other) = (bench.dead(draft()).await, bench.dead(draft()).await);
    bench.pass(40 * DAY);
    create_tables_only(&bench).await;
    bench
        .execute("INSERT INTO jobqueue.prune_pass SELECT substr(relname, 6), '00000000-0000-0000-0000-000000000000' FROM pg_class WHERE relname ~ '^body_[0-9]{8}$'")
        .await;
    let mut operator = bench.pool.begin().await.unwrap();
    let retry = format!(
        "WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = '{retried}' RETURNING job_id)
         INSERT INTO jobqueue.ready SELECT b.id, b.lane, b.kind, 0 FROM gone JOIN jobqueue.body b ON b.id = gone.job_id"
    );
    sqlx::raw_sql(&retry).execute(&mut *operator).await.unwrap();
    assert_eq!(prune(&bench).await.jobs, 1);
    operator.commit().await.unwrap();
    assert_eq!(bench.status(retried).await, Status::Queued);
    assert!(!exists(&bench, other).await);
    assert_conservation(&bench).await;
}
