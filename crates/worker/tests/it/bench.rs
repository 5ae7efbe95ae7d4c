//! A database, a store that reads it, and workers in this process with short intervals.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser as _;
use jobqueue_core::{Job, JobDraft, JobId, JobRecord, Json, Limits, NewJob, Status};
use jobqueue_runtime::admin::Readiness;
use jobqueue_store::{Accepted, Answer, AttemptRecord, Pooler, Store, StoreOptions, Submission};
use jobqueue_testkit::{TestDb, eventually};
use jobqueue_worker::{HandlerError, Shutdown, Worker, WorkerBuilder, WorkerCli};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time limit; reached only if the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The metric of the jobs that occupy a slot.
pub(crate) const SLOTS_IN_USE: &str = "worker_slots_in_use";

pub(crate) struct Bench {
    pub(crate) db: TestDb,
    pub(crate) store: Store,
}

pub(crate) fn options(url: &str) -> StoreOptions {
    StoreOptions {
        url: url.into(),
        application_name: "worker-test".to_owned(),
        max_connections: 4,
        connect_timeout: Duration::from_secs(1),
        pooler: Pooler::None,
    }
}

/// A worker with short intervals on the database of `url`.
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

/// A worker with short intervals and the handlers of a configuration file.
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
    let args = WorkerCli::try_parse_from(words).unwrap();
    args.worker.builder(&args.database).unwrap()
}

/// Writes a file with a name that is unique to this process.
pub(crate) fn written(text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("jobqueue-worker-test-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits until the job is in a status. A running job may only be leased, before its worker has the response. To wait
/// until it occupies a slot, use [`AtWork::runs`].
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

    /// Promotes jobs, as the reaper would, until the job is in the status.
    pub(crate) async fn promoted(&self, id: JobId, status: Status) -> JobRecord {
        eventually(SOON, &format!("{id} is {status}"), async || {
            self.store.promote_due(100).await.map_err(|error| error.to_string())?;
            let record = self.store.job(id).await.map_err(|error| error.to_string())?.unwrap();
            if record.status == status { Ok(record) } else { Err(record.status.to_string()) }
        })
        .await
    }
}

/// A handler that waits until the test opens the gate.
pub(crate) async fn opened(mut gate: watch::Receiver<bool>) -> Result<(), HandlerError> {
    gate.wait_for(|open| *open).await?;
    Ok(())
}

/// A running worker. Dropping it forces it to end.
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

    /// Waits until this many jobs have a slot.
    pub(crate) async fn runs(&self, jobs: u32) {
        eventually(SOON, &format!("{jobs} jobs have a slot"), async || {
            let families = self.registry.gather();
            let slots = families.iter().find(|family| family.name() == SLOTS_IN_USE).unwrap();
            let in_use = slots.get_metric()[0].get_gauge().get_value();
            if in_use.to_string() == jobs.to_string() { Ok(()) } else { Err(in_use) }
        })
        .await;
    }

    /// Waits until this many more calls that lease or settle have failed.
    pub(crate) async fn fails(&self, calls: f64) {
        let failures = || {
            let families = self.registry.gather();
            let failures =
                families.iter().find(|family| family.name() == "worker_store_failures_total").unwrap();
            failures.get_metric()[0].get_counter().get_value()
        };
        let before = failures();
        eventually(SOON, &format!("{calls} calls fail"), async || {
            let failed = failures() - before;
            if failed >= calls { Ok(()) } else { Err(failed) }
        })
        .await;
    }

    /// Begins the soft shutdown and waits until the worker has ended.
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

/// Waits until no heartbeat has succeeded for so long that the worker starts no more jobs.
pub(crate) async fn leases_may_be_lost(readiness: &Readiness, worker: &AtWork) {
    eventually(SOON, "no heartbeat for too long", async || {
        let report = readiness.report(&worker.shutdown).await;
        let silent = report.checks.iter().any(|check| check.name == "heartbeat" && !check.ok);
        if silent { Ok(()) } else { Err(report) }
    })
    .await;
}
