//! `jobqueue.status`, `jobqueue.cancel`, `jobqueue.retry` and the unique keys of `jobqueue.enqueue`.

use jobqueue_core::{JobDraft, JobId, Outcome, Status};
use jobqueue_testkit::eventually;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, boom, delayed, draft};

/// The result of one of the functions.
async fn call(session: impl PgExecutor<'_>, verb: &str, id: JobId) -> Option<String> {
    let sql = format!("SELECT jobqueue.{verb}($1)");
    sqlx::query_scalar(&sql).bind(id.as_uuid()).fetch_one(session).await.unwrap()
}

async fn enqueue(session: &mut PgConnection, arguments: &str) -> Result<JobId, String> {
    let sql = format!("SELECT jobqueue.enqueue({arguments})");
    let id = sqlx::query_scalar::<_, Uuid>(&sql).fetch_one(session).await;
    id.map(JobId::from_uuid).map_err(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
}

#[tokio::test]
async fn status_agrees_with_the_api() {
    let bench = Bench::new().await;
    let done = bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    let later = bench.add(delayed(60.0)).await;
    bench.add(draft()).await;
    let running = bench.lease_one().await.job.id;
    let stopped = bench.add(draft()).await;
    bench.store.jobs().cancel(&[stopped], &boom()).await.unwrap();
    let queued = bench.add(draft()).await;
    for id in [done, dead, later, running, stopped, queued] {
        let status = call(&bench.pool, "status", id).await;
        assert_eq!(status.as_deref(), Some(bench.status(id).await.as_str()));
    }
    for verb in ["status", "cancel", "retry"] {
        assert_eq!(call(&bench.pool, verb, JobId::from_uuid(Uuid::nil())).await, None, "{verb}");
    }
}

#[tokio::test]
async fn cancel_and_retry_take_part_in_the_transaction() {
    let bench = Bench::new().await;
    for (draft, waits) in [(draft(), "queued"), (delayed(60.0), "scheduled")] {
        let id = bench.add(draft).await;
        let mut transaction = bench.pool.begin().await.unwrap();
        assert_eq!(call(&mut *transaction, "cancel", id).await.as_deref(), Some("cancelled"));
        assert_eq!(bench.status(id).await.as_str(), waits, "not before the commit");
        transaction.rollback().await.unwrap();
        assert_eq!(bench.status(id).await.as_str(), waits);
        for _ in 0..2 {
            assert_eq!(call(&bench.pool, "cancel", id).await.as_deref(), Some("cancelled"));
        }
        let record = bench.record(id).await;
        assert_eq!((record.status, record.error.unwrap().kind.as_str()), (Status::Cancelled, "cancelled"));
        for _ in 0..2 {
            assert_eq!(call(&bench.pool, "retry", id).await.as_deref(), Some(waits));
        }
        assert_eq!(bench.status(id).await.as_str(), waits);
        call(&bench.pool, "cancel", id).await;
    }
    let sums = "SELECT sum(created) * 100 + sum(cancelled) * 10 + sum(retried) FROM jobqueue.tally";
    assert_eq!(bench.count(sums).await, 242);
    let done = bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    assert_eq!(call(&bench.pool, "cancel", done).await.as_deref(), Some("completed"));
    assert_eq!(call(&bench.pool, "cancel", dead).await.as_deref(), Some("failed"));
    assert_eq!(call(&bench.pool, "retry", done).await.as_deref(), Some("completed"));
    assert_eq!(call(&bench.pool, "retry", dead).await.as_deref(), Some("queued"));
    let again = bench.lease_one().await;
    assert_eq!((again.job.id, again.job.attempt), (dead, 1));
}

#[tokio::test]
async fn retry_does_not_change_expired_jobs_and_those_without_their_key() {
    let mut bench = Bench::new().await;
    let sql = "'k', unique_key => 'u', expires_at => now() + interval '2 days'";
    let mut session = bench.pool.acquire().await.unwrap();
    let first = enqueue(&mut session, sql).await.unwrap();
    call(&mut *session, "cancel", first).await;
    let second = enqueue(&mut session, sql).await.unwrap();
    assert_ne!(second, first, "the key is free");
    assert_eq!(call(&mut *session, "retry", first).await.as_deref(), Some("cancelled"));
    call(&mut *session, "cancel", second).await;
    assert_eq!(call(&mut *session, "retry", first).await.as_deref(), Some("queued"));
    call(&mut *session, "cancel", first).await;
    drop(session);
    bench.pass(3 * DAY);
    assert_eq!(call(&bench.pool, "retry", first).await.as_deref(), Some("cancelled"));
}

/// The lease is locked only during the commit, so no other session waits for a user's transaction.
#[tokio::test]
async fn a_running_job_is_asked_to_stop_when_the_transaction_commits() {
    let bench = Bench::new().await;
    bench.add_many(2).await;
    let (mut leased, requests) = (bench.lease(2).await, "SELECT count(*) FROM jobqueue.cancel_request");
    let (one, other) = (leased.remove(0), leased.remove(0));
    let (id, other_id) = (one.job.id, other.job.id);
    let mut transaction = bench.pool.begin().await.unwrap();
    for id in [id, other_id, id] {
        assert_eq!(call(&mut *transaction, "cancel", id).await.as_deref(), Some("running"));
    }
    // its worker sends a heartbeat and settles during the open transaction; the other job is requeued
    bench.beat().await;
    bench.end(other, Outcome::Released).await;
    assert_eq!(bench.count(requests).await, 0);
    transaction.commit().await.unwrap();
    let beat = bench.beat().await;
    assert_eq!(beat.cancelled, [id]);
    assert_eq!(bench.status(other_id).await, Status::Cancelled);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.cancel_wish").await, 0);
    bench.end(one, crate::bench::failed()).await;
    assert_eq!(bench.status(id).await, Status::Cancelled, "it would have run again");
}

#[tokio::test]
async fn unique_keys_have_scopes_and_conflicts_as_over_rest() {
    let bench = Bench::new().await;
    let mut session = bench.pool.acquire().await.unwrap();
    let mut add = async |arguments: &str| enqueue(&mut session, arguments).await;
    let unique = |scope: &str, on_conflict: &str| {
        format!(r#""unique" => '{{"key": "u", "scope": "{scope}", "on_conflict": "{on_conflict}"}}'"#)
    };
    let of_kind = add(&format!("'a', {}", unique("kind", "return"))).await.unwrap();
    assert_eq!(add(&format!("'a', queue => 'q', {}", unique("kind", "return"))).await, Ok(of_kind));
    assert_eq!(add(&format!("'a', {}", unique("kind", "reject"))).await, Err("23505".into()));
    let of_queue = add(&format!("'a', {}", unique("queue", "reject"))).await.unwrap();
    assert_eq!(add(&format!("'b', {}", unique("queue", "return"))).await, Ok(of_queue));
    let anywhere = add(&format!("'a', {}", unique("global", "reject"))).await.unwrap();
    assert_eq!(add(&format!("'b', queue => 'q', {}", unique("global", "return"))).await, Ok(anywhere));
    let next = add(&format!("'a', '[2]', {}", unique("kind", "replace"))).await.unwrap();
    assert_eq!(call(&bench.pool, "status", of_kind).await.as_deref(), Some("cancelled"));
    assert_eq!(bench.record(of_kind).await.error.unwrap().kind, "replaced");
    // a running holder is not replaced
    let running = loop {
        let leased = bench.lease_one().await;
        if leased.job.id == next {
            break leased;
        }
    };
    assert_eq!(add(&format!("'a', {}", unique("kind", "replace"))).await, Ok(next));
    bench.end(running, Outcome::Completed(None)).await;
    // a final holder that keeps its key is replaced
    let all = r#"["blocked","scheduled","queued","running","completed","failed","cancelled"]"#;
    let keeps = |on_conflict: &str| {
        format!(r#"'c', "unique" => '{{"key": "u", "statuses": {all}, "on_conflict": "{on_conflict}"}}'"#)
    };
    let kept = add(&keeps("return")).await.unwrap();
    assert_eq!(call(&bench.pool, "cancel", kept).await.as_deref(), Some("cancelled"));
    assert_eq!(add(&keeps("return")).await, Ok(kept));
    assert_ne!(add(&keeps("replace")).await.unwrap(), kept);
    // both interfaces use the same digests
    let unique = jobqueue_core::job::UniqueDraft {
        key: "u".into(),
        scope: jobqueue_core::UniqueScope::Global,
        ..Default::default()
    };
    let accepted = bench.submit(vec![JobDraft { unique: Some(unique), ..draft() }]).await;
    assert_eq!(accepted, [jobqueue_store::Accepted::Existing(anywhere)]);
}

/// The names exist only after the commit, which also writes the missing counts.
#[tokio::test]
async fn a_job_with_new_names_can_be_cancelled_by_its_own_transaction() {
    let bench = Bench::new().await;
    let mut transaction = bench.pool.begin().await.unwrap();
    let arguments = "'new', queue => 'fresh', unique_key => 'u'";
    let gone = enqueue(&mut transaction, arguments).await.unwrap();
    assert_eq!(call(&mut *transaction, "cancel", gone).await.as_deref(), Some("cancelled"));
    let stays = enqueue(&mut transaction, arguments).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((bench.status(gone).await, bench.status(stays).await), (Status::Cancelled, Status::Queued));
    assert_eq!(bench.record(gone).await.job.queue.as_str(), "fresh");
    assert_eq!(bench.count("SELECT sum(created) * 10 + sum(cancelled) FROM jobqueue.tally").await, 21);
}

#[tokio::test]
async fn edit_takes_part_in_the_transaction_and_changes_what_it_names() {
    let bench = Bench::new().await;
    let id = bench.add(JobDraft { tags: Some(vec!["old".into()]), ..draft() }).await;
    let edit = |arguments: &str| format!("SELECT jobqueue.edit('{id}', {arguments})");
    let mut transaction = bench.pool.begin().await.unwrap();
    let changed = edit(
        "'{\"n\": 1.50}', 'a.new.queue', 7, now() + interval '1 hour', now() + interval '2 hours', '{x,y}'",
    );
    let status: String = sqlx::query_scalar(&changed).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(status, "scheduled");
    let before = bench.record(id).await;
    assert_eq!((before.status, before.job.priority), (Status::Queued, 0), "not before the commit");
    assert_eq!(bench.lease(10).await.len(), 0, "an open edit locks the job");
    transaction.commit().await.unwrap();
    let record = bench.record(id).await;
    assert_eq!(
        (record.status, record.job.queue.as_str(), record.job.priority),
        (Status::Scheduled, "a.new.queue", 7)
    );
    assert_eq!((record.job.payload.as_str(), record.job.tags.len()), (r#"{"n": 1.50}"#, 2));
    assert!(record.job.expires_at > record.run_at && record.run_at.is_some());
    let now = edit("run_at => '1970-01-01Z', queue => 'default', expires_at => 'infinity'");
    assert_eq!(
        bench.count(&format!("SELECT count(*) FROM ({now}) AS e (status) WHERE status = 'queued'")).await,
        1
    );
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.expiry").await, 0);
    let leased = bench.lease_one().await;
    assert_eq!((leased.job.id, leased.job.payload.as_str()), (id, r#"{"n": 1.50}"#));
    let running: Option<String> =
        sqlx::query_scalar(&edit("priority => 1")).fetch_one(&bench.pool).await.unwrap();
    assert_eq!(running.as_deref(), Some("running"));
    assert_eq!(bench.record(id).await.job.priority, 7);
    for wrong in [
        "priority => 101",
        "queue => 'a/b'",
        "payload => '{\"a\":1,\"a\":2}'",
        "tags => '{\"\"}'",
        "run_at => '2300-01-01Z'",
    ] {
        let error = sqlx::query(&edit(wrong)).execute(&bench.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "22023", "{wrong}");
    }
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}

#[tokio::test]
async fn edit_in_sql_moves_a_unique_key_of_a_queue() {
    let bench = Bench::new().await;
    let unique = |queue: &str| {
        format!("'k', queue => '{queue}', \"unique\" => '{{\"key\":\"u\",\"scope\":\"queue\"}}'")
    };
    let mut session = bench.pool.acquire().await.unwrap();
    let (a, b) = (
        enqueue(&mut session, &unique("a")).await.unwrap(),
        enqueue(&mut session, &unique("b")).await.unwrap(),
    );
    let taken = sqlx::query(&format!("SELECT jobqueue.edit('{a}', queue => 'b')"))
        .execute(&mut *session)
        .await
        .unwrap_err();
    assert_eq!(taken.as_database_error().unwrap().code().unwrap(), "23505");
    sqlx::query(&format!("SELECT jobqueue.edit('{a}', queue => 'c')")).execute(&mut *session).await.unwrap();
    assert_eq!(enqueue(&mut session, &unique("c")).await, Ok(a));
    assert_eq!(enqueue(&mut session, &unique("b")).await, Ok(b));
    assert_ne!(enqueue(&mut session, &unique("a")).await, Ok(a), "its old key is free");
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}

/// An edit moves the holder to another key and another place while `enqueue` waits for its old place.
#[tokio::test]
async fn enqueue_leaves_a_holder_that_has_moved_to_another_key() {
    let bench = Bench::new().await;
    let replacing = r#"'k', "unique" => '{"key":"u","scope":"queue","on_conflict":"replace"}'"#;
    let mut session = bench.pool.acquire().await.unwrap();
    let holder = enqueue(&mut session, replacing).await.unwrap();
    let lock = format!("SELECT FROM jobqueue.ready WHERE job_id = '{holder}' FOR UPDATE");
    let mut gate = bench.db.hold(&lock).await;
    let waits = "wait_event_type = 'Lock' AND query LIKE 'SELECT jobqueue.enqueue(%'";
    let (new, ()) = tokio::join!(enqueue(&mut session, replacing), async {
        eventually(MINUTE, "the withdrawal of the holder waits", async || {
            if bench.db.sessions(waits).await > 0 { Ok(()) } else { Err(()) }
        })
        .await;
        let later =
            format!("SELECT jobqueue.edit('{holder}', queue => 'b', run_at => now() + interval '1 hour')");
        sqlx::query(&later).execute(&mut *gate).await.unwrap();
        gate.commit().await.unwrap();
    });
    assert_eq!(bench.status(new.unwrap()).await, Status::Queued);
    let record = bench.record(holder).await;
    assert_eq!((record.status, record.job.queue.as_str()), (Status::Scheduled, "b"));
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 2);
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}
