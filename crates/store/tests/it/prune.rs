//! prune: final jobs are forgotten when their time has come, a day at a time, and nothing that lives is.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Status};
use jobqueue_store::{Answer, Idempotency, Pruned, QueueSettings, Retention, Submission};
use sqlx::Connection as _;

use crate::bench::{Bench, DAY, MINUTE, delayed, draft, failed, submission};

const RETENTION: Retention =
    Retention { completed: Duration::from_hours(7 * 24), failed: Duration::from_hours(30 * 24) };

async fn prune(bench: &Bench) -> Pruned {
    bench.store.prune(RETENTION).await.unwrap()
}

async fn known(bench: &Bench, id: JobId) -> bool {
    bench.store.job(id).await.unwrap().is_some()
}

async fn days(bench: &Bench) -> i64 {
    bench
        .count("SELECT count(*) FROM pg_class WHERE relname ~ '^(body|outcome|attempt|report)_[0-9]{8}$'")
        .await
}

/// created = live + final + pruned, for ever.
async fn nothing_is_lost(bench: &Bench) {
    let lost = "SELECT (SELECT sum(created - pruned) FROM jobqueue.tally) - (SELECT count(*) FROM jobs)";
    assert_eq!(bench.count(lost).await, 0);
    assert_eq!(
        bench.count("SELECT (SELECT count(*) FROM jobs) - (SELECT count(*) FROM jobqueue.body)").await,
        0
    );
}

#[tokio::test]
async fn days_are_dropped_and_who_must_stay_stays() {
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
    assert!(known(&bench, done).await);
    bench.pass(3 * DAY);
    let young = bench.done(JobDraft { priority: Some(1), ..draft() }).await;
    let pruned = prune(&bench).await;
    assert!(pruned.days > 0 && pruned.days_waiting == 0, "{pruned:?}");
    assert_eq!(pruned.jobs, 1);
    assert!(!known(&bench, done).await && known(&bench, young).await);
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
    nothing_is_lost(&bench).await;
    // life goes on for them
    bench.end(leased, jobqueue_core::Outcome::Completed(None)).await;
    bench.store.promote(&[waiting, retrying]).await.unwrap();
    assert_eq!(bench.lease(10).await.len(), 3);
    bench.pass(22 * DAY);
    let pruned = prune(&bench).await;
    assert!(!known(&bench, dead).await && !known(&bench, running).await, "{pruned:?}");
    assert!(!known(&bench, young).await);
    nothing_is_lost(&bench).await;
    assert_eq!(
        bench.count("SELECT count(*) FROM jobqueue.attempt_default").await,
        1,
        "that of the one that was retried"
    );
}

#[tokio::test]
async fn room_is_made_ahead_and_only_once() {
    let mut bench = Bench::new().await;
    prune(&bench).await;
    let before = days(&bench).await;
    assert_eq!(prune(&bench).await, Pruned::default());
    bench.pass(DAY);
    assert_eq!(prune(&bench).await.days_made, 1);
    assert_eq!(days(&bench).await, before + 4);
    // away for long: jobs went without a room of their own, which is no harm
    bench.pass(60 * DAY);
    let id = bench.done(draft()).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.body_default").await, 1);
    assert_eq!(prune(&bench).await.days_made, 3, "not the day that is in use already");
    assert!(known(&bench, id).await);
    bench.pass(8 * DAY);
    assert_eq!(prune(&bench).await.jobs, 1);
    assert!(!known(&bench, id).await);
    nothing_is_lost(&bench).await;
}

#[tokio::test]
async fn a_queue_has_its_own_retention() {
    let mut bench = Bench::new().await;
    let settings =
        QueueSettings { completed_retention: Some(Some(DAY)), failed_retention: Some(Some(2 * DAY)) };
    bench.store.configure_queue(&"short".parse().unwrap(), settings).await.unwrap();
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
    assert!(known(&bench, short[1]).await && known(&bench, kept).await);
    bench.pass(DAY + 2 * MINUTE);
    prune(&bench).await;
    assert!(!known(&bench, short[0]).await && !known(&bench, short[1]).await && known(&bench, kept).await);
    nothing_is_lost(&bench).await;
}

#[tokio::test]
async fn keys_are_forgotten_with_their_jobs_and_after_a_day() {
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
    nothing_is_lost(&bench).await;
}

#[tokio::test]
async fn a_long_reader_postpones_it_and_does_not_break_it() {
    let mut bench = Bench::new().await;
    let id = bench.done(draft()).await;
    prune(&bench).await;
    bench.pass(9 * DAY);
    bench.add(draft()).await;
    prune_room_only(&bench).await;
    let mut reader = sqlx::PgConnection::connect(bench.db.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM jobqueue.body").execute(&mut reader).await.unwrap();
    let pruned = prune(&bench).await;
    assert!(pruned.days == 0 && pruned.days_waiting > 0, "{pruned:?}");
    assert!(known(&bench, id).await);
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(prune(&bench).await.jobs, 1);
    nothing_is_lost(&bench).await;
}

/// Makes room ahead, so that only the dropping of days is left to do.
async fn prune_room_only(bench: &Bench) {
    bench.count("SELECT jobqueue.add_partitions((jobqueue.now() AT TIME ZONE 'UTC')::date, 4)::bigint").await;
}

#[tokio::test]
async fn a_job_that_is_retried_while_its_day_is_dropped_lives() {
    let mut bench = Bench::new().await;
    let id = bench.dead(draft()).await;
    let stays = bench.add(JobDraft { queue: Some("other".into()), ..draft() }).await;
    bench.pass(40 * DAY);
    prune_room_only(&bench).await;
    // the operator's retry is under way and not yet committed when the day is looked through
    let mut operator = bench.pool.begin().await.unwrap();
    let retry = format!(
        "WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = '{id}' RETURNING job_id)
         INSERT INTO jobqueue.ready SELECT b.id, b.lane, b.kind, 0 FROM gone JOIN jobqueue.body b ON b.id = gone.job_id"
    );
    sqlx::raw_sql(&retry).execute(&mut *operator).await.unwrap();
    let store = bench.store.clone();
    let pruning = crate::bench::start(async move { store.prune(RETENTION).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    jobqueue_testkit::eventually(Duration::from_secs(20), "prune waits for the operator", async || {
        if bench.count(waits).await > 0 || pruning.is_finished() { Ok(()) } else { Err("not yet") }
    })
    .await;
    operator.commit().await.unwrap();
    pruning.await.unwrap();
    prune(&bench).await;
    assert_eq!((bench.status(id).await, bench.status(stays).await), (Status::Queued, Status::Queued));
    nothing_is_lost(&bench).await;
}

#[tokio::test]
async fn silent_workers_and_used_wishes_are_forgotten() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    bench.store.cancel(&[id], &crate::bench::boom()).await.unwrap();
    prune(&bench).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.cancel_request").await, 1);
    bench.pass(2 * DAY);
    prune(&bench).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.worker").await, 1, "it still holds a lease");
    bench.end(leased, jobqueue_core::Outcome::Cancelled).await;
    prune(&bench).await;
    assert_eq!(bench.count("SELECT (SELECT count(*) FROM jobqueue.worker) + (SELECT count(*) FROM jobqueue.cancel_request)").await, 0);
}
