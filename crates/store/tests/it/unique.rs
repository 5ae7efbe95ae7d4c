//! Unique keys: at most one live job per key, also with concurrent calls.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, OnConflict, Outcome, Status, UniqueScope};
use jobqueue_store::{Accepted, Cancelled, Retried, Submission};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, MINUTE, boom, created, draft, failed, served, start, submission};

fn keyed(key: &str, on_conflict: OnConflict) -> JobDraft {
    let unique = UniqueDraft { key: key.into(), on_conflict, ..UniqueDraft::default() };
    JobDraft { unique: Some(unique), ..draft() }
}

fn keeping(key: &str, finals: &[Status]) -> JobDraft {
    let live = Status::ALL.into_iter().filter(|status| !status.is_final());
    let statuses = Some(live.chain(finals.iter().copied()).collect());
    let unique = UniqueDraft { key: key.into(), statuses, ..UniqueDraft::default() };
    JobDraft { unique: Some(unique), ..draft() }
}

#[tokio::test]
async fn a_conflict_returns_the_holder_or_is_rejected() {
    let bench = Bench::new().await;
    let holder = bench.add(keyed("k", OnConflict::Return)).await;
    let again = bench.submit(vec![keyed("k", OnConflict::Return), keyed("other", OnConflict::Return)]).await;
    assert_eq!(again[0], Accepted::Existing(holder));
    created(again[1]);
    assert_eq!(bench.submit(vec![keyed("k", OnConflict::Reject)]).await, [Accepted::Rejected(holder)]);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 2);
    assert_eq!(bench.record(holder).await.job.unique_key.as_deref(), Some("k"));
}

#[tokio::test]
async fn replace_takes_the_place_of_a_waiting_job_and_leaves_a_running_one() {
    let bench = Bench::new().await;
    let first = bench.add(keyed("k", OnConflict::Replace)).await;
    let second = created(bench.submit(vec![keyed("k", OnConflict::Replace)]).await[0]);
    let replaced = bench.record(first).await;
    assert_eq!((replaced.status, replaced.error.unwrap().kind.as_str()), (Status::Cancelled, "replaced"));
    let leased = bench.lease_one().await;
    assert_eq!(leased.job.id, second);
    assert_eq!(bench.submit(vec![keyed("k", OnConflict::Replace)]).await, [Accepted::Existing(second)]);
    bench.end(leased, Outcome::Completed(None)).await;
    let third = created(bench.submit(vec![keyed("k", OnConflict::Replace)]).await[0]);
    assert_eq!(bench.submit(vec![keyed("k", OnConflict::Return)]).await, [Accepted::Existing(third)]);
    let later = JobDraft { delay_seconds: Some(60.0), ..keyed("k", OnConflict::Replace) };
    let fourth = created(bench.submit(vec![later]).await[0]);
    created(bench.submit(vec![keyed("k", OnConflict::Replace)]).await[0]);
    assert_eq!(
        (bench.status(third).await, bench.status(fourth).await),
        (Status::Cancelled, Status::Cancelled)
    );
}

#[tokio::test]
async fn keys_of_different_scopes_do_not_conflict() {
    let bench = Bench::new().await;
    let job = |queue: &str, kind: &str, scope| JobDraft {
        queue: Some(queue.into()),
        kind: kind.into(),
        unique: Some(UniqueDraft { key: "k".into(), scope, ..UniqueDraft::default() }),
        ..JobDraft::default()
    };
    let a = bench.add(job("a", "x", UniqueScope::Kind)).await;
    assert_eq!(bench.submit(vec![job("b", "x", UniqueScope::Kind)]).await, [Accepted::Existing(a)]);
    bench.add(job("a", "y", UniqueScope::Kind)).await;
    let b = bench.add(job("a", "x", UniqueScope::Queue)).await;
    assert_eq!(bench.submit(vec![job("a", "z", UniqueScope::Queue)]).await, [Accepted::Existing(b)]);
    bench.add(job("b", "x", UniqueScope::Queue)).await;
    let c = bench.add(job("a", "x", UniqueScope::Global)).await;
    assert_eq!(bench.submit(vec![job("z", "z", UniqueScope::Global)]).await, [Accepted::Existing(c)]);
}

