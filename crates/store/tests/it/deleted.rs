//! Deletion of queues, by an operator and by expiry: what is gone, what stays, and that no job is ever lost with a queue.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::{JobDraft, JobId, Outcome, QueueName, Status, WorkerId};
use jobqueue_store::{
    JobFilter, Leased, Pooler, QueueCensus, QueueDeletion, QueueRecord, QueueSettings, RemoteWorker,
    Retention, Settled, Store, WorkerEntry,
};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, created, delayed, draft, end, entry, failed, production, request};
use crate::bench::{served, start, submission};

/// Retention of unused queues in these tests.
const UNUSED: Duration = Duration::from_hours(30 * 24);
/// Jobs that were created and not forgotten, by the counters, less those that there are.
const DIFFERENCE: &str =
    "SELECT (SELECT sum(created - pruned) FROM (SELECT created, pruned FROM jobqueue.tally UNION ALL
                          SELECT created, pruned FROM jobqueue.counter WHERE queue_id <> 0) u)::bigint
                          - (SELECT count(*) FROM jobqueue.jobs)";

fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

fn to(queue: &str) -> JobDraft {
    JobDraft { queue: Some(queue.into()), ..draft() }
}

impl Bench {
    async fn delete(&self, queue: &str) -> QueueDeletion {
        self.store.queues().delete(&name(queue)).await.unwrap()
    }

    async fn queue(&self, queue: &str) -> Option<QueueRecord> {
        self.store.queues().get(&name(queue)).await.unwrap()
    }

    async fn listed(&self) -> Vec<String> {
        self.store
            .queues()
            .list(None, 1000)
            .await
            .unwrap()
            .iter()
            .map(|queue| queue.name.to_string())
            .collect()
    }

    async fn take_census(&self) {
        assert!(self.store.take_census(10).await.unwrap());
    }

    async fn counted_queue(&self, queue: &str) -> Option<QueueCensus> {
        self.store.census().await.unwrap().queues.into_iter().find(|counted| counted.queue == queue)
    }

    async fn lease_from(&self, queue: &str) -> Vec<Leased> {
        self.store.lease(&request(Some(self.worker), &[queue], 10)).await.unwrap()
    }

    async fn run_one(&self, queue: &str, outcome: Outcome) -> JobId {
        let id = self.add(JobDraft { max_attempts: Some(1), ..to(queue) }).await;
        let leased = self.lease_from(queue).await.pop().unwrap();
        assert_eq!(leased.job.id, id);
        self.end(leased, outcome).await;
        id
    }
}

#[tokio::test]
async fn a_deleted_queue_is_gone_its_final_jobs_stay_and_a_job_makes_it_anew() {
    let bench = Bench::new().await;
    bench.add(to("other")).await;
    let (done, dead) =
        (bench.run_one("q", Outcome::Completed(None)).await, bench.run_one("q", failed()).await);
    bench.take_census().await;
    assert!(bench.store.queues().pause(&name("q")).await.unwrap());
    let settings = QueueSettings { completed_retention: Some(Some(DAY)), ..QueueSettings::default() };
    assert!(bench.store.queues().configure(&name("q"), settings).await.unwrap());

    assert_eq!(bench.delete("q").await, QueueDeletion::Now);
    for _ in 0..2 {
        assert_eq!(bench.queue("q").await, None);
        assert_eq!(bench.listed().await, ["other"]);
        assert_eq!(bench.counted_queue("q").await, None);
        assert_eq!(bench.delete("q").await, QueueDeletion::Unknown);
        assert!(!bench.store.queues().pause(&name("q")).await.unwrap());
        assert!(!bench.store.queues().configure(&name("q"), settings).await.unwrap());
        bench.take_census().await;
    }
    let counted = "SELECT count(*) FROM jobqueue.census c JOIN jobqueue.queue q ON q.id = c.queue_id WHERE q.name = 'q'";
    assert_eq!(bench.count(counted).await, 0);
    for (id, status) in [(done, Status::Completed), (dead, Status::Failed)] {
        let record = bench.record(id).await;
        assert_eq!((record.job.queue.as_str(), record.status), ("q", status));
    }
    let filter = JobFilter { queues: vec![name("q")], ..JobFilter::default() };
    assert_eq!(bench.store.list(&filter, None, 10).await.unwrap().jobs.len(), 2);
    assert_eq!(bench.count(DIFFERENCE).await, 0);

    // from a process that has cached the number, and before any census
    let again = bench.add(to("q")).await;
    let queue = bench.queue("q").await.unwrap();
    assert_eq!((queue.queued, queue.paused_at, queue.completed_retention), (1, None, None));
    assert_eq!(bench.listed().await, ["other", "q"]);
    for _ in 0..2 {
        let counted = bench.counted_queue("q").await.unwrap();
        assert_eq!((counted.created, counted.completed, counted.failed), (1, 0, 0));
        bench.take_census().await;
    }
    assert_eq!(bench.counted_queue("q").await.unwrap().queued, 1);
    assert_eq!(bench.lease_from("q").await[0].job.id, again);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.queue WHERE deleted_at IS NOT NULL").await, 0);
    assert_eq!(bench.count(DIFFERENCE).await, 0);
}

