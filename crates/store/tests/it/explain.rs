//! Explain names exactly the causes that were planted, alone and in pairs, and a job starts when they are gone.

use std::time::Duration;

use jobqueue_core::explain::{Explanation, Reason, explain};
use jobqueue_core::{Failure, JobDraft, JobId, Outcome, Settlement, Status, WorkerId, settle};
use jobqueue_store::{
    AttemptEnd, HeldLeases, KindChanged, RemoteWorker, Settled, Store, WorkerEntry, WorkerState,
};
use uuid::Uuid;

use crate::bench::{Bench, MINUTE, draft, entry, production_at, request};

mod ticks;

/// What can hold a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    ReadOnly,
    Pending,
    Scheduled,
    Retry,
    Snoozed,
    CensusOld,
    Paused,
    KindPaused,
    NoWorker,
    WorkersPaused,
    Busy,
    Behind,
}

use Cause::{
    Behind, Busy, CensusOld, KindPaused, NoWorker, Paused, Pending, ReadOnly, Retry, Scheduled, Snoozed,
    WorkersPaused,
};

const ALL: [Cause; 12] = [
    ReadOnly,
    Pending,
    Scheduled,
    Retry,
    Snoozed,
    CensusOld,
    Paused,
    KindPaused,
    NoWorker,
    WorkersPaused,
    Busy,
    Behind,
];

impl Cause {
    const fn code(self) -> &'static str {
        match self {
            ReadOnly => "database_read_only",
            Pending => "waits_for_jobs",
            Scheduled => "scheduled_until",
            Retry => "retry_waits",
            Snoozed => "snoozed",
            CensusOld => "census_old",
            Paused => "queue_paused",
            KindPaused => "kind_paused",
            NoWorker => "no_worker",
            WorkersPaused => "workers_paused",
            Busy => "slots_busy",
            Behind => "behind",
        }
    }

    /// Whether it holds only a job that is not yet runnable.
    const fn is_early(self) -> bool {
        matches!(self, Pending | Scheduled | Retry | Snoozed | CensusOld)
    }

    /// A job has one time at most, and workers that are busy exist.
    fn excludes(self, other: Self) -> bool {
        let times = [Scheduled, Retry, Snoozed];
        let both = |set: &[Self]| set.contains(&self) && set.contains(&other);
        both(&times) || both(&[NoWorker, WorkersPaused, Busy])
    }
}

fn codes(explanation: &Explanation) -> Vec<String> {
    let code = |reason: &Reason| reason.facts()["code"].as_str().unwrap().to_owned();
    explanation.reasons().iter().map(code).collect()
}

async fn explained(store: &Store, id: JobId) -> Explanation {
    explain(&store.explain_facts(id).await.unwrap().expect("the job is known"))
}

/// Leases the oldest job and ends it with this outcome.
async fn ended(bench: &Bench, id: JobId, outcome: Outcome) {
    let leased = bench.lease_one().await;
    assert_eq!(leased.job.id, id);
    let settlement: Settlement = settle(&leased.job, outcome, 1.0);
    let end = AttemptEnd { lease: leased.lease, settlement, ran: None };
    assert_eq!(bench.store.settle(vec![end]).await.unwrap(), [Settled::Applied(Status::Scheduled)]);
}

/// A job of the queue `default` that these causes hold. The causes are planted through the verbs where there is one.
async fn plant(bench: &Bench, causes: &[Cause]) -> JobId {
    let has = |cause| causes.contains(&cause);
    bench.store.take_census(10).await.unwrap();
    let retried = has(Retry) || has(Snoozed);
    let delayed = !retried && causes.iter().any(|cause| cause.is_early());
    let id = bench.add(JobDraft { delay_seconds: delayed.then_some(3600.0), ..draft() }).await;
    if retried {
        let failure = Failure { kind: "boom".into(), message: "it broke".into(), details: None };
        let failed = Outcome::Failed { failure, retry_after: Some(MINUTE) };
        ended(bench, id, if has(Retry) { failed } else { Outcome::Snoozed(MINUTE) }).await;
    }
    if delayed && !has(Scheduled) {
        // its time has come, and no reaper has promoted it
        bench.execute("UPDATE jobqueue.scheduled SET run_at = jobqueue.now() - interval '1 second'").await;
    }
    if has(Pending) {
        bench.execute("UPDATE jobqueue.scheduled SET pending = 2").await;
    }
    surround(bench, causes).await;
    id
}

