//! edit: every field in every status, unique keys, and races with lease, cancel, promote and expire.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{
    EditDraft, FieldError, JobDraft, JobEdit, JobId, JobRecord, Limits, Outcome, RetryPolicy, Start, Status,
    UniqueScope,
};
use jobqueue_store::{Accepted, Cancelled, Edited, Settled, Store};

use crate::bench::{Bench, boom, created, delayed, draft, failed, json, request, start};

type Answer = Edited<Vec<FieldError>>;

async fn edit(store: &Store, id: JobId, change: EditDraft) -> Answer {
    store
        .jobs()
        .edit(id, |record: &JobRecord| JobEdit::parse(record, change.clone(), &Limits::default()))
        .await
        .unwrap()
}

fn priority(priority: i64) -> EditDraft {
    EditDraft { priority: Some(Some(priority)), ..EditDraft::default() }
}

fn payload(text: &str) -> EditDraft {
    EditDraft { payload: Some(Some(json(text))), ..EditDraft::default() }
}

fn changed(answer: Answer) -> JobRecord {
    match answer {
        Edited::Job(record, true) => *record,
        other => panic!("{other:?}"),
    }
}

fn everything(at: &str) -> EditDraft {
    EditDraft {
        queue: Some(Some("other".into())),
        payload: Some(Some(json(r#"{"b": 0.10}"#))),
        priority: Some(Some(-7)),
        run_at: Some(Some(at.into())),
        delay_seconds: None,
        expires_at: Some(Some("2100-01-01T00:00:00Z".into())),
        max_attempts: Some(Some(5)),
        max_snoozes: Some(Some(9)),
        retry: Some(Some(RetryPolicy::Fixed { delay_seconds: 3.0 })),
        timeout_seconds: Some(Some(60.5)),
        soft_timeout_seconds: Some(Some(0.25)),
        tags: Some(Some(vec!["x".into(), "a\"b,{}".into()])),
        metadata: Some(Some(json(r#"{"team":"billing"}"#))),
    }
}

async fn in_place(bench: &Bench, id: JobId) -> i64 {
    bench
        .count(&format!(
            "SELECT (SELECT count(*) FROM jobqueue.ready WHERE job_id = '{id}') + (SELECT count(*) FROM jobqueue.scheduled WHERE job_id = '{id}')"
        ))
        .await
}

#[tokio::test]
async fn every_field_changes_in_every_status_that_waits() {
    let bench = Bench::new().await;
    let queued = bench.add(JobDraft { payload: Some(json(r#"{"a":1}"#)), ..draft() }).await;
    let scheduled = bench.add(delayed(3600.0)).await;
    let blocked = bench.add(delayed(3600.0)).await;
    let sql = format!("UPDATE jobqueue.scheduled SET pending = 1 WHERE job_id = '{blocked}'");
    bench.execute(&sql).await;
    for (id, status, text) in [
        (queued, Status::Scheduled, r#"{"a":1,"b":0.10}"#),
        (scheduled, Status::Scheduled, r#"{"b":0.10}"#),
        (blocked, Status::Blocked, r#"{"b":0.10}"#),
    ] {
        let record = changed(edit(&bench.store, id, everything("2099-01-01T00:00:00.5Z")).await);
        assert_eq!(record, bench.record(id).await, "the answer is what is stored");
        let job = &record.job;
        assert_eq!((record.status, job.payload.as_str()), (status, text));
        assert_eq!(
            (job.queue.as_str(), job.priority, job.max_attempts, record.max_snoozes),
            ("other", -7, 5, 9)
        );
        assert_eq!(record.run_at.unwrap().to_rfc3339(), "2099-01-01T00:00:00.500+00:00");
        assert_eq!(job.expires_at.unwrap().to_rfc3339(), "2100-01-01T00:00:00+00:00");
        assert_eq!(job.retry, Some(RetryPolicy::Fixed { delay_seconds: 3.0 }));
        let (timeout, soft) = (Duration::from_millis(60_500), Duration::from_millis(250));
        assert_eq!((job.timeout, job.soft_timeout), (Some(timeout), Some(soft)));
        assert_eq!(job.tags, ["x", "a\"b,{}"]);
        assert_eq!(job.metadata.as_ref().unwrap().as_str(), r#"{"team":"billing"}"#);
        let expiry = format!("SELECT count(*) FROM jobqueue.expiry WHERE job_id = '{id}'");
        assert_eq!((in_place(&bench, id).await, bench.count(&expiry).await), (1, 1));
        let same = edit(&bench.store, id, everything("2099-01-01T00:00:00.5Z")).await;
        assert_eq!(same, Edited::Job(Box::new(record), false));

        let back = EditDraft {
            queue: Some(None),
            payload: Some(None),
            priority: Some(None),
            run_at: Some(None),
            expires_at: Some(None),
            max_attempts: Some(None),
            max_snoozes: Some(None),
            retry: Some(None),
            timeout_seconds: Some(None),
            soft_timeout_seconds: Some(None),
            tags: Some(None),
            metadata: Some(None),
            delay_seconds: None,
        };
        let record = changed(edit(&bench.store, id, back).await);
        let job = &record.job;
        assert_eq!((job.queue.as_str(), job.payload.as_str(), job.priority), ("default", "{}", 0));
        assert_eq!((job.max_attempts, record.max_snoozes, &job.retry), (10, 100_000, &None));
        assert_eq!((job.timeout, job.soft_timeout, job.expires_at), (None, None, None));
        assert_eq!((job.tags.len(), &job.metadata), (0, &None));
        let runs = if status == Status::Blocked { Status::Blocked } else { Status::Queued };
        assert_eq!(
            (record.status, bench.count(&expiry).await),
            (runs, 0),
            "only what waits for its time runs"
        );
    }
    let leased = bench.lease(10).await;
    assert_eq!(
        leased.iter().map(|one| one.job.id).collect::<Vec<_>>(),
        [queued, scheduled],
        "in the order of submission"
    );
}

#[tokio::test]
async fn a_job_that_runs_or_is_final_is_not_edited() {
    let bench = Bench::new().await;
    let done = bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    let running = bench.add(draft()).await;
    let _leased = bench.lease_one().await;
    let cancelled = bench.add(draft()).await;
    bench.store.jobs().cancel(&[cancelled], &boom()).await.unwrap();
    for (id, status) in [
        (done, Status::Completed),
        (dead, Status::Failed),
        (running, Status::Running),
        (cancelled, Status::Cancelled),
    ] {
        let before = bench.record(id).await;
        assert_eq!(edit(&bench.store, id, priority(5)).await, Edited::NotWaiting(status));
        assert_eq!(bench.record(id).await, before);
    }
    assert_eq!(edit(&bench.store, JobId::from_ticks(1 << 50, 7), priority(5)).await, Edited::Unknown);
}

#[tokio::test]
async fn a_refused_edit_changes_nothing() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let before = bench.record(id).await;
    let Edited::Refused(errors) = edit(&bench.store, id, priority(101)).await else { panic!("not refused") };
    assert_eq!(errors[0].pointer, "/priority");
    assert_eq!((bench.record(id).await, in_place(&bench, id).await), (before, 1));
}

#[tokio::test]
async fn a_retry_that_waits_keeps_its_attempts_and_its_history() {
    let bench = Bench::new().await;
    let id =
        bench.add(JobDraft { retry: Some(RetryPolicy::Fixed { delay_seconds: 3600.0 }), ..draft() }).await;
    let leased = bench.lease_one().await;
    assert_eq!(bench.end(leased, failed()).await, Settled::Applied(Status::Scheduled));
    let before = bench.record(id).await;
    let record = changed(edit(&bench.store, id, payload(r#"{"fixed":true}"#)).await);
    assert_eq!((record.job.attempt, record.run_at), (1, before.run_at), "it waits as long as before");
    assert_eq!(bench.store.attempts(id).await.unwrap().len(), 1);
    let too_few = EditDraft { max_attempts: Some(Some(1)), ..EditDraft::default() };
    assert!(matches!(edit(&bench.store, id, too_few).await, Edited::Refused(_)));
    let now = EditDraft { run_at: Some(None), ..EditDraft::default() };
    assert_eq!(changed(edit(&bench.store, id, now).await).status, Status::Queued);
    let again = bench.lease_one().await;
    assert_eq!((again.job.attempt, again.job.payload.as_str()), (2, r#"{"fixed":true}"#));
}

fn keyed(scope: UniqueScope) -> JobDraft {
    JobDraft { unique: Some(UniqueDraft { key: "k".into(), scope, ..UniqueDraft::default() }), ..draft() }
}

#[tokio::test]
async fn a_unique_key_of_a_queue_moves_with_its_job() {
    let bench = Bench::new().await;
    let to = |queue: &str| EditDraft { queue: Some(Some(queue.into())), ..EditDraft::default() };
    let elsewhere = |queue: &str| JobDraft { queue: Some(queue.into()), ..keyed(UniqueScope::Queue) };
    let id = bench.add(keyed(UniqueScope::Queue)).await;
    changed(edit(&bench.store, id, to("b")).await);
    assert_eq!(bench.submit(vec![elsewhere("b")]).await, [Accepted::Existing(id)]);
    let second = created(bench.submit(vec![elsewhere("default")]).await[0]);
    let before = bench.record(second).await;
    assert_eq!(edit(&bench.store, second, to("b")).await, Edited::KeyTaken(id));
    assert_eq!((bench.record(second).await, in_place(&bench, second).await), (before, 1));
    assert_eq!(bench.submit(vec![elsewhere("default")]).await, [Accepted::Existing(second)]);
    // the end of the job frees the key that it has now
    bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    changed(edit(&bench.store, second, to("b")).await);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 1);

    for scope in [UniqueScope::Kind, UniqueScope::Global] {
        let id = bench.add(keyed(scope)).await;
        changed(edit(&bench.store, id, to("c")).await);
        assert_eq!(bench.submit(vec![keyed(scope)]).await, [Accepted::Existing(id)], "{scope:?}");
    }
}

#[tokio::test]
async fn a_deleted_queue_exists_again_and_counts_follow_the_job() {
    let bench = Bench::new().await;
    let other = "other".parse().unwrap();
    bench.store.queues().create(&other).await.unwrap();
    bench.store.queues().delete(&other).await.unwrap();
    let id = bench.add(draft()).await;
    changed(
        edit(&bench.store, id, EditDraft { queue: Some(Some("other".into())), ..EditDraft::default() }).await,
    );
    assert!(bench.store.queues().get(&other).await.unwrap().is_some());
    assert!(bench.store.take_census(200).await.unwrap());
    assert_eq!(bench.store.queues().get(&other).await.unwrap().unwrap().queued, 1);
    let counts = "SELECT count(*) FROM jobqueue.counter c JOIN jobqueue.queue q ON q.id = c.queue_id
                  WHERE c.created = 1 AND c.pruned = CASE q.name WHEN 'default' THEN 1 ELSE 0 END";
    assert_eq!(bench.count(counts).await, 2);
}

/// Each job runs exactly once, with the payload that the answer to its edit says.
#[tokio::test(flavor = "multi_thread")]
async fn edit_against_lease_runs_each_job_once_with_the_payload_of_the_answer() {
    let bench = Bench::new().await;
    let ids = bench.add_many(300).await;
    let lessees: Vec<_> = (0..4)
        .map(|n| {
            let (store, request) =
                (bench.store.clone(), request(Some(bench.worker), &["default", "b"], 3 + n));
            start(async move {
                let (mut ran, mut idle) = (Vec::new(), 0);
                while idle < 20 {
                    let leased = store.lease(&request).await.unwrap();
                    idle = if leased.is_empty() { idle + 1 } else { 0 };
                    ran.extend(
                        leased.into_iter().map(|one| (one.job.id, one.job.payload.as_str().to_owned())),
                    );
                    // a worker polls at an interval
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                ran
            })
        })
        .collect();
    let edits: Vec<_> = ids
        .iter()
        .rev()
        .enumerate()
        .map(|(n, id)| {
            let (store, id) = (bench.store.clone(), *id);
            let queue = (n % 3 == 0).then(|| Some("b".to_owned()));
            let change = EditDraft {
                queue,
                priority: Some(Some(i64::try_from(n % 2).unwrap())),
                ..payload(r#"{"new":1}"#)
            };
            start(async move { (id, edit(&store, id, change).await) })
        })
        .collect();
    let mut answers = HashMap::new();
    for edit in edits {
        let (id, answer) = edit.await.unwrap();
        answers.insert(id, answer);
    }
    let mut ran = Vec::new();
    for lessee in lessees {
        ran.extend(lessee.await.unwrap());
    }
    let rest = bench.store.lease(&request(Some(bench.worker), &["default", "b"], 1000)).await.unwrap();
    ran.extend(rest.into_iter().map(|one| (one.job.id, one.job.payload.as_str().to_owned())));
    assert_eq!(ran.len(), 300, "each job runs once");
    let (mut new, mut old) = (0, 0);
    for (id, text) in ran {
        match answers.remove(&id).expect("no job runs twice") {
            Edited::Job(_, true) => {
                new += 1;
                assert_eq!(text, r#"{"new":1}"#, "the answer promised it");
            }
            Edited::NotWaiting(Status::Running) => {
                old += 1;
                assert_eq!(text, "{}", "the answer said that nothing changed");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(new > 0 && old > 0, "{new} edits came first, {old} leases");
}

/// A lease whose statement began before the edit and reaches the row after it must not run the old body. This statement takes a job as
/// `lease.sql` does, but waits in between.
#[tokio::test]
async fn a_lease_whose_snapshot_is_older_than_the_edit_skips_the_job() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let mut gate = bench.pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7)").execute(&mut *gate).await.unwrap();
    let lessee = {
        let pool = bench.pool.clone();
        start(async move {
            let take = "WITH wait AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(7))
                 SELECT (SELECT b.payload::text FROM jobqueue.body b WHERE b.id = r.job_id)
                 FROM (SELECT count(*) AS n FROM wait) w CROSS JOIN LATERAL (
                     SELECT x.job_id FROM jobqueue.ready x WHERE w.n = 1 LIMIT 1 FOR UPDATE SKIP LOCKED) r";
            sqlx::query_scalar::<_, String>(take).fetch_optional(&pool).await.unwrap()
        })
    };
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    jobqueue_testkit::eventually(Duration::from_mins(1), "the lease waits", async || {
        if bench.count(waits).await > 0 { Ok(()) } else { Err("it does not wait") }
    })
    .await;
    changed(edit(&bench.store, id, payload(r#"{"new":1}"#)).await);
    sqlx::query("SELECT pg_advisory_unlock(7)").execute(&mut *gate).await.unwrap();
    assert_eq!(lessee.await.unwrap(), None, "with an updated row it would have taken the old payload");
    assert_eq!(bench.lease_one().await.job.payload.as_str(), r#"{"new":1}"#);
}

/// Edits, cancels, promotions and expiries of the same jobs at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn edits_against_other_verbs_lose_and_double_nothing() {
    let bench = Bench::new().await;
    let in_two_hours = (bench.now().await + chrono::TimeDelta::hours(2)).to_rfc3339();
    let expiring =
        || JobDraft { delay_seconds: Some(3600.0), expires_at: Some(in_two_hours.clone()), ..draft() };
    let ids: Vec<JobId> = bench.submit(vec![expiring(); 120]).await.into_iter().map(created).collect();
    let due: String = format!(
        "UPDATE jobqueue.expiry SET expires_at = jobqueue.now() WHERE job_id IN ({})",
        list(&ids[80..])
    );
    bench.execute(&due).await;
    let store = &bench.store;
    let edits: Vec<_> = (0..3).map(|round| start(edit_all(store.clone(), ids.clone(), round))).collect();
    let cancels = {
        let (store, some) = (store.clone(), ids[..40].to_vec());
        start(async move {
            let mut answers = Vec::new();
            for id in some {
                answers.push(store.jobs().cancel(&[id], &boom()).await.unwrap()[0]);
            }
            answers
        })
    };
    let promotions = {
        let (store, some) = (store.clone(), ids[40..80].to_vec());
        start(async move {
            let mut moved = 0;
            for id in some {
                moved += store.jobs().promote(&[id]).await.unwrap().len();
            }
            moved
        })
    };
    let reaper = {
        let store = store.clone();
        start(async move {
            let mut gone = 0;
            while gone < 40 {
                gone += store.expire_due(3).await.unwrap();
            }
        })
    };
    assert!(cancels.await.unwrap().iter().all(|one| *one == Cancelled::Now), "an edit does not hide a job");
    assert_eq!(promotions.await.unwrap(), 40, "an edit does not hide a job");
    reaper.await.unwrap();
    for edit in edits {
        for (id, answer) in edit.await.unwrap() {
            assert!(
                matches!(answer, Edited::Job(..) | Edited::NotWaiting(Status::Cancelled)),
                "{id}: {answer:?}"
            );
        }
    }
    for (at, id) in ids.iter().enumerate() {
        let expected = if (40..80).contains(&at) { Status::Queued } else { Status::Cancelled };
        assert_eq!(bench.status(*id).await, expected, "{at}");
    }
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}

/// Edits each job: its queue and its payload.
async fn edit_all(store: Store, ids: Vec<JobId>, round: usize) -> Vec<(JobId, Answer)> {
    let mut answers = Vec::new();
    for id in ids {
        let queue = Some(Some(["default", "b", "c"][round].to_owned()));
        let change = EditDraft { queue, ..payload(&format!(r#"{{"round":{round}}}"#)) };
        answers.push((id, edit(&store, id, change).await));
    }
    answers
}

fn list(ids: &[JobId]) -> String {
    ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",")
}

/// A submission that replaces the holder of its key finds it, although it is edited at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_replaces_an_edited_job_replaces_it() {
    let bench = Bench::new().await;
    let replacing = || JobDraft {
        unique: Some(UniqueDraft {
            key: "k".into(),
            on_conflict: jobqueue_core::OnConflict::Replace,
            ..UniqueDraft::default()
        }),
        ..draft()
    };
    let id = bench.add(replacing()).await;
    let current = std::sync::Arc::new(std::sync::Mutex::new(id));
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let editor = {
        let (store, current, done) = (bench.store.clone(), current.clone(), done.clone());
        start(async move {
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let id = *current.lock().unwrap();
                n += 1;
                edit(&store, id, priority(n % 2)).await;
            }
        })
    };
    for _ in 0..60 {
        let answer = bench.submit(vec![replacing()]).await.remove(0);
        let Accepted::Created { id, .. } = answer else {
            panic!("nothing runs, so it must be replaced: {answer:?}")
        };
        *current.lock().unwrap() = id;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    editor.await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'queued'").await, 1);
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_edit_by_delay_counts_from_the_databases_time() {
    let mut bench = Bench::new().await;
    let id = bench.add(delayed(3600.0)).await;
    let soon = EditDraft { delay_seconds: Some(60.0), ..EditDraft::default() };
    let parsed = JobEdit::parse(&bench.record(id).await, soon.clone(), &Limits::default()).unwrap().unwrap();
    assert_eq!(parsed.start, Some(Start::After(Duration::from_mins(1))));
    changed(edit(&bench.store, id, soon).await);
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 0);
    bench.pass(Duration::from_secs(61));
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 1);
    let leased = bench.lease_one().await;
    assert_eq!(leased.job.id, id);
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
}