#[tokio::test]
async fn a_queue_with_jobs_that_wait_or_run_is_not_deleted() {
    let bench = Bench::new().await;
    bench.add(JobDraft { queue: Some("later".into()), ..delayed(600.0) }).await;
    bench.add(JobDraft { priority: Some(7), ..to("now") }).await;
    bench.add(to("runs")).await;
    let mut running = bench.lease_from("runs").await;
    for _ in 0..2 {
        for queue in ["later", "now", "runs"] {
            assert_eq!(bench.delete(queue).await, QueueDeletion::NotEmpty, "{queue}");
            assert!(bench.queue(queue).await.is_some());
        }
        bench.take_census().await;
    }
    bench.end(running.pop().unwrap(), Outcome::Completed(None)).await;
    assert_eq!(bench.delete("runs").await, QueueDeletion::Now);
    assert_eq!(bench.store.queues().purge(&name("later"), None, 10).await.unwrap(), 1);
    assert_eq!(bench.delete("later").await, QueueDeletion::Now);
    bench.take_census().await;
    assert_eq!(bench.listed().await, ["now"]);
    assert_eq!(bench.count(DIFFERENCE).await, 0);
}

#[tokio::test]
async fn a_transaction_that_knew_the_queue_before_its_deletion_loses_no_job() {
    for census_between in [false, true] {
        let bench = Bench::new().await;
        bench.run_one("q", Outcome::Completed(None)).await;
        let mut transaction = bench.pool.begin().await.unwrap();
        let id: Uuid = sqlx::query_scalar("SELECT jobqueue.enqueue('noop', queue => 'q')")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(bench.delete("q").await, QueueDeletion::Now, "a job that is not committed is no job");
        if census_between {
            bench.take_census().await;
        }
        assert_eq!(bench.queue("q").await, None);
        transaction.commit().await.unwrap();
        assert_eq!(bench.queue("q").await.unwrap().queued, 1);
        if census_between {
            bench.take_census().await;
            assert_eq!(bench.counted_queue("q").await.unwrap().queued, 1);
        }
        let leased = bench.lease_from("q").await.pop().unwrap();
        assert_eq!(leased.job.id, JobId::from_uuid(id));
        assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
        bench.take_census().await;
        let counted = bench.counted_queue("q").await.unwrap();
        assert_eq!((counted.created, counted.completed), (1, 1));
        assert_eq!(bench.count(DIFFERENCE).await, 0);
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_brings_its_queue_back() {
    let bench = Bench::new().await;
    let dead = bench.run_one("q", failed()).await;
    assert_eq!(bench.delete("q").await, QueueDeletion::Now);
    bench.store.jobs().retry(&[dead]).await.unwrap();
    assert_eq!(bench.queue("q").await.unwrap().queued, 1);
    bench.take_census().await;
    assert_eq!(bench.lease_from("q").await[0].job.id, dead);
}

#[tokio::test]
async fn an_operator_creates_a_deleted_queue_again() {
    let bench = Bench::new().await;
    bench.store.queues().create(&name("q")).await.unwrap();
    assert_eq!(bench.delete("q").await, QueueDeletion::Now);
    bench.store.queues().create(&name("q")).await.unwrap();
    assert!(bench.store.queues().pause(&name("q")).await.unwrap());
    assert!(bench.queue("q").await.unwrap().paused_at.is_some());
}

/// Submitters, workers, deletions and censuses at once: every job runs exactly once.
#[tokio::test]
async fn no_job_is_lost_or_run_twice_while_its_queue_is_deleted_again_and_again() {
    const JOBS: usize = 300;
    let bench = Bench::new().await;
    let stores: Vec<Store> = (0..3).map(|_| production(&bench.db, Pooler::None, 2)).collect();
    let submitters: Vec<_> = stores
        .iter()
        .map(|store| {
            let store = store.clone();
            start(async move {
                let mut ids = Vec::new();
                for _ in 0..JOBS {
                    let mut answers = store.enqueue(&[submission(vec![to("q")])]).await.unwrap();
                    ids.extend(served(answers.pop().unwrap()).into_iter().map(created));
                }
                ids
            })
        })
        .collect();
    let (mut ran, mut deleted, mut submitted) = (Vec::new(), 0, BTreeSet::new());
    let mut submitters = Some(submitters);
    let mut turn = 0;
    while ran.len() < 3 * JOBS {
        turn += 1;
        for leased in bench.lease_from("q").await {
            ran.push(leased.job.id);
            assert!(matches!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(_)));
        }
        deleted += u32::from(bench.delete("q").await == QueueDeletion::Now);
        if turn % 5 == 0 {
            bench.take_census().await;
        }
        if submitters.as_ref().is_some_and(|all| all.iter().all(tokio::task::JoinHandle::is_finished)) {
            for one in submitters.take().unwrap() {
                submitted.extend(one.await.unwrap());
            }
        }
        assert!(turn < 100_000, "{} of {} jobs were found", ran.len(), 3 * JOBS);
    }
    for one in submitters.into_iter().flatten() {
        submitted.extend(one.await.unwrap());
    }
    assert_eq!(ran.iter().copied().collect::<BTreeSet<_>>(), submitted);
    assert_eq!(ran.len(), submitted.len(), "none ran twice");
    assert!(deleted > 0, "the control: it was deleted meanwhile");
    bench.take_census().await;
    assert_eq!(bench.count(DIFFERENCE).await, 0);
}

#[tokio::test]
async fn queues_that_nothing_uses_expire_and_no_others() {
    let mut bench = Bench::new().await;
    for queue in ["unused", "paused", "kept", "waits", "watched"] {
        bench.store.queues().create(&name(queue)).await.unwrap();
    }
    bench.store.queues().pause(&name("paused")).await.unwrap();
    let settings = QueueSettings { failed_retention: Some(Some(DAY)), ..QueueSettings::default() };
    bench.store.queues().configure(&name("kept"), settings).await.unwrap();
    bench.add(JobDraft { delay_seconds: Some(90.0 * 86400.0), ..to("waits") }).await;
    bench.run_one("done", Outcome::Completed(None)).await;
    bench.take_census().await;
    let expire = async |bench: &Bench| bench.store.upkeep().expire_queues(UNUSED, 100).await.unwrap();
    assert_eq!(expire(&bench).await, 0);
    bench.pass(29 * DAY);
    bench.take_census().await;
    assert_eq!(expire(&bench).await, 0, "not yet");
    // activity later on; its last job is forgotten later still
    bench.run_one("recent", Outcome::Completed(None)).await;
    let watcher =
        WorkerEntry { queues: vec!["watched".into()], ..entry(WorkerId::from_uuid(Uuid::from_u128(2))) };
    bench.take_census().await;
    bench.pass(2 * DAY);
    bench.store.register_worker(&watcher).await.unwrap();
    bench.take_census().await;
    assert_eq!(expire(&bench).await, 1);
    assert_eq!(bench.listed().await, ["done", "kept", "paused", "recent", "waits", "watched"]);
    // a final job counts until it is forgotten, and that is activity too
    bench.store.upkeep().prune(Retention { completed: 7 * DAY, failed: 30 * DAY }).await.unwrap();
    bench.take_census().await;
    assert_eq!(expire(&bench).await, 0);
    bench.pass(31 * DAY);
    bench.store.register_worker(&watcher).await.unwrap();
    bench.take_census().await;
    assert_eq!(expire(&bench).await, 1);
    assert_eq!(bench.listed().await, ["kept", "paused", "recent", "waits", "watched"]);
    bench.pass(2 * MINUTE);
    assert_eq!(expire(&bench).await, 1, "its worker is dead");
    // what lost its setting starts anew
    bench.store.queues().resume(&name("paused")).await.unwrap();
    assert_eq!(expire(&bench).await, 0);
    // a job that no census has counted
    bench.pass(31 * DAY);
    bench.take_census().await;
    bench.add(to("paused")).await;
    assert_eq!(expire(&bench).await, 0);
    assert_eq!(bench.listed().await, ["kept", "paused", "recent", "waits"]);
    assert_eq!(bench.count(DIFFERENCE).await, 0);
}

#[tokio::test]
async fn a_queue_that_a_remote_worker_polls_does_not_expire() {
    let mut bench = Bench::new().await;
    bench.store.queues().create(&name("polled")).await.unwrap();
    bench.pass(31 * DAY);
    let worker = RemoteWorker { name: "w".parse().unwrap(), queues: vec![name("polled")], kinds: vec![] };
    bench.store.register_remote_workers(&[worker]).await.unwrap();
    bench.take_census().await;
    assert_eq!(bench.store.upkeep().expire_queues(UNUSED, 100).await.unwrap(), 0);
    bench.pass(2 * MINUTE);
    assert_eq!(bench.store.upkeep().expire_queues(UNUSED, 100).await.unwrap(), 1);
}

#[tokio::test]
async fn ten_thousand_unused_queues_expire_in_bounded_steps() {
    let mut bench = Bench::new().await;
    bench
        .execute("INSERT INTO jobqueue.queue (name) SELECT 'unused-' || n FROM generate_series(1, 10000) n")
        .await;
    bench.add(to("used")).await;
    bench.pass(40 * DAY);
    bench.take_census().await;
    let store = production(&bench.db, Pooler::Transaction, 2);
    assert_eq!(
        store.upkeep().expire_queues(UNUSED, 1000).await.unwrap(),
        0,
        "by the database's clock none is old"
    );
    for _ in 0..10 {
        assert_eq!(bench.store.upkeep().expire_queues(UNUSED, 1000).await.unwrap(), 1000);
    }
    assert_eq!(bench.store.upkeep().expire_queues(UNUSED, 1000).await.unwrap(), 0);
    assert_eq!(bench.listed().await, ["used"]);
    bench.take_census().await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.census").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.counter WHERE queue_id > 0").await, 1);
}

