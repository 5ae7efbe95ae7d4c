//! reclaim: jobs of a dead worker run again, and jobs of a live worker do not.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Outcome, Status, WorkerId};
use jobqueue_store::{LeaseRequest, Reclaimed, Settled, WorkerEntry};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, boom, draft, entry, request, start, twin};

async fn reclaim(bench: &Bench) -> Vec<JobId> {
    bench.store.reclaim(Duration::ZERO, 100).await.unwrap().jobs
}

#[tokio::test]
async fn a_dead_workers_jobs_run_again_and_cost_the_attempt() {
    let mut bench = Bench::new().await;
    let ids = bench.add_many(70).await;
    let mut leased = bench.lease(70).await;
    bench.end(leased.remove(3), Outcome::Completed(None)).await;
    assert_eq!(reclaim(&bench).await, []);
    bench.pass(Duration::from_secs(31));
    let reclaimed: Reclaimed = bench.store.reclaim(Duration::ZERO, 100).await.unwrap();
    assert_eq!((reclaimed.jobs.len(), reclaimed.queues), (69, vec!["default".parse().unwrap()]));
    assert_eq!(bench.status(ids[3]).await, Status::Completed);
    let record = bench.record(ids[0]).await;
    assert_eq!((record.status, record.job.attempt), (Status::Queued, 1));
    let attempts = bench.store.attempts(ids[0]).await.unwrap();
    assert_eq!(
        (attempts[0].ended.as_str(), attempts[0].error.as_ref().unwrap().kind.as_str()),
        ("lost", "lease_lost")
    );
    assert_eq!(bench.end(leased.remove(0), Outcome::Completed(None)).await, Settled::Stale);
    assert_eq!(bench.lease_one().await.job.attempt, 2);
    assert_eq!(reclaim(&bench).await.len(), 1, "the worker is still dead");
}

#[tokio::test]
async fn a_worker_with_heartbeats_keeps_its_jobs() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    let leased = bench.lease_one().await;
    for _ in 0..40 {
        bench.pass(Duration::from_secs(20));
        bench.beat().await;
        assert_eq!(reclaim(&bench).await, []);
    }
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
}

/// The times are minutes, because the real time of the test also counts.
#[tokio::test]
async fn each_worker_has_its_own_stale_time() {
    let mut bench = Bench::new().await;
    let [slow, quick] = [11, 12].map(|n| WorkerId::from_uuid(Uuid::from_u128(n)));
    let mut ids = Vec::new();
    for (id, stale_after) in [(slow, 60 * MINUTE), (quick, 15 * MINUTE)] {
        bench.store.register_worker(&WorkerEntry { stale_after, ..entry(id) }).await.unwrap();
        ids.push(bench.add(draft()).await);
        let long = LeaseRequest { duration: DAY, ..request(Some(id), &["default"], 1) };
        bench.store.lease(&long).await.unwrap();
    }
    bench.pass(16 * MINUTE);
    assert_eq!(reclaim(&bench).await, [ids[1]]);
    bench.pass(40 * MINUTE);
    assert_eq!(reclaim(&bench).await, []);
    bench.pass(5 * MINUTE);
    assert_eq!(reclaim(&bench).await, [ids[0]]);
}

#[tokio::test]
async fn a_lease_also_ends_when_it_expires() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let short = LeaseRequest { duration: 60 * MINUTE, ..request(None, &["default"], 1) };
    let leased = bench.store.lease(&short).await.unwrap().pop().unwrap();
    bench.pass(55 * MINUTE);
    assert_eq!(reclaim(&bench).await, [], "a remote worker has no beat, only its time");
    bench.store.extend(&[crate::bench::copy(&leased.lease)], 60 * MINUTE).await.unwrap();
    bench.pass(55 * MINUTE);
    assert_eq!(reclaim(&bench).await, []);
    bench.pass(6 * MINUTE);
    assert_eq!(reclaim(&bench).await, [id]);
}

#[tokio::test]
async fn a_worker_that_deregistered_is_dead() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    bench.lease_one().await;
    bench.store.unregister_worker(bench.worker).await.unwrap();
    assert_eq!(reclaim(&bench).await, [id]);
}

#[tokio::test]
async fn a_crash_in_the_last_attempt_fails_the_job_and_frees_the_key() {
    let mut bench = Bench::new().await;
    let unique = Some(UniqueDraft { key: "k".into(), ..UniqueDraft::default() });
    let id = bench.add(JobDraft { max_attempts: Some(2), unique, ..draft() }).await;
    for status in [Status::Queued, Status::Failed] {
        bench.register(bench.worker).await;
        bench.lease_one().await;
        bench.pass(MINUTE);
        assert_eq!(reclaim(&bench).await, [id]);
        assert_eq!(bench.status(id).await, status);
        let freed = status == Status::Failed;
        assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, i64::from(!freed));
    }
    assert_eq!(bench.record(id).await.error.unwrap().kind, "lease_lost");
}

#[tokio::test]
async fn a_cancel_request_is_applied_when_the_worker_dies() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    bench.lease_one().await;
    bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    bench.pass(MINUTE);
    assert_eq!(reclaim(&bench).await, [id]);
    assert_eq!(bench.status(id).await, Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reapers_and_late_settles_end_each_attempt_once() {
    let mut bench = Bench::new().await;
    bench.add_many(100).await;
    let mut zombies = Vec::new();
    for _ in 0..25 {
        zombies.extend(bench.lease(4).await);
    }
    bench.pass(MINUTE);
    let mut reapers = Vec::new();
    for _ in 0..3 {
        let store = bench.store.clone();
        reapers.push(start(async move { store.reclaim(Duration::ZERO, 10).await.unwrap().jobs.len() }));
    }
    let settles: Vec<_> = zombies
        .iter()
        .map(|late| {
            let (store, end) = (bench.store.clone(), crate::bench::end(twin(late), Outcome::Completed(None)));
            start(async move { store.settle(vec![end]).await.unwrap()[0] != Settled::Stale })
        })
        .collect();
    let (mut lost, mut completed) = (0, 0);
    for reaper in reapers {
        lost += reaper.await.unwrap();
    }
    for settle in settles {
        completed += usize::from(settle.await.unwrap());
    }
    lost += reclaim(&bench).await.len();
    assert_eq!(lost + completed, 100);
    assert_eq!(
        bench.count("SELECT count(*) FROM jobs WHERE status = 'completed'").await,
        i64::try_from(completed).unwrap()
    );
    assert_eq!(
        bench.count("SELECT count(*) FROM jobs WHERE status = 'queued'").await,
        i64::try_from(lost).unwrap()
    );
}