#[tokio::test]
async fn every_end_frees_the_key_unless_its_status_keeps_it() {
    for finals in [
        &[][..],
        &[Status::Completed],
        &[Status::Failed, Status::Cancelled],
        &[Status::Completed, Status::Failed, Status::Cancelled],
    ] {
        let bench = Bench::new().await;
        for (key, outcome, ends) in [
            ("done", Outcome::Completed(None), Status::Completed),
            ("dead", Outcome::Discarded(boom()), Status::Failed),
            ("stopped", Outcome::Cancelled, Status::Cancelled),
        ] {
            let id = bench.add(keeping(key, finals)).await;
            let leased = bench.lease_one().await;
            bench.end(leased, outcome).await;
            assert_eq!(bench.status(id).await, ends);
            let again = bench.submit(vec![keeping(key, finals)]).await[0];
            if finals.contains(&ends) {
                assert_eq!(again, Accepted::Existing(id), "{ends} {finals:?}");
            } else {
                bench.store.jobs().cancel(&[created(again)], &boom()).await.unwrap();
            }
        }
        let waiting = bench.add(keeping("waiting", finals)).await;
        assert_eq!(bench.store.jobs().cancel(&[waiting], &boom()).await.unwrap(), [Cancelled::Now]);
        let again = bench.submit(vec![keeping("waiting", finals)]).await[0];
        assert_eq!(again == Accepted::Existing(waiting), finals.contains(&Status::Cancelled));
    }
}

#[tokio::test]
async fn a_retry_that_waits_keeps_the_key() {
    let bench = Bench::new().await;
    let id = bench.add(keyed("k", OnConflict::Return)).await;
    let leased = bench.lease_one().await;
    bench.end(leased, failed()).await;
    assert_eq!(bench.submit(vec![keyed("k", OnConflict::Return)]).await, [Accepted::Existing(id)]);
}

#[tokio::test]
async fn a_retry_by_an_operator_claims_the_key_again() {
    let bench = Bench::new().await;
    let id = bench.dead(keyed("k", OnConflict::Return)).await;
    let other = bench.add(keyed("k", OnConflict::Return)).await;
    assert_eq!(bench.store.jobs().retry(&[id]).await.unwrap(), [Retried::KeyTaken]);
    bench.store.jobs().cancel(&[other], &boom()).await.unwrap();
    assert_eq!(bench.store.jobs().retry(&[id]).await.unwrap(), [Retried::Now]);
    assert_eq!(bench.submit(vec![keyed("k", OnConflict::Return)]).await, [Accepted::Existing(id)]);
    // two failed jobs with one key: only one of them can be retried
    let id = bench.lease_one().await;
    bench.end(id, Outcome::Completed(None)).await;
    let twins =
        [bench.dead(keyed("m", OnConflict::Return)).await, bench.dead(keyed("m", OnConflict::Return)).await];
    let mut answers = bench.store.jobs().retry(&twins).await.unwrap();
    answers.sort_by_key(|answer| *answer == Retried::KeyTaken);
    assert_eq!(answers, [Retried::Now, Retried::KeyTaken]);
}