/// The rows of deleted queues and of their lanes stay. No listing, census, scrape, lease, submission or expiry reads them.
#[tokio::test]
async fn a_hundred_thousand_deleted_queues_cost_nothing() {
    let bench = Bench::new().await;
    bench
        .execute(
            "INSERT INTO jobqueue.queue (name, deleted_at) SELECT 'gone-' || n, now() FROM generate_series(1, 100000) n;
             INSERT INTO jobqueue.lane (queue_id, priority) SELECT id, 0 FROM jobqueue.queue;
             ANALYZE jobqueue.queue, jobqueue.lane",
        )
        .await;
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
                WHERE schemaname = 'jobqueue' AND relname IN ('queue', 'lane', 'census', 'counter')";
    for pooler in [Pooler::None, Pooler::Transaction] {
        let store = production(&bench.db, pooler, 2);
        let before = bench.counted(read).await;
        let mut answers = store.enqueue(&[submission(vec![to("q"), to("gone-5")])]).await.unwrap();
        assert_eq!(served(answers.pop().unwrap()).len(), 2);
        assert!(store.take_census(10).await.unwrap());
        let names = |queues: Vec<QueueRecord>| queues.into_iter().map(|queue| queue.name).collect::<Vec<_>>();
        assert_eq!(names(store.queues().list(None, 100).await.unwrap()), [name("gone-5"), name("q")]);
        assert_eq!(names(store.queues().list(Some(&name("gone-5")), 100).await.unwrap()), [name("q")]);
        assert_eq!(store.census().await.unwrap().queues.len(), 2);
        assert_eq!(store.upkeep().expire_queues(UNUSED, 100).await.unwrap(), 0);
        store.upkeep().prune(Retention { completed: DAY, failed: DAY }).await.unwrap();
        let leased = store.lease(&request(None, &["q", "gone-5", "gone-6"], 10)).await.unwrap();
        assert_eq!(leased.len(), 2);
        store
            .settle(leased.into_iter().map(|one| end(one, Outcome::Completed(None))).collect())
            .await
            .unwrap();
        assert!(store.take_census(10).await.unwrap());
        for queue in ["q", "gone-5"] {
            assert_eq!(store.queues().delete(&name(queue)).await.unwrap(), QueueDeletion::Now);
        }
        store.close().await;
        bench.end_sessions().await;
        let rows = bench.counted(read).await - before;
        assert!(rows < 500, "{rows} rows of names were read");
    }
}
