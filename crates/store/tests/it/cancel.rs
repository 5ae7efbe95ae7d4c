//! cancel, retry, promote and expire: the effect of each on a job, and that exactly one of several concurrent calls
//! takes effect.

use jobqueue_core::{JobDraft, JobId, Outcome, Status};
use jobqueue_store::{Cancelled, Retried, Settled};

use crate::bench::{Bench, DAY, MINUTE, boom, delayed, draft, end, failed, start};

fn unknown() -> JobId {
    JobId::from_ticks(1 << 50, 7)
}

#[tokio::test]
async fn the_result_of_cancel_depends_on_the_status() {
    let bench = Bench::new().await;
    let done = bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    let running = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let (queued, scheduled) = (bench.add(draft()).await, bench.add(delayed(60.0)).await);
    let all = [scheduled, unknown(), done, queued, running, dead, queued];
    let answers = bench.store.jobs().cancel(&all, &boom()).await.unwrap();
    let expected = [
        Cancelled::Now,
        Cancelled::Unknown,
        Cancelled::Already(Status::Completed),
        Cancelled::Now,
        Cancelled::Asked,
        Cancelled::Already(Status::Failed),
        Cancelled::Now,
    ];
    assert_eq!(answers, expected);
    let record = bench.record(queued).await;
    assert_eq!((record.status, record.error, record.started_at), (Status::Cancelled, Some(boom()), None));
    assert_eq!(
        bench.store.jobs().cancel(&[queued, running], &boom()).await.unwrap(),
        [Cancelled::Already(Status::Cancelled), Cancelled::Asked]
    );
    assert_eq!(bench.lease(10).await.len(), 0, "it never starts");
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
    assert_eq!(bench.store.jobs().cancel(&[], &boom()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_lease_has_one_winner_and_all_reads_agree() {
    let bench = Bench::new().await;
    let ids = bench.add_many(200).await;
    let lessee = {
        let (store, request) = (bench.store.clone(), bench.request(7));
        start(async move {
            let mut leased = Vec::new();
            loop {
                let more = store.lease(&request).await.unwrap();
                if more.is_empty() {
                    return leased;
                }
                leased.extend(more);
            }
        })
    };
    let cancels: Vec<_> = ids
        .chunks(10)
        .rev()
        .map(|chunk| {
            let (store, chunk) = (bench.store.clone(), chunk.to_vec());
            start(async move { store.jobs().cancel(&chunk, &boom()).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for cancel in cancels.into_iter().rev() {
        answers.extend(cancel.await.unwrap());
    }
    let mut leased = lessee.await.unwrap();
    leased.extend(bench.lease(1000).await);
    let (mut now, mut running) = (0, 0);
    for (id, answer) in ids.iter().zip(&answers) {
        let record = bench.record(*id).await;
        let runs = leased.iter().any(|leased| leased.job.id == *id);
        match answer {
            Cancelled::Now => {
                now += 1;
                assert_eq!((record.status, runs), (Status::Cancelled, false));
            }
            Cancelled::Asked => {
                running += 1;
                assert_eq!((record.status, record.cancel_requested, runs), (Status::Running, true, true));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((now + running, leased.len()), (200, running));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_settle_has_one_winner_and_all_reads_agree() {
    let bench = Bench::new().await;
    let ids = bench.add_many(120).await;
    let mut settles = Vec::new();
    for (at, leased) in bench.lease(120).await.into_iter().enumerate() {
        let outcome = if at % 2 == 0 { Outcome::Completed(None) } else { failed() };
        let (store, end) = (bench.store.clone(), end(leased, outcome));
        settles.push(start(async move { store.settle(vec![end]).await.unwrap()[0] }));
    }
    let cancel = {
        let (store, ids) = (bench.store.clone(), ids.clone());
        start(async move { store.jobs().cancel(&ids, &boom()).await.unwrap() })
    };
    let answers = cancel.await.unwrap();
    for ((id, answer), settle) in ids.iter().zip(answers).zip(settles) {
        let Settled::Applied(status) = settle.await.unwrap() else { panic!("stale") };
        let reads = bench.status(*id).await;
        match answer {
            Cancelled::Now => assert_eq!((status, reads), (Status::Scheduled, Status::Cancelled)),
            Cancelled::Asked => assert!(reads == status && status.is_final(), "{status} {reads}"),
            Cancelled::Already(previous) => assert!(previous == status && reads == status),
            Cancelled::Unknown => panic!("unknown"),
        }
    }
}

#[tokio::test]
async fn retry_runs_dead_letters_again_with_all_attempts_and_their_history() {
    let bench = Bench::new().await;
    let dead = bench.dead(JobDraft { max_attempts: Some(1), ..draft() }).await;
    let done = bench.done(draft()).await;
    let stopped = bench.add(draft()).await;
    bench.store.jobs().cancel(&[stopped], &boom()).await.unwrap();
    let waiting = bench.add(delayed(60.0)).await;
    let answers = bench.store.jobs().retry(&[unknown(), done, waiting, dead, stopped, dead]).await.unwrap();
    let expected = [
        Retried::Unknown,
        Retried::Refused(Some(Status::Completed)),
        Retried::Refused(None),
        Retried::Now,
        Retried::Now,
        Retried::Now,
    ];
    assert_eq!(answers, expected);
    let record = bench.record(dead).await;
    assert_eq!(
        (record.status, record.job.attempt, record.error, record.finished_at),
        (Status::Queued, 0, None, None)
    );
    assert_eq!(bench.store.jobs().retry(&[dead]).await.unwrap(), [Retried::Refused(None)]);
    let leased = bench.lease_one().await;
    assert_eq!((leased.job.id, leased.job.attempt), (dead, 1));
    bench.end(leased, Outcome::Completed(None)).await;
    let ended: Vec<_> = bench.store.attempts(dead).await.unwrap().iter().map(|a| a.ended.as_str()).collect();
    assert_eq!(ended, ["failed", "completed"]);
    assert_eq!(bench.store.jobs().retry(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_retry_before_run_at_waits_for_it() {
    let bench = Bench::new().await;
    let id = bench.add(delayed(600.0)).await;
    bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    assert_eq!(bench.store.jobs().retry(&[id]).await.unwrap(), [Retried::Now]);
    assert_eq!(bench.store.job(id).await.unwrap().unwrap().status, Status::Scheduled);
}

#[tokio::test]
async fn an_expired_job_is_not_retried() {
    let mut bench = Bench::new().await;
    let id = bench.dead(JobDraft { expires_at: Some("2100-01-01T00:00:00Z".into()), ..draft() }).await;
    bench.pass(DAY * 365 * 90);
    assert_eq!(bench.store.jobs().retry(&[id]).await.unwrap(), [Retried::Expired]);
    assert_eq!(bench.status(id).await, Status::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_retries_run_the_job_once() {
    let bench = Bench::new().await;
    let id = bench.dead(draft()).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = bench.store.clone();
            start(async move { store.jobs().retry(&[id]).await.unwrap()[0] })
        })
        .collect();
    let mut now = 0;
    for call in calls {
        match call.await.unwrap() {
            Retried::Now => now += 1,
            other => assert_eq!(other, Retried::Refused(None)),
        }
    }
    assert_eq!((now, bench.lease(10).await.len()), (1, 1));
}

#[tokio::test]
async fn promote_moves_due_jobs_and_the_named_job() {
    let mut bench = Bench::new().await;
    let (soon, later, named) =
        (bench.add(delayed(60.0)).await, bench.add(delayed(600.0)).await, bench.add(delayed(6000.0)).await);
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 0);
    assert_eq!(bench.store.jobs().promote(&[named, unknown(), named]).await.unwrap(), [named]);
    assert_eq!(bench.store.jobs().promote(&[named]).await.unwrap(), []);
    bench.pass(2 * MINUTE);
    let promotion = bench.store.promote_due(10).await.unwrap();
    assert_eq!((promotion.jobs, promotion.queues), (1, vec!["default".parse().unwrap()]));
    assert_eq!(bench.status(later).await, Status::Scheduled);
    let ids: Vec<JobId> = bench.lease(10).await.into_iter().map(|leased| leased.job.id).collect();
    assert_eq!(ids, [soon, named]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_promotions_move_each_job_once() {
    let mut bench = Bench::new().await;
    bench.submit(vec![delayed(60.0); 500]).await;
    bench.pass(2 * MINUTE);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let store = bench.store.clone();
            start(async move {
                let mut moved = 0;
                loop {
                    let promotion = store.promote_due(50).await.unwrap();
                    moved += promotion.jobs;
                    if promotion.jobs == 0 {
                        return moved;
                    }
                }
            })
        })
        .collect();
    let mut moved = 0;
    for call in calls {
        moved += call.await.unwrap();
    }
    moved += bench.store.promote_due(500).await.unwrap().jobs;
    assert_eq!((moved, bench.lease(1000).await.len()), (500, 500));
}

#[tokio::test]
async fn expire_cancels_waiting_jobs_and_not_running_ones() {
    let mut bench = Bench::new().await;
    let expires = |draft: JobDraft| JobDraft { expires_at: Some("2100-01-01T00:00:00Z".into()), ..draft };
    let running = bench.add(expires(draft())).await;
    let leased = bench.lease_one().await;
    let (queued, scheduled) = (bench.add(expires(draft())).await, bench.add(expires(delayed(60.0))).await);
    let other = bench.add(draft()).await;
    assert_eq!(bench.store.expire_due(10).await.unwrap(), 0);
    bench.pass(DAY * 365 * 90);
    assert_eq!(bench.store.expire_due(2).await.unwrap(), 2);
    assert_eq!(bench.store.expire_due(2).await.unwrap(), 1);
    assert_eq!(bench.store.expire_due(2).await.unwrap(), 0);
    for id in [queued, scheduled] {
        let record = bench.record(id).await;
        assert_eq!((record.status, record.error.unwrap().kind.as_str()), (Status::Cancelled, "expired"));
    }
    assert_eq!((bench.status(running).await, bench.status(other).await), (Status::Running, Status::Queued));
    // its next attempt would start after `expires_at`
    bench.end(leased, Outcome::Released).await;
    assert_eq!(bench.lease(10).await.len(), 1);
    assert_eq!(bench.status(running).await, Status::Cancelled);
}