/// The retry waits twice: for the lock of another job while this job still runs, and then for a key after this job has
/// failed.
#[tokio::test]
async fn a_delayed_retry_does_not_change_what_another_one_started() {
    let bench = Bench::new().await;
    let running = bench.add(draft()).await;
    let held = bench.lease_one().await;
    let (with_key, locked) = (bench.dead(keyed("k", OnConflict::Return)).await, bench.dead(draft()).await);
    let lock = format!("SELECT FROM jobqueue.outcome WHERE job_id = '{locked}' FOR UPDATE");
    let claim = format!(
        "INSERT INTO jobqueue.unique_claim SELECT unique_digest, gen_random_uuid(), 0 FROM jobqueue.body WHERE id = '{with_key}'"
    );
    let (lock, key) = (bench.db.hold(&lock).await, bench.db.hold(&claim).await);
    let store = bench.store.clone();
    let slow = start(async move { store.jobs().retry(&[running, with_key, locked]).await.unwrap() });
    let waits_in = async |statement: &str| {
        let condition = format!("wait_event_type = 'Lock' AND query LIKE '%{statement}%'");
        eventually(Duration::from_secs(20), "the slow retry waits", async || {
            match bench.db.sessions(&condition).await {
                1 => Ok(()),
                other => Err(other),
            }
        })
        .await;
    };
    waits_in("store.retry.lock").await;
    bench.end(held, Outcome::Discarded(boom())).await;
    lock.rollback().await.unwrap();
    waits_in("store.retry.claim").await;
    assert_eq!(bench.store.jobs().retry(&[running]).await.unwrap(), [Retried::Now]);
    assert_eq!(bench.lease_one().await.job.id, running);
    key.rollback().await.unwrap();
    slow.await.unwrap();
    let leased: Vec<JobId> = bench.lease(10).await.into_iter().map(|one| one.job.id).collect();
    assert_eq!(leased, [with_key, locked], "and the other runs already");
}

#[tokio::test]
async fn a_concurrent_retry_and_replacement_leave_one_live_job() {
    let bench = Bench::new().await;
    for round in 0..60 {
        let key = format!("k{round}");
        let id = bench.dead(keeping(&key, &[Status::Failed])).await;
        let replacement = bench.submit(vec![keyed(&key, OnConflict::Replace)]);
        let again = [id];
        let jobs = bench.store.jobs();
        let (retried, _) = tokio::join!(jobs.retry(&again), replacement);
        retried.unwrap();
        let live = format!(
            "SELECT count(*) FROM jobqueue.body b JOIN jobqueue.ready r ON r.job_id = b.id WHERE b.unique_key = '{key}'"
        );
        assert_eq!(bench.count(&live).await, 1, "round {round}");
        bench.store.queues().purge(&"default".parse().unwrap(), None, 10).await.unwrap();
    }
}

#[tokio::test]
async fn a_rejected_atomic_request_stores_nothing() {
    let bench = Bench::new().await;
    let holder = bench.add(keyed("taken", OnConflict::Return)).await;
    let drafts = vec![
        draft(),
        keyed("free", OnConflict::Return),
        keyed("taken", OnConflict::Reject),
        keyed("taken", OnConflict::Replace),
    ];
    let request = Submission { atomic: true, ..submission(drafts) };
    let other = submission(vec![keyed("mine", OnConflict::Return)]);
    let answers = bench.store.enqueue(&[request, other]).await.unwrap();
    let [refused, kept]: [Vec<Accepted>; 2] =
        answers.into_iter().map(served).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(
        refused,
        [Accepted::NotTried, Accepted::NotTried, Accepted::Rejected(holder), Accepted::NotTried]
    );
    created(kept[0]);
    assert_eq!(bench.status(holder).await, Status::Queued, "nothing was replaced either");
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 2);
    created(bench.submit(vec![keyed("free", OnConflict::Reject)]).await[0]);
}

