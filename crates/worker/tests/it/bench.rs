//! A database, a store to look through, and workers in this process with fast rhythms.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser as _;
use jobqueue_core::{Job, JobDraft, JobId, JobRecord, Json, Limits, NewJob, Status};
use jobqueue_runtime::admin::Readiness;
use jobqueue_store::{Accepted, Answer, AttemptRecord, Pooler, Store, StoreOptions, Submission};
use jobqueue_testkit::{TestDb, eventually};
use jobqueue_worker::{Args, HandlerError, Shutdown, Worker, WorkerBuilder};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The limit of broken code; nothing here takes that long.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The metric that tells that a job is at work, and no longer on its way.
pub(crate) const SLOTS_IN_USE: &str = "worker_slots_in_use";

pub(crate) struct Bench {
    pub(crate) db: TestDb,
    pub(crate) store: Store,
}

pub(crate) fn options(url: &str) -> StoreOptions {
    StoreOptions {
        url: url.to_owned(),
        application_name: "worker-test".to_owned(),
        max_connections: 4,
        connect_timeout: Duration::from_secs(1),
        pooler: Pooler::None,
    }
}

/// A worker with fast rhythms on the database of `url`.
pub(crate) fn fast(url: &str) -> WorkerBuilder {
    Worker::builder(options(url))
        .poll_interval(Duration::from_millis(50))
        .heartbeat_interval(Duration::from_millis(50))
        .stale_after(Duration::from_secs(10))
        .shutdown_grace(Duration::from_secs(10))
        .cancel_grace(Duration::from_millis(100))
}

pub(crate) fn draft(kind: &str, payload: &str) -> JobDraft {
    let payload = Some(Json::parse(payload.to_owned()).unwrap());
    JobDraft { kind: kind.to_owned(), payload, ..JobDraft::default() }
}

pub(crate) async fn enqueue(store: &Store, drafts: Vec<JobDraft>) -> Vec<JobId> {
    let jobs = drafts.into_iter().map(|draft| NewJob::parse(draft, &Limits::default()).unwrap()).collect();
    let answers = store.enqueue(&[Submission { jobs, atomic: true, idempotency: None }]).await.unwrap();
    let [Answer::Served { jobs, .. }] = &answers[..] else { panic!("{answers:?}") };
    let id = |accepted: &Accepted| match accepted {
        Accepted::Created { id, .. } => *id,
        other => panic!("{other:?}"),
    };
    jobs.iter().map(id).collect()
}

/// A worker with fast rhythms and the handlers of a configuration file.
pub(crate) fn configured(url: &str, config: &str) -> WorkerBuilder {
    let path = written(config);
    let path = path.to_str().unwrap();
    let words = [
        "jobqueue-worker",
        "--database-url",
        url,
        "--config",
        path,
        "--heartbeat-interval-seconds",
        "0.05",
        "--poll-interval-seconds",
        "0.05",
    ];
    let args = Args::try_parse_from(words).unwrap();
    args.worker.builder(&args.database).unwrap()
}

/// A file of this process's own.
pub(crate) fn written(text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("jobqueue-worker-test-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits until the job is in a status. One that is running may have been leased a moment ago, and its worker has yet to hear of it: whoever
/// wants it at work waits for that ([`AtWork::runs`]).
pub(crate) async fn reaches(store: &Store, id: JobId, status: Status) -> JobRecord {
    eventually(SOON, &format!("{id} is {status}"), async || {
        let record = store.job(id).await.map_err(|error| error.to_string())?.unwrap();
        if record.status == status {
            Ok(record)
        } else {
            Err(format!("{} {:?}", record.status, record.error))
        }
    })
    .await
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let db = TestDb::new().await;
        let store = Store::connect_lazy(&options(db.url())).unwrap();
        Self { db, store }
    }

    pub(crate) fn worker(&self) -> WorkerBuilder {
        fast(self.db.url())
    }

    pub(crate) async fn enqueue(&self, kind: &str, payload: &str) -> JobId {
        self.submit(draft(kind, payload)).await
    }

    pub(crate) async fn submit(&self, draft: JobDraft) -> JobId {
        enqueue(&self.store, vec![draft]).await[0]
    }

    pub(crate) async fn reaches(&self, id: JobId, status: Status) -> JobRecord {
        reaches(&self.store, id, status).await
    }

    pub(crate) async fn status(&self, id: JobId) -> Status {
        self.store.job(id).await.unwrap().unwrap().status
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap().job
    }

    pub(crate) async fn attempts(&self, id: JobId) -> Vec<AttemptRecord> {
        self.store.attempts(id).await.unwrap()
    }

    /// Promotes until the job is in the status: what the reaper would do.
    pub(crate) async fn promoted(&self, id: JobId, status: Status) -> JobRecord {
        eventually(SOON, &format!("{id} is {status}"), async || {
            self.store.promote_due(100).await.map_err(|error| error.to_string())?;
            let record = self.store.job(id).await.map_err(|error| error.to_string())?.unwrap();
            if record.status == status { Ok(record) } else { Err(record.status.to_string()) }
        })
        .await
    }
}

/// Waits until the gate is opened: a job that lasts as long as the test wants.
pub(crate) async fn opened(mut gate: watch::Receiver<bool>) -> Result<(), HandlerError> {
    gate.wait_for(|open| *open).await?;
    Ok(())
}

/// A worker at work. Forced to an end when dropped.
pub(crate) struct AtWork {
    pub(crate) shutdown: Shutdown,
    registry: Registry,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl AtWork {
    pub(crate) fn start(worker: WorkerBuilder) -> Self {
        Self::run(worker.build().unwrap())
    }

    pub(crate) fn run(worker: Worker) -> Self {
        let (shutdown, registry) = (Shutdown::new(), worker.registry().clone());
        let task = Some(shutdown.spawn_contained(worker.run(shutdown.clone())));
        Self { shutdown, registry, task }
    }

    /// Waits until so many jobs have a slot.
    pub(crate) async fn runs(&self, jobs: u32) {
        eventually(SOON, &format!("{jobs} jobs have a slot"), async || {
            let families = self.registry.gather();
            let slots = families.iter().find(|family| family.name() == SLOTS_IN_USE).unwrap();
            let in_use = slots.get_metric()[0].get_gauge().get_value();
            if in_use.to_string() == jobs.to_string() { Ok(()) } else { Err(in_use) }
        })
        .await;
    }

    /// Begins the soft shutdown and waits for the end.
    pub(crate) async fn drain(mut self) {
        self.shutdown.begin();
        self.ended().await;
    }

    pub(crate) async fn ended(&mut self) {
        let task = self.task.take().unwrap();
        tokio::time::timeout(SOON, task).await.expect("the worker ends").unwrap().unwrap();
        assert_eq!(self.shutdown.failure(), None);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shutdown.force();
    }
}

/// Waits until no heartbeat got through for longer than the worker trusts its leases.
pub(crate) async fn untrusted(readiness: &Readiness, worker: &AtWork) {
    eventually(SOON, "no heartbeat for too long", async || {
        let report = readiness.report(&worker.shutdown).await;
        let silent = report.checks.iter().any(|check| check.name == "heartbeat" && !check.ok);
        if silent { Ok(()) } else { Err(report) }
    })
    .await;
}