/// Plants those causes that are not about the job itself.
async fn surround(bench: &Bench, causes: &[Cause]) {
    let has = |cause| causes.contains(&cause);
    if has(Behind) {
        // of another kind: those of a paused kind are not ahead
        let ahead = JobDraft { kind: "other".into(), priority: Some(5), ..draft() };
        bench.submit(vec![ahead; 3]).await;
    }
    if has(CensusOld) {
        bench
            .execute("UPDATE jobqueue.census_state SET taken_at = jobqueue.now() - interval '5 minutes'")
            .await;
    }
    if has(Paused) {
        bench.store.queues().pause(&"default".parse().unwrap()).await.unwrap();
    }
    if has(KindPaused) {
        let paused = bench.store.kinds().pause(&draft().kind.parse().unwrap()).await.unwrap();
        assert_eq!(paused, KindChanged::Done);
    }
    if has(NoWorker) {
        let draining = WorkerState { draining: true, ..WorkerState::default() };
        bench.store.heartbeat(bench.worker, MINUTE, &draining, &HeldLeases::default()).await.unwrap();
    }
    if has(WorkersPaused) {
        bench.execute("UPDATE jobqueue.worker SET paused = true").await;
    }
    if has(Busy) {
        let busy = JobDraft { kind: "busy".into(), queue: Some("busy".into()), ..draft() };
        bench.submit(vec![busy; 4]).await;
        let request = request(Some(bench.worker), &["busy"], 4);
        assert_eq!(bench.store.lease(&request).await.unwrap().len(), 4, "its slots");
    }
    if has(ReadOnly) {
        bench
            .execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", bench.db.name()))
            .await;
    }
}

/// Makes the database and the names accept jobs again.
async fn resolve_around(bench: &Bench, causes: &[Cause]) {
    let has = |cause| causes.contains(&cause);
    if has(ReadOnly) {
        let reset = format!("ALTER DATABASE {} RESET default_transaction_read_only", bench.db.name());
        let sql = format!("BEGIN READ WRITE; {reset}; COMMIT");
        bench.db.execute(&sql).await;
    }
    if has(Paused) {
        bench.store.queues().resume(&"default".parse().unwrap()).await.unwrap();
    }
    if has(KindPaused) {
        bench.store.kinds().resume(&draft().kind.parse().unwrap()).await.unwrap();
    }
}

/// Resolves the causes and leases the job.
async fn resolve(bench: &Bench, id: JobId, causes: &[Cause]) {
    resolve_around(bench, causes).await;
    bench
        .execute(
            "UPDATE jobqueue.scheduled SET pending = NULL, run_at = jobqueue.now() - interval '1 second'",
        )
        .await;
    bench.store.promote_due(100).await.unwrap();
    let worker = WorkerId::from_uuid(Uuid::from_u128(99));
    bench.register(worker).await;
    let leased = bench.store.lease(&request(Some(worker), &["default"], 10)).await.unwrap();
    let found = leased.iter().position(|leased| leased.job.id == id);
    assert_eq!(found, Some(if causes.contains(&Behind) { 3 } else { 0 }), "{causes:?}");
    assert_eq!(explained(&bench.store, id).await.verdict(), "running");
}

async fn check(causes: &[Cause]) {
    let bench = Bench::new().await;
    let id = plant(&bench, causes).await;
    // new sessions, for the setting of the database
    let fresh = production_at(bench.db.url(), jobqueue_store::Pooler::None, 1);
    let mut expected: Vec<&str> = causes.iter().map(|cause| cause.code()).collect();
    expected.sort_by_key(|code| ALL.iter().position(|cause| cause.code() == *code));
    let explanation = explained(&fresh, id).await;
    assert_eq!(codes(&explanation), expected, "{causes:?}: {explanation:?}");
    resolve(&bench, id, causes).await;
}

#[tokio::test]
async fn each_cause_alone_is_named_and_the_job_starts_without_it() {
    for cause in ALL {
        check(&[cause]).await;
    }
}