#[tokio::test]
async fn one_key_twice_in_a_call_is_one_job() {
    let bench = Bench::new().await;
    let same = bench
        .submit(vec![
            keyed("k", OnConflict::Return),
            keyed("k", OnConflict::Return),
            keyed("k", OnConflict::Reject),
        ])
        .await;
    let first = created(same[0]);
    assert_eq!(same[1..], [Accepted::Existing(first), Accepted::Rejected(first)]);
    let requests = vec![submission(vec![keyed("m", OnConflict::Return)]); 3];
    let answers: Vec<Accepted> =
        bench.store.enqueue(&requests).await.unwrap().into_iter().flat_map(served).collect();
    let first = created(answers[0]);
    assert_eq!(answers[1..], [Accepted::Existing(first); 2]);
    // within one request the first job wins regardless of `on_conflict`; in another request it is replaced
    let same = bench.submit(vec![keyed("r", OnConflict::Replace), keyed("r", OnConflict::Replace)]).await;
    assert_eq!(same[1], Accepted::Existing(created(same[0])));
    let requests = vec![submission(vec![keyed("s", OnConflict::Replace)]); 2];
    let answers: Vec<Accepted> =
        bench.store.enqueue(&requests).await.unwrap().into_iter().flat_map(served).collect();
    assert_eq!(bench.status(created(answers[0])).await, Status::Cancelled);
    assert_eq!(bench.status(created(answers[1])).await, Status::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_requests_leave_one_live_job_per_key() {
    let bench = Bench::new().await;
    let policies = [OnConflict::Return, OnConflict::Replace, OnConflict::Reject];
    let writers = (0..64).map(|i| {
        let store = bench.store.clone();
        let drafts =
            (0..4).map(|j| keyed(&format!("k{}", (i * 7 + j * 3) % 5), policies[(i + j) % 3])).collect();
        let request = Submission { atomic: i % 4 == 0, ..submission(drafts) };
        crate::bench::start(async move { store.enqueue(&[request]).await })
    });
    let mut stored: Vec<JobId> = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        for accepted in writer.await.unwrap().unwrap().into_iter().flat_map(served) {
            if let Accepted::Created { id, .. } = accepted {
                stored.push(id);
            }
        }
    }
    let mut live: HashMap<String, u32> = HashMap::new();
    for record in bench.store.jobs_by_id(&stored).await.unwrap() {
        if !record.status.is_final() {
            *live.entry(record.job.unique_key.unwrap()).or_default() += 1;
        }
    }
    assert_eq!(live.len(), 5, "{live:?}");
    assert!(live.values().all(|count| *count == 1), "{live:?}");
    assert_eq!(
        bench.count("SELECT count(*) FROM jobs").await,
        i64::try_from(stored.len()).unwrap(),
        "no job but those answered"
    );
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 5);
}

/// An edit moves the second holder to another key after the submission has read who holds the keys.
#[tokio::test]
async fn a_holder_that_has_moved_to_another_key_is_not_replaced() {
    let bench = Bench::new().await;
    let replacing = |key: &str| {
        let (scope, on_conflict) = (UniqueScope::Queue, OnConflict::Replace);
        let unique = UniqueDraft { key: key.into(), scope, on_conflict, ..UniqueDraft::default() };
        JobDraft { unique: Some(unique), ..draft() }
    };
    let (first, second) = (bench.add(replacing("1")).await, bench.add(replacing("2")).await);
    let lock = format!("SELECT FROM jobqueue.ready WHERE job_id = '{first}' FOR UPDATE");
    let gate = bench.db.hold(&lock).await;
    let waits = "wait_event_type = 'Lock' AND query LIKE '-- store.withdraw%'";
    let (answers, ()) = tokio::join!(bench.submit(vec![replacing("1"), replacing("2")]), async {
        eventually(MINUTE, "the withdrawal of the first holder waits", async || {
            if bench.db.sessions(waits).await > 0 { Ok(()) } else { Err(()) }
        })
        .await;
        bench.execute(&format!("SELECT jobqueue.edit('{second}', queue => 'b')")).await;
        gate.rollback().await.unwrap();
    });
    let new: Vec<JobId> = answers.into_iter().map(created).collect();
    assert_eq!((bench.status(first).await, bench.status(second).await), (Status::Cancelled, Status::Queued));
    assert_eq!(bench.record(second).await.job.queue.as_str(), "b");
    let held = format!(
        "SELECT count(*) FROM jobqueue.unique_claim WHERE job_id IN ('{second}', '{}', '{}')",
        new[0], new[1]
    );
    assert_eq!(bench.count(&held).await, 3);
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}
