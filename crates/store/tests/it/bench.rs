//! The set-up of the store's tests: a new database, a store on it, its clock, and short functions for common calls.
//! Asserts only that calls succeed.

use std::time::Duration;

use jobqueue_core::{
    Failure, JobDraft, JobId, JobRecord, Json, Lease, Limits, NewJob, Outcome, Status, WorkerId, settle,
};
use jobqueue_store::{
    Accepted, Answer, AttemptEnd, Beat, HeldLeases, LeaseRequest, Leased, Pooler, Settled, Store,
    StoreOptions, Submission, WorkerEntry, WorkerState,
};
use jobqueue_testkit::{Clock, TestDb};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// A database of one test.
pub(crate) struct Bench {
    pub(crate) db: TestDb,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    /// A pool whose sessions use the clock, like the store's.
    pub(crate) pool: PgPool,
    pub(crate) worker: WorkerId,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let (db, clock) = (TestDb::new().await, Clock::new());
        let pool = db.pool_with_clock(&clock);
        let store = Store::from_pool(pool.clone());
        let worker = WorkerId::from_uuid(Uuid::from_u128(1));
        let bench = Self { db, clock, store, pool, worker };
        bench.register(worker).await;
        bench
    }

    /// Moves the clock forward, and replaces the store, because a store caches the time of its sessions.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.store = Store::from_pool(self.pool.clone());
    }

    pub(crate) async fn register(&self, worker: WorkerId) {
        self.store.register_worker(&entry(worker)).await.unwrap();
    }

    pub(crate) async fn add(&self, draft: JobDraft) -> JobId {
        created(self.submit(vec![draft]).await[0])
    }

    pub(crate) async fn add_many(&self, count: usize) -> Vec<JobId> {
        self.submit(vec![draft(); count]).await.into_iter().map(created).collect()
    }

    /// One request, not atomic.
    pub(crate) async fn submit(&self, drafts: Vec<JobDraft>) -> Vec<Accepted> {
        let mut answers = self.store.enqueue(&[submission(drafts)]).await.unwrap();
        served(answers.pop().unwrap())
    }

    /// Leases up to `limit` jobs of the queue `default` for the bench's worker.
    pub(crate) async fn lease(&self, limit: usize) -> Vec<Leased> {
        self.store.lease(&self.request(limit)).await.unwrap()
    }

    pub(crate) async fn lease_one(&self) -> Leased {
        let mut leased = self.lease(1).await;
        leased.pop().expect("a job to lease")
    }

    pub(crate) fn request(&self, limit: usize) -> LeaseRequest {
        request(Some(self.worker), &["default"], limit)
    }

    pub(crate) async fn end(&self, leased: Leased, outcome: Outcome) -> Settled {
        self.store.settle(vec![end(leased, outcome)]).await.unwrap()[0]
    }

    /// A heartbeat of the bench's worker, which holds all its leases.
    pub(crate) async fn beat(&self) -> Beat {
        self.beat_holding(self.held().await).await
    }

    /// A heartbeat that renews leases of five minutes.
    pub(crate) async fn beat_holding(&self, held: HeldLeases) -> Beat {
        self.store.heartbeat(self.worker, 5 * MINUTE, &WorkerState::default(), &held).await.unwrap()
    }

    /// All leases of the bench's worker, as known up to no epoch.
    pub(crate) async fn held(&self) -> HeldLeases {
        let mine = "SELECT epoch FROM jobqueue.lease WHERE worker_id = $1 ORDER BY epoch";
        let epochs =
            sqlx::query_scalar(mine).bind(self.worker.as_uuid()).fetch_all(&self.pool).await.unwrap();
        HeldLeases { epochs, known_up_to: 0 }
    }

    /// Enqueues, leases and completes one job.
    pub(crate) async fn done(&self, draft: JobDraft) -> JobId {
        let id = self.add(draft).await;
        let leased = self.lease_one().await;
        assert_eq!(leased.job.id, id);
        assert_eq!(self.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
        id
    }

    /// Enqueues and leases one job and fails it without a retry.
    pub(crate) async fn dead(&self, draft: JobDraft) -> JobId {
        let id = self.add(draft).await;
        let leased = self.lease_one().await;
        assert_eq!(leased.job.id, id);
        assert_eq!(self.end(leased, Outcome::Discarded(boom())).await, Settled::Applied(Status::Failed));
        id
    }

    pub(crate) async fn record(&self, id: JobId) -> JobRecord {
        self.store.job(id).await.unwrap().expect("the job is known")
    }

    pub(crate) async fn status(&self, id: JobId) -> Status {
        self.record(id).await.status
    }

    /// The number of the final status of a job, which may be unreadable otherwise.
    pub(crate) async fn status_number(&self, id: JobId) -> i64 {
        self.count(&format!("SELECT status::bigint FROM jobqueue.outcome WHERE job_id = '{id}'")).await
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// Ends the sessions of other stores and waits until they have ended, because a session publishes its counts at the latest when it ends.
    pub(crate) async fn end_sessions(&self) {
        // false for a session that has ended meanwhile
        let end = "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'jobqueue-test'";
        self.count(end).await;
    }

    /// Like `count`, for the statistics of Postgres. A session publishes its statistics only some time later, so this
    /// flushes all sessions of the pool first. It acquires as many as the pool may have, because some may be returning
    /// to the pool.
    pub(crate) async fn counted(&self, sql: &str) -> i64 {
        let mut sessions = Vec::new();
        for _ in 0..self.pool.options().get_max_connections() {
            sessions.push(self.pool.acquire().await.unwrap());
        }
        for session in &mut sessions {
            sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut **session).await.unwrap();
        }
        drop(sessions);
        self.count(sql).await
    }
}