#[tokio::test]
async fn each_pair_of_causes_is_named_in_its_order() {
    for (n, first) in ALL.into_iter().enumerate() {
        for second in ALL.into_iter().skip(n + 1).filter(|second| !first.excludes(*second)) {
            check(&[first, second]).await;
        }
    }
}

#[tokio::test]
async fn a_job_that_nothing_holds_can_start() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    assert_eq!(explained(&bench.store, id).await, Explanation::CanStart, "without a reaper it can start too");
    let leased = bench.lease_one().await;
    let Explanation::Running(run) = explained(&bench.store, id).await else { panic!("it runs") };
    assert_eq!(
        (run.attempt, run.worker_id, run.worker_name.as_deref()),
        (1, Some(bench.worker), Some("bench"))
    );
    assert!(run.lease_expires_at > run.since);
    bench.end(leased, Outcome::Completed(None)).await;
    let Explanation::Ended { status, at } = explained(&bench.store, id).await else { panic!("it has ended") };
    assert_eq!((status, Some(at)), (Status::Completed, bench.record(id).await.finished_at));
    assert_eq!(bench.store.explain_facts(JobId::from_ticks(1 << 50, 0)).await.unwrap(), None);
}

#[tokio::test]
async fn jobs_ahead_are_counted_as_a_lease_takes_them() {
    let bench = Bench::new().await;
    let high = |n| vec![JobDraft { priority: Some(5), ..draft() }; n];
    bench.add_many(2).await;
    let id = bench.add(draft()).await;
    let ahead = async || bench.store.explain_facts(id).await.unwrap().unwrap().ahead;
    bench.add_many(3).await;
    bench
        .submit(vec![
            JobDraft { priority: Some(-5), ..draft() },
            JobDraft { queue: Some("q".into()), ..draft() },
        ])
        .await;
    assert_eq!(
        (ahead().await.jobs, ahead().await.exact),
        (2, true),
        "younger, lower and other ones are not ahead"
    );
    bench.submit(high(998)).await;
    assert_eq!((ahead().await.jobs, ahead().await.exact), (1000, true));
    bench.submit(high(1)).await;
    assert_eq!((ahead().await.jobs, ahead().await.exact), (1000, false));
}

#[tokio::test]
async fn only_workers_that_lease_the_kind_count_and_only_their_kinds_are_ahead() {
    let bench = Bench::new().await;
    bench.store.unregister_worker(bench.worker).await.unwrap();
    let of_kinds = |n: u128, kinds: &[&str]| WorkerEntry {
        name: format!("w{n}"),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        ..entry(WorkerId::from_uuid(Uuid::from_u128(n)))
    };
    bench.submit(vec![JobDraft { kind: "other".into(), ..draft() }; 2]).await;
    bench.add(draft()).await;
    let id = bench.add(draft()).await;
    bench.store.register_worker(&of_kinds(1, &["other"])).await.unwrap();
    let facts = bench.store.explain_facts(id).await.unwrap().unwrap();
    assert_eq!((facts.workers.of_queue, facts.workers.serving, facts.ahead.jobs), (1, 0, 3));
    bench.store.register_worker(&of_kinds(2, &["noop", "unknown"])).await.unwrap();
    let facts = bench.store.explain_facts(id).await.unwrap().unwrap();
    assert_eq!((facts.workers.of_queue, facts.workers.serving, facts.ahead.jobs), (2, 1, 1));
    let remote = RemoteWorker {
        name: "far".parse().unwrap(),
        queues: vec!["default".parse().unwrap()],
        kinds: vec![],
    };
    bench.store.register_remote_workers(&[remote]).await.unwrap();
    let facts = bench.store.explain_facts(id).await.unwrap().unwrap();
    assert_eq!(
        (facts.workers.serving, facts.workers.has_room, facts.ahead.jobs),
        (2, true, 3),
        "it leases every kind"
    );
}

#[tokio::test]
async fn the_worker_that_last_leased_the_job_is_named() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    bench.pass(Duration::from_mins(30));
    let Explanation::Waits(reasons) = explained(&bench.store, id).await else { panic!("no worker is alive") };
    let [Reason::NoWorker { last_worker, last_seen_at, queue_workers: 0, .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!(last_worker.as_deref(), Some("bench"));
    assert!(last_seen_at.is_some());
}
