//! Random interleavings of all verbs by several concurrent actors on one database, checked by the checker. The seed is
//! printed. It determines what each actor does, but not the interleaving.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{
    EditDraft, JobDraft, JobEdit, JobId, JobRecord, Json, Limits, OnConflict, Outcome, RetryPolicy,
    UniqueScope, WorkerId, settle,
};
use jobqueue_store::{
    Accepted, AttemptEnd, Cancelled, Deleted, Edited, HeldLeases, LeaseRequest, Leased, Pooler, RemoteWorker,
    Replaced, Retried, Settled, Store, StoreError, WorkerState,
};
use jobqueue_testkit::TestDb;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bench::{boom, draft, entry, json, production, request, served, start, submission, twin};
use crate::checker::{Ended, History, check_snapshot};

/// How long the actors run.
const RUN_TIME: Duration = Duration::from_secs(8);

/// The state that all actors share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) pool: PgPool,
    pub(crate) history: Arc<History>,
    pub(crate) until: Instant,
    /// Late settles use the token of the current lease, which simulates a store that does not check tokens.
    pub(crate) tokens_leak: bool,
}

impl World {
    pub(crate) fn new(db: &TestDb, run_time: Duration) -> Self {
        Self {
            store: production(db, Pooler::None, 8),
            pool: db.pool().clone(),
            history: Arc::default(),
            until: Instant::now() + run_time,
            tokens_leak: false,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        Instant::now() < self.until
    }

    /// An error is a violation, because no call of the actors may fail.
    fn expect_ok<T: Default>(&self, verb: &str, answer: Result<T, StoreError>) -> T {
        answer.unwrap_or_else(|error| {
            self.history.broken(vec![format!("{verb} failed: {error}")]);
            T::default()
        })
    }

    /// Runs all actors concurrently for the given time; returns the violations.
    pub(crate) async fn run(self, seed: u64) -> Vec<String> {
        eprintln!("seed {seed}");
        let mut actors: Vec<JoinHandle<()>> = Vec::new();
        for n in 0..3 {
            let dice = |actor: u64| StdRng::seed_from_u64(seed ^ (actor << 32) ^ n);
            actors.push(start(submitter(self.clone(), dice(1))));
            actors.push(start(worker(self.clone(), dice(2))));
            if n < 2 {
                actors.push(start(operator(self.clone(), dice(3))));
                actors.push(start(reaper(self.clone())));
            }
        }
        actors.push(start(check_snapshots(self.clone())));
        for actor in actors {
            actor.await.unwrap();
        }
        self.history.broken(check_snapshot(&self.pool).await);
        self.history.verdict(&self.pool).await
    }
}

fn random_draft(dice: &mut StdRng) -> JobDraft {
    let unique = dice.random_bool(0.4).then(|| UniqueDraft {
        key: format!("k{}", dice.random_range(0..6)),
        on_conflict: [OnConflict::Return, OnConflict::Replace, OnConflict::Reject][dice.random_range(0..3)],
        statuses: dice.random_bool(0.2).then(|| jobqueue_core::Status::ALL.to_vec()),
        scope: [UniqueScope::Kind, UniqueScope::Queue][dice.random_range(0..2)],
    });
    JobDraft {
        queue: Some(["a", "b"][dice.random_range(0..2)].to_owned()),
        kind: ["noop", "other"][dice.random_range(0..2)].to_owned(),
        priority: Some(dice.random_range(0..2)),
        max_attempts: Some(dice.random_range(1..4)),
        delay_seconds: dice.random_bool(0.3).then(|| dice.random_range(0.0..0.2)),
        payload: Some(json("0")),
        retry: Some(RetryPolicy::Fixed { delay_seconds: dice.random_range(0.0..0.05) }),
        unique,
        ..draft()
    }
}

async fn submitter(world: World, mut dice: StdRng) {
    while world.is_running() {
        let mut requests = Vec::new();
        for _ in 0..dice.random_range(1..4) {
            let drafts = (0..dice.random_range(1..6)).map(|_| random_draft(&mut dice)).collect();
            requests.push(jobqueue_store::Submission { atomic: dice.random_bool(0.3), ..submission(drafts) });
        }
        let answers = world.expect_ok("enqueue", world.store.enqueue(&requests).await);
        for (request, answer) in requests.iter().zip(answers) {
            for (job, accepted) in request.jobs.iter().zip(served(answer)) {
                if let Accepted::Created { id, .. } = accepted {
                    world.history.submitted(id, job.max_attempts);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..20))).await;
    }
}

async fn worker(world: World, mut dice: StdRng) {
    let me = WorkerId::from_uuid(Uuid::from_u128(dice.random()));
    world.store.register_worker(&entry(me)).await.unwrap();
    let name = format!("remote-{me}").parse().unwrap();
    let other = RemoteWorker { name, queues: vec![], kinds: vec![] };
    world.store.register_remote_workers(std::slice::from_ref(&other)).await.unwrap();
    let mut known_up_to = 0;
    let mut late_leases: Vec<Leased> = Vec::new();
    // leased in the same call as the last settle, as workers do
    let mut carried: (bool, Vec<Leased>) = (false, Vec::new());
    while world.is_running() {
        let remote = dice.random_bool(0.3);
        let duration =
            if remote { Duration::from_millis(dice.random_range(1..60)) } else { Duration::from_mins(1) };
        let request = LeaseRequest {
            duration,
            ..request(Some(if remote { other.id() } else { me }), &["a", "b", "a"], dice.random_range(1..100))
        };
        let (was_remote, leased) = if carried.1.is_empty() {
            let before = world.history.tick();
            let mut leased = world.expect_ok("lease", world.store.lease(&request).await);
            world.history.granted(&leased, before);
            if dice.random_bool(0.1) {
                // the reply was lost
                leased.clear();
            }
            (remote, leased)
        } else {
            std::mem::take(&mut carried)
        };
        let local = leased.iter().filter(|_| !was_remote);
        let held = HeldLeases { epochs: local.map(|one| one.lease.epoch()).collect(), known_up_to };
        let beat = world.store.heartbeat(me, Duration::from_mins(1), &WorkerState::default(), &held).await;
        known_up_to = world.expect_ok("heartbeat", beat).newest_epoch;
        let mut ends = Vec::new();
        for one in leased {
            if dice.random_bool(0.2) {
                late_leases.push(twin(&one));
            }
            if !was_remote || dice.random_bool(0.7) {
                ends.push((one, random_outcome(&mut dice)));
            }
        }
        while ends.len() > 3 && dice.random_bool(0.5) {
            let rest = ends.split_off(ends.len() / 2);
            end_all(&world, rest, None).await;
        }
        let and_lease = dice.random_bool(0.5).then_some(&request);
        carried = (remote, end_all(&world, ends, and_lease).await);
        if dice.random_bool(0.5) {
            let late = late_leases.drain(..).map(|late| (late, random_outcome(&mut dice))).collect();
            end_all(&world, late, None).await;
        }
    }
    let rest = carried.1.into_iter().map(|one| (one, Outcome::Released)).collect();
    end_all(&world, rest, None).await;
}

fn random_outcome(dice: &mut StdRng) -> Outcome {
    match dice.random_range(0..10) {
        0..4 => Outcome::Completed(None),
        4..7 => Outcome::Failed { failure: boom(), retry_after: None },
        7 => Outcome::Discarded(boom()),
        8 => Outcome::Snoozed(Duration::from_secs(1)),
        _ => Outcome::Released,
    }
}

async fn end_all(
    world: &World,
    ends: Vec<(Leased, Outcome)>,
    and_lease: Option<&LeaseRequest>,
) -> Vec<Leased> {
    let mut sent = Vec::new();
    let mut calls = Vec::new();
    for (leased, outcome) in ends {
        let (job, epoch) = (leased.job.id, leased.lease.epoch());
        let released = matches!(outcome, Outcome::Snoozed(_) | Outcome::Released);
        let settlement = settle(&leased.job, outcome, 0.5);
        let lease = if world.tokens_leak {
            crate::mutants::current_lease(world, &leased.lease).await
        } else {
            leased.lease
        };
        sent.push((job, epoch, released));
        calls.push(AttemptEnd { lease, settlement, ran: None });
    }
    let before = world.history.tick();
    let (settled, leased) = match and_lease {
        Some(request) => {
            world.expect_ok("settle_and_lease", world.store.settle_and_lease(calls, request).await)
        }
        None => (world.expect_ok("settle", world.store.settle(calls).await), Vec::new()),
    };
    for ((job, epoch, released), settled) in sent.into_iter().zip(settled) {
        match settled {
            Settled::Applied(status) if status.is_final() => world.history.ended(job, epoch, Ended::Final),
            Settled::Applied(_) if released => world.history.ended(job, epoch, Ended::Released),
            Settled::Applied(_) => world.history.ended(job, epoch, Ended::Again),
            Settled::Stale => {}
        }
    }
    world.history.granted(&leased, before);
    leased
}

async fn operator(world: World, mut dice: StdRng) {
    while world.is_running() {
        let count = dice.random_range(1..8);
        let some: Vec<_> =
            (0..count).filter_map(|_| world.history.any(dice.random_range(0..1_000_000))).collect();
        match dice.random_range(0..5) {
            0..2 => edit_some(&world, &mut dice, &some).await,
            2 => delete_some(&world, &some).await,
            _ => {}
        }
        if dice.random_bool(0.5) {
            let mut cancelled = std::collections::HashSet::new();
            for (id, answer) in
                some.iter().zip(world.expect_ok("cancel", world.store.jobs().cancel(&some, &boom()).await))
            {
                match answer {
                    Cancelled::Now if cancelled.insert(*id) => world.history.cancelled(*id),
                    Cancelled::Unknown if !world.history.is_deleted(*id) => {
                        world.history.broken(vec![format!("I1 cancel does not know {id}")]);
                    }
                    _ => {}
                }
            }
        } else {
            let mut once = some.clone();
            once.sort_unstable();
            once.dedup();
            // the retry is recorded before the job can be leased again
            for id in &once {
                world.history.retried(*id);
            }
            if let Some(id) = once.first().filter(|_| dice.random_bool(0.3)) {
                replace(&world, *id).await;
            }
            let answers = world.expect_ok("retry", world.store.jobs().retry(&once).await);
            for (id, _) in once.iter().zip(answers).filter(|(_, answer)| *answer == Retried::Unknown) {
                if !world.history.is_deleted(*id) {
                    world.history.broken(vec![format!("I1 retry does not know {id}")]);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..30))).await;
    }
}

/// Retries a job as a new one, if it is a dead letter.
async fn replace(world: &World, id: JobId) {
    let payload = Json::parse("0".to_owned()).unwrap();
    match world.store.dead_letters().replace(id, payload, &Limits::default()).await {
        Ok(Replaced::By { id, .. }) => {
            let stored = world.store.job(id).await.unwrap().expect("a committed job");
            world.history.submitted(id, stored.job.max_attempts);
        }
        Ok(_) => {}
        Err(error) => world.history.broken(vec![format!("replace failed: {error}")]),
    }
}

/// Edits what is in a body, in a place and in a side table. The payload is a number that counts up; a grant must have the newest one.
async fn edit_some(world: &World, dice: &mut StdRng, some: &[JobId]) {
    for id in some {
        let number = world.history.tick();
        let change = EditDraft {
            queue: dice.random_bool(0.5).then(|| Some(["a", "b"][dice.random_range(0..2)].to_owned())),
            priority: dice.random_bool(0.5).then(|| Some(dice.random_range(0..2))),
            delay_seconds: dice.random_bool(0.3).then(|| dice.random_range(0.0..0.1)),
            max_snoozes: dice.random_bool(0.2).then(|| Some(dice.random_range(5..9))),
            payload: Some(Some(json(&number.to_string()))),
            ..EditDraft::default()
        };
        let decide = |record: &JobRecord| JobEdit::parse(record, change.clone(), &Limits::default());
        match world.store.jobs().edit(*id, decide).await {
            Ok(Edited::Job(_, true)) => world.history.edited(*id, number),
            Ok(Edited::Unknown) if !world.history.is_deleted(*id) => {
                world.history.broken(vec![format!("I1 edit does not know {id}")]);
            }
            Ok(Edited::Job(_, false) | Edited::Refused(_)) => {
                world.history.broken(vec![format!("an edit of {id} was not made")]);
            }
            Ok(Edited::NotWaiting(_) | Edited::KeyTaken(_) | Edited::Unknown) => {}
            Err(error) => world.history.broken(vec![format!("edit failed: {error}")]),
        }
    }
}

async fn delete_some(world: &World, some: &[JobId]) {
    // a deletion is recorded before it, because others must not miss the job before they may
    let mut once = some.to_vec();
    once.truncate(1);
    for id in &once {
        world.history.deleting(*id);
    }
    for (id, answer) in once.iter().zip(world.expect_ok("delete", world.store.jobs().delete(&once).await)) {
        if answer == Deleted::Now {
            world.history.deleted(*id);
        }
    }
}

async fn reaper(world: World) {
    while world.is_running() {
        world.expect_ok("promote", world.store.promote_due(20).await);
        world.expect_ok("reclaim", world.store.reclaim(Duration::ZERO, 5).await);
        world.expect_ok("expire", world.store.expire_due(10).await);
        world.expect_ok("census", world.store.take_census(200).await);
        world.expect_ok("count of dead letters", world.store.upkeep().count_dead_letters().await);
        world.expect_ok("pass over dead letters", world.store.upkeep().compare_dead_letters().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Checks snapshots while the actors run.
async fn check_snapshots(world: World) {
    while world.is_running() {
        world.history.broken(check_snapshot(&world.pool).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// After the actors have stopped, runs all jobs to their end.
async fn drain(world: &World) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let worker = WorkerId::from_uuid(Uuid::from_u128(7));
    world.store.register_worker(&entry(worker)).await.unwrap();
    let live = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'scheduled', 'running')";
    while sqlx::query_scalar::<_, i64>(live).fetch_one(&world.pool).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "I6 what is left comes to an end");
        world.store.promote_due(1000).await.unwrap();
        // all workers of the run count as dead by now
        sqlx::query("UPDATE jobqueue.worker SET stale_ms = 0").execute(&world.pool).await.unwrap();
        world.store.reclaim(Duration::ZERO, 1000).await.unwrap();
        let before = world.history.tick();
        let leased = world.store.lease(&request(Some(worker), &["a", "b"], 1000)).await.unwrap();
        world.history.granted(&leased, before);
        end_all(world, leased.into_iter().map(|one| (one, Outcome::Completed(None))).collect(), None).await;
    }
    world.history.broken(check_snapshot(&world.pool).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_interleaving_keeps_the_invariants() {
    let db = TestDb::new().await;
    let world = World::new(&db, RUN_TIME);
    let broken = world.clone().run(rand::random()).await;
    assert_eq!(broken, Vec::<String>::new());
    drain(&world).await;
    assert_eq!(world.history.verdict(&world.pool).await, Vec::<String>::new());
    let ran: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE status = 'completed'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(ran > 20, "they did something: {ran}");
}
