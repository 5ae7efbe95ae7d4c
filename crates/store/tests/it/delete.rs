//! delete: final jobs with everything that belongs to them, and nothing else.

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Outcome, Status};
use jobqueue_store::{Deleted, Retried};

use crate::bench::{Bench, boom, delayed, draft, start};

/// Rows of a job in all tables.
async fn rows(bench: &Bench, id: JobId) -> i64 {
    let mut rows = bench.count(&format!("SELECT count(*) FROM jobqueue.body WHERE id = '{id}'")).await;
    for table in [
        "ready",
        "scheduled",
        "outcome",
        "attempt",
        "report",
        "unique_claim",
        "expiry",
        "snooze",
        "cancel_request",
    ] {
        rows += bench.count(&format!("SELECT count(*) FROM jobqueue.{table} WHERE job_id = '{id}'")).await;
    }
    rows
}

#[tokio::test]
async fn only_final_jobs_are_deleted_and_leave_nothing() {
    let bench = Bench::new().await;
    let all = UniqueDraft { key: "k".into(), statuses: Some(Status::ALL.to_vec()), ..UniqueDraft::default() };
    let keyed = JobDraft { unique: Some(all), max_snoozes: Some(3), ..draft() };
    let done = bench.done(keyed.clone()).await;
    let dead = bench.dead(draft()).await;
    let running = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let (queued, scheduled) = (bench.add(draft()).await, bench.add(delayed(60.0)).await);
    let cancelled = bench.add(draft()).await;
    bench.store.jobs().cancel(&[cancelled], &boom()).await.unwrap();
    let unknown = JobId::from_ticks(1 << 50, 7);
    let answers = bench
        .store
        .jobs()
        .delete(&[scheduled, done, unknown, dead, running, done, queued, cancelled])
        .await
        .unwrap();
    let (now, stays) = (Deleted::Now, Deleted::NotFinal);
    assert_eq!(answers, [stays, now, Deleted::Unknown, now, stays, now, stays, now]);
    for id in [done, dead, cancelled] {
        assert_eq!((rows(&bench, id).await, bench.store.job(id).await.unwrap()), (0, None));
    }
    assert_eq!(bench.store.jobs().delete(&[done]).await.unwrap(), [Deleted::Unknown]);
    assert_eq!(bench.store.jobs().retry(&[dead]).await.unwrap(), [Retried::Unknown]);
    assert_ne!(bench.add(keyed).await, done, "the key that it kept is free");
    bench.end(leased, Outcome::Completed(None)).await;
    assert_eq!(bench.store.jobs().delete(&[]).await.unwrap(), []);
    assert_eq!(crate::checker::check_snapshot(&bench.pool).await, Vec::<String>::new());
}

/// A job that was found as failed, and was retried and completed since then, keeps its result.
#[tokio::test]
async fn a_job_that_ended_with_another_status_than_wanted_stays() {
    let bench = Bench::new().await;
    let (done, dead, queued) =
        (bench.done(draft()).await, bench.dead(draft()).await, bench.add(draft()).await);
    let jobs = bench.store.jobs();
    let answers = jobs.delete_with_status(&[dead, queued, done], &[Status::Failed]).await.unwrap();
    assert_eq!(answers, [Deleted::Now, Deleted::NotFinal, Deleted::OtherStatus]);
    assert_eq!(bench.status(done).await, Status::Completed);
    let answers = jobs.delete_with_status(&[done], &[Status::Queued]).await.unwrap();
    assert_eq!(answers, [Deleted::OtherStatus]);
}

/// Of a deletion and a retry of the same job, one wins, and the job is either gone or queued.
#[tokio::test(flavor = "multi_thread")]
async fn delete_against_retry_has_one_winner() {
    let bench = Bench::new().await;
    let mut dead = Vec::new();
    for _ in 0..40 {
        dead.push(bench.add(draft()).await);
    }
    bench.store.jobs().cancel(&dead, &boom()).await.unwrap();
    let run = |reversed: bool, deletes: bool| {
        let (store, mut ids) = (bench.store.clone(), dead.clone());
        if reversed {
            ids.reverse();
        }
        start(async move {
            let mut won = Vec::new();
            for id in ids {
                let is_mine = if deletes {
                    store.jobs().delete(&[id]).await.unwrap() == [Deleted::Now]
                } else {
                    store.jobs().retry(&[id]).await.unwrap() == [Retried::Now]
                };
                won.extend(is_mine.then_some(id));
            }
            won
        })
    };
    let (deleted, retried) = (run(false, true), run(true, false));
    let (deleted, retried) = (deleted.await.unwrap(), retried.await.unwrap());
    assert_eq!(deleted.len() + retried.len(), dead.len());
    for id in retried {
        assert_eq!(bench.status(id).await, Status::Queued);
    }
    for id in deleted {
        assert_eq!(rows(&bench, id).await, 0);
    }
}