/// A separate store, with the options of production.
pub(crate) fn production(db: &TestDb, pooler: Pooler, max_connections: u32) -> Store {
    production_at(db.url(), pooler, max_connections)
}

pub(crate) fn production_at(url: &str, pooler: Pooler, max_connections: u32) -> Store {
    Store::connect_lazy(&StoreOptions {
        url: url.into(),
        application_name: "jobqueue-test".to_owned(),
        max_connections,
        connect_timeout: Duration::from_secs(20),
        pooler,
    })
    .unwrap()
}

pub(crate) fn entry(id: WorkerId) -> WorkerEntry {
    WorkerEntry {
        id,
        name: "bench".into(),
        queues: vec!["default".into()],
        kinds: vec![],
        slots: 4,
        version: "0".into(),
        host: "host".to_owned(),
        paused: false,
        stale_after: Duration::from_secs(30),
    }
}

pub(crate) fn draft() -> JobDraft {
    JobDraft { kind: "noop".into(), ..JobDraft::default() }
}

pub(crate) fn delayed(seconds: f64) -> JobDraft {
    JobDraft { delay_seconds: Some(seconds), ..draft() }
}

pub(crate) fn parse(draft: JobDraft) -> NewJob {
    NewJob::parse(draft, &Limits::default()).unwrap()
}

pub(crate) fn submission(drafts: Vec<JobDraft>) -> Submission {
    Submission { jobs: drafts.into_iter().map(parse).collect(), atomic: false, idempotency: None }
}

pub(crate) fn served(answer: Answer) -> Vec<Accepted> {
    match answer {
        Answer::Served { jobs, .. } => jobs,
        Answer::KeyReused => panic!("the key belongs to another request"),
    }
}

pub(crate) fn created(accepted: Accepted) -> JobId {
    match accepted {
        Accepted::Created { id, .. } => id,
        other => panic!("not created: {other:?}"),
    }
}

pub(crate) fn request(worker_id: Option<WorkerId>, queues: &[&str], limit: usize) -> LeaseRequest {
    let queues = queues.iter().map(|name| name.parse().unwrap()).collect();
    LeaseRequest { worker_id, queues, kinds: vec![], limit, duration: 5 * MINUTE }
}

pub(crate) fn end(leased: Leased, outcome: Outcome) -> AttemptEnd {
    let settlement = settle(&leased.job, outcome, 0.5);
    AttemptEnd { lease: leased.lease, settlement, ran: None }
}

/// A copy of a lease, as a frozen worker has it.
pub(crate) fn copy(lease: &Lease) -> Lease {
    lease.to_string().parse().unwrap()
}

pub(crate) fn twin(leased: &Leased) -> Leased {
    Leased { job: leased.job.clone(), lease: copy(&leased.lease), waited: leased.waited }
}

pub(crate) fn boom() -> Failure {
    Failure::new("boom", "it broke")
}

pub(crate) fn failed() -> Outcome {
    Outcome::Failed { failure: boom(), retry_after: None }
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).unwrap()
}

/// Spawns a call, so that several run concurrently; the test awaits it.
#[expect(clippy::disallowed_methods, reason = "a test awaits what it starts")]
pub(crate) fn start<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}
