//! Each duty, stepped by hand.

use std::time::Duration;

use clap::Parser as _;
use jobqueue_core::{JobDraft, JobId, Limits, NewJob, Status, WorkerId};
use jobqueue_reaper::{Args, Census, Duty, DutyArgs, Expire, Promote, Prune, Reclaim};
use jobqueue_store::{Accepted, Answer, LeaseRequest, Notifier, Store, Submission, WorkerEntry};
use jobqueue_testkit::{Clock, TestDb, eventually};
use uuid::Uuid;

/// A database, its store, and duties with short rhythms.
struct Bench {
    db: TestDb,
    clock: Clock,
    store: Store,
    notifier: Notifier,
    args: DutyArgs,
}

impl Bench {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let clock = Clock::new();
        let store = Store::from_pool(db.pool_with_clock(&clock));
        let (notifier, _unsent) = Notifier::new(&store);
        let line = ["reaper", "--database-url", db.url(), "--hold-off-seconds", "30"];
        // hold-off counts from the start of the server, which other tests share: the one test that cares sets its own
        let args = DutyArgs { hold_off: Duration::ZERO, ..Args::try_parse_from(line).unwrap().duties };
        Self { db, clock, store, notifier, args }
    }

    async fn run(&self, duty: &dyn Duty) -> u64 {
        duty.step(&self.store, &self.notifier).await.unwrap().jobs
    }

    async fn submit(&self, draft: JobDraft) -> JobId {
        let job = NewJob::parse(JobDraft { kind: "noop".into(), ..draft }, &Limits::default()).unwrap();
        let submission = Submission { jobs: vec![job], atomic: true, idempotency: None };
        match &self.store.enqueue(&[submission]).await.unwrap()[..] {
            [Answer::Served { jobs, .. }] => match jobs[..] {
                [Accepted::Created { id, .. }] => id,
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Registers a worker that leases everything and is never heard of again.
    async fn doomed_worker(&self) -> usize {
        let id = WorkerId::from_uuid(Uuid::now_v7());
        let worker = WorkerEntry {
            id,
            name: "doomed".into(),
            queues: vec![],
            slots: 1,
            version: "test".into(),
            stale_after: Duration::from_secs(30),
        };
        self.store.register_worker(&worker).await.unwrap();
        let request = LeaseRequest {
            worker_id: Some(id),
            queues: vec!["default".parse().unwrap()],
            kinds: vec![],
            limit: 100,
            duration: Duration::from_hours(1),
        };
        self.store.lease(&request).await.unwrap().len()
    }

    async fn status(&self, id: JobId) -> Status {
        self.store.job(id).await.unwrap().unwrap().status
    }
}

#[tokio::test]
async fn reclaim_takes_the_jobs_of_the_dead_and_only_theirs() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    assert_eq!(bench.doomed_worker().await, 1);
    let reclaim = Reclaim::new(&bench.args);
    assert_eq!(bench.run(&reclaim).await, 0, "it beat just now");
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(bench.run(&reclaim).await, 1);
    assert_eq!(bench.status(id).await, Status::Queued);
    assert_eq!(bench.run(&reclaim).await, 0);
}

#[tokio::test]
async fn a_reaper_that_starts_among_silent_workers_waits_and_among_others_does_not() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    assert_eq!(bench.doomed_worker().await, 1);
    let impatient = bench.db.hold("UPDATE jobqueue.worker SET stale_ms = 1").await;
    impatient.commit().await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    let short = DutyArgs { hold_off: Duration::from_millis(300), ..bench.args.clone() };
    let started = Reclaim::new(&short);
    assert_eq!(bench.run(&started).await, 0, "an outage looks like this");
    eventually(Duration::from_secs(20), "it was none", async || match bench.run(&started).await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(bench.status(id).await, Status::Queued);

    assert_eq!(bench.doomed_worker().await, 1);
    bench.db.hold("UPDATE jobqueue.worker SET stale_ms = 1").await.commit().await.unwrap();
    let patient = DutyArgs { hold_off: Duration::from_secs(2), ..bench.args.clone() };
    eventually(Duration::from_secs(20), "somebody was heard of just now", async || {
        assert_eq!(bench.doomed_worker().await, 0, "it registers, which is a beat");
        match bench.run(&Reclaim::new(&patient)).await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn reclaim_holds_off_after_an_outage() {
    let bench = Bench::new().await;
    bench.submit(JobDraft::default()).await;
    bench.doomed_worker().await;
    bench.clock.advance(Duration::from_mins(2));
    let own_outage = Reclaim::new(&DutyArgs { hold_off: Duration::from_mins(10), ..bench.args.clone() });
    own_outage.database_was_away();
    assert_eq!(bench.run(&own_outage).await, 0, "this process saw the database go");
    let restarted = Reclaim::new(&DutyArgs { hold_off: Duration::from_hours(9000), ..bench.args.clone() });
    assert_eq!(bench.run(&restarted).await, 0, "the server is younger than the hold-off");
    assert_eq!(bench.run(&Reclaim::new(&bench.args)).await, 1, "the control: without a hold-off it is taken");
}

#[tokio::test]
async fn two_reapers_share_the_work_and_do_it_once() {
    let bench = Bench::new().await;
    for _ in 0..40 {
        bench.submit(JobDraft::default()).await;
        bench.submit(JobDraft { delay_seconds: Some(5.0), ..JobDraft::default() }).await;
    }
    assert_eq!(bench.doomed_worker().await, 40);
    bench.clock.advance(Duration::from_mins(1));
    let (one, two) = (Reclaim::new(&bench.args), Reclaim::new(&bench.args));
    let (a, b) = tokio::join!(bench.run(&one), bench.run(&two));
    assert_eq!(a + b, 40);
    let (one, two) = (Promote::new(&bench.args), Promote::new(&bench.args));
    let (a, b) = tokio::join!(bench.run(&one), bench.run(&two));
    assert_eq!(a + b, 40);
}

#[tokio::test]
async fn promote_starts_what_is_due_and_nothing_else() {
    let bench = Bench::new().await;
    let soon = bench.submit(JobDraft { delay_seconds: Some(10.0), ..JobDraft::default() }).await;
    let late = bench.submit(JobDraft { delay_seconds: Some(1000.0), ..JobDraft::default() }).await;
    let promote = Promote::new(&bench.args);
    assert_eq!(bench.run(&promote).await, 0);
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(bench.run(&promote).await, 1);
    assert_eq!((bench.status(soon).await, bench.status(late).await), (Status::Queued, Status::Scheduled));
}

#[tokio::test]
async fn expire_cancels_what_is_pointless() {
    let bench = Bench::new().await;
    // relative to the database's clock, which tests move: far enough ahead to be accepted, then passed
    let expires_at = Some("2100-01-01T00:00:00Z".to_owned());
    let id = bench.submit(JobDraft { expires_at, ..JobDraft::default() }).await;
    let expire = Expire::new(&bench.args);
    assert_eq!(bench.run(&expire).await, 0);
    bench.clock.advance(Duration::from_hours(24 * 366 * 80));
    assert_eq!(bench.run(&expire).await, 1);
    let record = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!(record.status, Status::Cancelled);
    assert_eq!(record.error.unwrap().kind, "expired");
}

#[tokio::test]
async fn census_counts_what_prune_forgets() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    bench.submit(JobDraft::default()).await;
    bench.store.cancel(&[id], &jobqueue_core::Failure::new("test", "not wanted")).await.unwrap();
    bench.clock.advance(Duration::from_hours(24 * 32));
    bench.run(&Prune::new(&bench.args)).await;
    assert!(bench.store.job(id).await.unwrap().is_none(), "retention of cancelled jobs is 30 days");
    bench.run(&Census::new(&bench.args)).await;
    let census = bench.store.census().await.unwrap();
    let [queue] = &census.queues[..] else { panic!("{census:?}") };
    assert_eq!((queue.queued, queue.created, queue.cancelled, queue.pruned), (1, 2, 1, 1));
    assert!(queue.oldest_at.is_some() && queue.taken_at.is_some());
}
