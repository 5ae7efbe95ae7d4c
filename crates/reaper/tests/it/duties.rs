//! Tests of each duty, run one at a time.

use std::time::Duration;

use clap::Parser as _;
use jobqueue_core::{JobDraft, JobId, Limits, NewJob, Status, WorkerId};
use jobqueue_reaper::{
    CensusDuty, Duty, DutyArgs, ExpireDuty, ExpireQueuesDuty, PromoteDuty, PruneDuty, ReaperCli, ReclaimDuty,
    VacuumDuty,
};
use jobqueue_store::{Accepted, Answer, LeaseRequest, Notifier, Store, Submission, WorkerEntry};
use jobqueue_testkit::{Clock, TestDb, eventually};
use uuid::Uuid;

/// A database, its store, and duties with short intervals.
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
        // advancing the clock looks like an outage, so tests of outages set their own hold-off
        let args = DutyArgs { hold_off: Duration::ZERO, ..ReaperCli::try_parse_from(line).unwrap().duties };
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

    /// Registers a worker that leases all jobs and sends no heartbeat.
    async fn silent_worker(&self) -> usize {
        let id = WorkerId::from_uuid(Uuid::now_v7());
        let worker = WorkerEntry {
            id,
            name: "doomed".into(),
            queues: vec![],
            kinds: vec![],
            slots: 1,
            version: "test".into(),
            host: "host".to_owned(),
            paused: false,
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
async fn reclaim_returns_only_the_jobs_of_dead_workers() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    assert_eq!(bench.silent_worker().await, 1);
    let reclaim = ReclaimDuty::new(&bench.args);
    assert_eq!(bench.run(&reclaim).await, 0, "it beat just now");
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(bench.run(&reclaim).await, 1);
    assert_eq!(bench.status(id).await, Status::Queued);
    assert_eq!(bench.run(&reclaim).await, 0);
}

#[tokio::test]
async fn a_reaper_that_starts_after_missing_heartbeats_waits() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    assert_eq!(bench.silent_worker().await, 1);
    let impatient = bench.db.hold("UPDATE jobqueue.worker SET stale_ms = 1").await;
    impatient.commit().await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    let short = DutyArgs { hold_off: Duration::from_millis(300), ..bench.args.clone() };
    let started = ReclaimDuty::new(&short);
    assert_eq!(bench.run(&started).await, 0, "an outage looks like this");
    eventually(Duration::from_secs(20), "it was none", async || match bench.run(&started).await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(bench.status(id).await, Status::Queued);
}

#[tokio::test]
async fn reclaim_holds_off_after_an_outage() {
    let bench = Bench::new().await;
    bench.submit(JobDraft::default()).await;
    bench.silent_worker().await;
    let careful = ReclaimDuty::new(&DutyArgs { hold_off: Duration::from_mins(10), ..bench.args.clone() });
    assert_eq!(bench.run(&careful).await, 0);
    bench.clock.advance(Duration::from_mins(2));
    assert_eq!(bench.run(&careful).await, 0, "no reaper ran for two minutes");
    assert_eq!(
        bench.run(&ReclaimDuty::new(&bench.args)).await,
        1,
        "the control: without a hold-off it is taken"
    );
}

#[tokio::test]
async fn two_reapers_share_the_work_and_handle_each_job_once() {
    let bench = Bench::new().await;
    for _ in 0..40 {
        bench.submit(JobDraft::default()).await;
        bench.submit(JobDraft { delay_seconds: Some(5.0), ..JobDraft::default() }).await;
    }
    assert_eq!(bench.silent_worker().await, 40);
    bench.clock.advance(Duration::from_mins(1));
    let (one, two) = (ReclaimDuty::new(&bench.args), ReclaimDuty::new(&bench.args));
    let (a, b) = tokio::join!(bench.run(&one), bench.run(&two));
    assert_eq!(a + b, 40);
    let (one, two) = (PromoteDuty::new(&bench.args), PromoteDuty::new(&bench.args));
    let (a, b) = tokio::join!(bench.run(&one), bench.run(&two));
    assert_eq!(a + b, 40);
}

#[tokio::test]
async fn promote_moves_only_due_jobs() {
    let bench = Bench::new().await;
    let soon = bench.submit(JobDraft { delay_seconds: Some(10.0), ..JobDraft::default() }).await;
    let late = bench.submit(JobDraft { delay_seconds: Some(1000.0), ..JobDraft::default() }).await;
    let promote = PromoteDuty::new(&bench.args);
    assert_eq!(bench.run(&promote).await, 0);
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(bench.run(&promote).await, 1);
    assert_eq!((bench.status(soon).await, bench.status(late).await), (Status::Queued, Status::Scheduled));
}

#[tokio::test]
async fn expire_cancels_expired_jobs() {
    let bench = Bench::new().await;
    // relative to the database's clock, which tests advance: far enough in the future to be accepted, and then passed
    let expires_at = Some("2100-01-01T00:00:00Z".to_owned());
    let id = bench.submit(JobDraft { expires_at, ..JobDraft::default() }).await;
    let expire = ExpireDuty::new(&bench.args);
    assert_eq!(bench.run(&expire).await, 0);
    bench.clock.advance(Duration::from_hours(24 * 366 * 80));
    assert_eq!(bench.run(&expire).await, 1);
    let record = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!(record.status, Status::Cancelled);
    assert_eq!(record.error.unwrap().kind, "expired");
}

#[tokio::test]
async fn the_census_counts_what_prune_deletes() {
    let bench = Bench::new().await;
    let id = bench.submit(JobDraft::default()).await;
    bench.submit(JobDraft::default()).await;
    bench.store.jobs().cancel(&[id], &jobqueue_core::Failure::new("test", "not wanted")).await.unwrap();
    bench.clock.advance(Duration::from_hours(24 * 32));
    bench.run(&PruneDuty::new(&bench.args)).await;
    assert!(bench.store.job(id).await.unwrap().is_none(), "retention of cancelled jobs is 30 days");
    bench.run(&CensusDuty::new(&bench.args)).await;
    let census = bench.store.census().await.unwrap();
    let [queue] = &census.queues[..] else { panic!("{census:?}") };
    assert_eq!((queue.queued, queue.created, queue.cancelled, queue.pruned), (1, 2, 1, 1));
    assert!(queue.oldest_at.is_some() && queue.taken_at.is_some());
}

/// The number of dead rows of `ready` in the statistics.
async fn dead_rows(bench: &Bench) -> i64 {
    bench
        .db
        .number(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'jobqueue' AND relname = 'ready'",
        )
        .await
}

/// Creates dead rows in `ready`, without autovacuum, and waits until the statistics contain them.
async fn leave_dead_rows(bench: &Bench, rows: u32) {
    let sql = format!(
        "ALTER TABLE jobqueue.ready SET (autovacuum_enabled = off);
         INSERT INTO jobqueue.ready SELECT jobqueue.new_id(), 1, 1, 0 FROM generate_series(1, {rows});
         DELETE FROM jobqueue.ready; SELECT pg_stat_force_next_flush()"
    );
    bench.db.hold(&sql).await.commit().await.unwrap();
    eventually(Duration::from_secs(20), "the dead rows are counted", async || {
        let dead = dead_rows(bench).await;
        if dead >= i64::from(rows) { Ok(()) } else { Err(dead) }
    })
    .await;
}

#[tokio::test]
async fn vacuum_removes_dead_rows_above_a_threshold_and_pauses_while_it_cannot() {
    let bench = Bench::new().await;
    let vacuum = VacuumDuty::new(&bench.args);
    leave_dead_rows(&bench, 4_000).await;
    assert_eq!(bench.run(&vacuum).await, 0, "few dead rows are not vacuumed");
    leave_dead_rows(&bench, 6_000).await;
    let vacuums =
        "SELECT vacuum_count FROM pg_stat_user_tables WHERE schemaname = 'jobqueue' AND relname = 'ready'";
    // an old snapshot still needs them
    let reader = bench
        .db
        .hold("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobqueue.queue")
        .await;
    leave_dead_rows(&bench, 20_000).await;
    assert!(bench.run(&vacuum).await <= 10_000);
    for _ in 0..3 {
        assert_eq!(bench.run(&vacuum).await, 0);
    }
    assert_eq!(bench.db.number(vacuums).await, 1, "in vain once, and not again at once");
    reader.rollback().await.unwrap();
    let vacuum = VacuumDuty::new(&bench.args);
    assert!(bench.run(&vacuum).await >= 20_000);
    assert_eq!(dead_rows(&bench).await, 0);
}

#[tokio::test]
async fn a_role_that_may_not_vacuum_does_its_other_duties() {
    let bench = Bench::new().await;
    leave_dead_rows(&bench, 6_000).await;
    let role = format!("runner_{}", bench.db.name());
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA jobqueue TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobqueue TO {role}"
    );
    bench.db.hold(&grants).await.commit().await.unwrap();
    let options = bench.db.connect_options().username(&role);
    let store = Store::from_pool(bench.db.pool().options().clone().connect_lazy_with(options));
    let tables = store.upkeep().hot_tables(5_000).await.unwrap();
    assert_eq!(
        tables.iter().map(|table| (table.name.as_str(), table.allowed)).collect::<Vec<_>>(),
        [("ready", false)]
    );
    let vacuum = VacuumDuty::new(&bench.args);
    assert_eq!(vacuum.step(&store, &bench.notifier).await.unwrap().jobs, 0);
    assert!(dead_rows(&bench).await >= 6_000);
}

#[tokio::test]
async fn unused_queues_are_deleted_in_steps_unless_that_is_switched_off() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.store.queues().create(&name.parse().unwrap()).await.unwrap();
    }
    bench.submit(JobDraft::default()).await;
    bench.clock.advance(Duration::from_hours(24 * 31));
    bench.run(&CensusDuty::new(&bench.args)).await;
    let never = ExpireQueuesDuty::new(&DutyArgs { queue_retention: Duration::ZERO, ..bench.args.clone() });
    assert_eq!(bench.run(&never).await, 0);
    let expire = ExpireQueuesDuty::new(&DutyArgs { batch_size: 2, ..bench.args.clone() });
    for (jobs, more) in [(2, true), (1, false), (0, false)] {
        let done = expire.step(&bench.store, &bench.notifier).await.unwrap();
        assert_eq!((done.jobs, done.more), (jobs, more));
    }
    assert_eq!(bench.store.queues().list(None, 10).await.unwrap().len(), 1);
}
