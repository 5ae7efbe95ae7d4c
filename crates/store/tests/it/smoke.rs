//! Calls every verb once on a store with the options of production: with a direct connection, and in the mode for
//! transaction poolers.

use jobqueue_core::statistics::RangeRequest;
use jobqueue_core::{JobId, Outcome, QueueName, Status, WorkerId};
use jobqueue_store::{
    AttemptReport, Cancelled, Extended, Heard, HeldLeases, Idempotency, JobFilter, Notifier, Pooler,
    QueueSettings, Retention, Retried, Settled, Store, Submission, WorkerState,
};
use jobqueue_testkit::TestDb;
use std::time::Duration;
use uuid::Uuid;

use crate::bench::{
    DAY, MINUTE, boom, copy, created, delayed, draft, end, entry, failed, parse, production, request, served,
};

#[tokio::test]
async fn every_verb_works_directly() {
    let db = TestDb::new().await;
    let store = production(&db, Pooler::None, 4);
    every_verb(&store).await;
    wake_up(&store, true).await;
}

#[tokio::test]
async fn every_verb_works_behind_a_pooler_that_shares_sessions() {
    let db = TestDb::new().await;
    // a second round on the same sessions: the state that the first one left must not matter
    for _ in 0..2 {
        let store = production(&db, Pooler::Transaction, 2);
        every_verb(&store).await;
        wake_up(&store, false).await;
    }
}

#[tokio::test]
async fn one_connection_is_enough() {
    let db = TestDb::new().await;
    every_verb(&production(&db, Pooler::None, 1)).await;
}

pub(crate) async fn every_verb(store: &Store) {
    store.ping().await.unwrap();
    store.check_schema().await.unwrap();
    let worker = WorkerId::from_uuid(Uuid::new_v4());
    store.register_worker(&entry(worker)).await.unwrap();
    let ids = enqueue(store).await;
    walk(store, worker, &ids).await;
    read(store, &ids).await;
    duties(store).await;
    store.unregister_worker(worker).await.unwrap();
}

async fn enqueue(store: &Store) -> Vec<JobId> {
    let key = Uuid::new_v4().to_string();
    let plain = Submission { jobs: vec![parse(draft()); 4], atomic: true, idempotency: None };
    let keyed = Submission {
        jobs: vec![parse(delayed(600.0))],
        atomic: true,
        idempotency: Some(Idempotency::new("smoke", &key, "body")),
    };
    let answers = store.enqueue(&[plain, keyed]).await.unwrap();
    answers.into_iter().flat_map(served).map(created).collect()
}

async fn walk(store: &Store, worker: WorkerId, ids: &[JobId]) {
    assert_eq!(store.jobs().promote(&ids[4..]).await.unwrap(), ids[4..]);
    let mut leased = store.lease(&request(Some(worker), &["default"], 4)).await.unwrap();
    assert_eq!(leased.len(), 4);
    let report = AttemptReport { progress: None, log: "line\n".into() };
    assert_eq!(store.report(&[(&leased[0].lease, report)]).await.unwrap(), [true]);
    let held = HeldLeases { epochs: vec![leased[0].lease.epoch()], known_up_to: 0 };
    let beat = store.heartbeat(worker, MINUTE, &WorkerState::default(), &held).await.unwrap();
    assert!(beat.known && beat.lost.is_empty() && beat.newest_epoch >= leased[0].lease.epoch());
    let extended = store.extend(&[copy(&leased[0].lease)], MINUTE).await.unwrap();
    assert!(matches!(extended[..], [Extended::Until { .. }]));
    assert!(store.leased_jobs(&[copy(&leased[0].lease)]).await.unwrap()[0].is_some());
    assert_eq!(
        store.jobs().cancel(&[ids[3], ids[4]], &boom()).await.unwrap(),
        [Cancelled::Asked, Cancelled::Now]
    );
    let last = leased.pop().unwrap();
    let ends = vec![
        end(leased.remove(0), Outcome::Completed(None)),
        end(leased.remove(0), failed()),
        end(leased.remove(0), Outcome::Discarded(boom())),
    ];
    let (settled, more) =
        store.settle_and_lease(ends, &request(Some(worker), &["default"], 4)).await.unwrap();
    let applied = [Status::Completed, Status::Scheduled, Status::Failed].map(Settled::Applied);
    assert_eq!((settled.as_slice(), more.len()), (&applied[..], 0));
    let stopped = store.settle(vec![end(last, Outcome::Cancelled)]).await.unwrap();
    assert_eq!(stopped, [Settled::Applied(Status::Cancelled)]);
    assert_eq!(store.jobs().retry(&ids[2..3]).await.unwrap(), [Retried::Now]);
    assert_eq!(store.jobs().cancel(&ids[1..3], &boom()).await.unwrap(), [Cancelled::Now; 2]);
}

async fn read(store: &Store, ids: &[JobId]) {
    assert_eq!(store.job(ids[0]).await.unwrap().unwrap().status, Status::Completed);
    assert_eq!(store.jobs_by_id(ids).await.unwrap().len(), 5);
    assert_eq!(store.attempts(ids[0]).await.unwrap()[0].log, "line\n");
    assert!(store.events(ids[0]).await.unwrap().unwrap().len() >= 3);
    let page = store.list(&JobFilter::default(), None, 3).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (3, Some(page.jobs[2].job.id)));
    assert!(store.find(&JobFilter::default(), page.next, 100).await.unwrap().ids.len() >= 2);
}

async fn duties(store: &Store) {
    store.promote_due(10).await.unwrap();
    store.expire_due(10).await.unwrap();
    store.reclaim(Duration::ZERO, 10).await.unwrap();
    store.upkeep().prune(Retention { completed: 7 * DAY, failed: 30 * DAY }).await.unwrap();
    assert!(store.take_census(200).await.unwrap());
    let range = RangeRequest::default().check(store.time().await.unwrap().unwrap()).unwrap();
    let queue: QueueName = "default".parse().unwrap();
    assert!(!store.statistics(&range, Some(&queue), None).await.unwrap().has_others);
    assert_eq!(store.census().await.unwrap().queues[0].queue, "default");
    let queue = QueueName::default();
    store.queues().pause(&queue).await.unwrap();
    store
        .queues()
        .configure(
            &queue,
            QueueSettings { completed_retention: Some(Some(DAY)), failed_retention: None, max_queued: None },
        )
        .await
        .unwrap();
    store.queues().resume(&queue).await.unwrap();
    assert_eq!(store.queues().get(&queue).await.unwrap().unwrap().completed_retention, Some(DAY));
    assert_eq!(store.queues().purge(&queue, None, 10).await.unwrap(), 0);
}

/// Notifications need a dedicated session, so behind a transaction pooler there are none.
async fn wake_up(store: &Store, heard: bool) {
    let queue = QueueName::default();
    let mut listener = store.listen().await.unwrap();
    let (notifier, sending) = Notifier::new(store);
    notifier.wake(&queue);
    drop(notifier);
    sending.await;
    if heard {
        assert_eq!(listener.heard().await.unwrap(), Heard::Queues(vec![queue]));
    }
}
