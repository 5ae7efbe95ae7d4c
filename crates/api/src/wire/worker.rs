//! Workers and what they run.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, WorkerId};
use jobqueue_store::{WorkerJob, WorkerRecord, WorkerReport};
use serde::Serialize;
use utoipa::ToSchema;

use super::name::{KindText, QueueText};

/// A page of workers, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkersView {
    /// The workers, by name.
    pub(crate) workers: Vec<WorkerView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A worker that counts as alive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerView {
    /// Id of the worker, which its jobs show as `worker_id`.
    #[schema(value_type = Uuid)]
    id: WorkerId,
    /// Name of the worker: its host or pod, or what a remote worker calls itself. Several workers may have the same name.
    name: String,
    /// `true`: it leases over this API. `false`: it is connected to the database.
    remote: bool,
    /// Queues that it leases from.
    #[schema(value_type = Vec<QueueText>)]
    queues: Vec<String>,
    /// Kinds that it leases, the first hundred of them; empty means all.
    #[schema(value_type = Vec<KindText>)]
    kinds: Vec<String>,
    /// Jobs that it runs at the same time; `null` if a remote worker does not report it.
    slots: Option<u32>,
    /// Slots that run a job; `null` if `slots` is.
    slots_used: Option<u64>,
    /// Slots that run none; `null` if `slots` is.
    slots_free: Option<u64>,
    /// Host that it runs on; in a pod, the pod's name. `null` if the worker does not report it.
    host: Option<String>,
    /// Programming language of its handlers; `null` if the worker does not report it.
    language: Option<String>,
    /// Version of its build; `null` if a remote worker does not report it.
    version: Option<String>,
    /// When it started. For a remote worker: when it first asked for jobs.
    started_at: DateTime<Utc>,
    /// When its last heartbeat or request arrived; for a remote worker up to 10 seconds late.
    last_heartbeat_at: DateTime<Utc>,
    /// Seconds since then, by the database's clock.
    heartbeat_age_seconds: f64,
    /// Whether it is shutting down: it leases nothing more.
    draining: bool,
    /// Whether an operator has paused it: it leases nothing until it is resumed.
    paused: bool,
    /// Memory of its process that is in RAM, in bytes; `null` if the worker does not report it.
    rss_bytes: Option<u64>,
    /// Number of attempts that ended in the last minute; `null` if the worker does not report it.
    jobs_per_minute: Option<u32>,
    /// Number of jobs that it has leased.
    running: u64,
    /// Jobs that it has leased, oldest lease first, the first twenty of them.
    jobs: Vec<WorkerJobView>,
}

/// A job that a worker has leased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkerJob)]
pub(crate) struct WorkerJobView {
    /// Id of the job.
    #[schema(value_type = Uuid)]
    id: JobId,
    /// Kind of the job.
    kind: String,
    /// Queue of the job.
    queue: String,
    /// Number of the attempt that runs.
    attempt: u16,
    /// When the worker leased it.
    leased_at: DateTime<Utc>,
    /// Seconds since then, by the database's clock.
    age_seconds: f64,
}

impl From<WorkerRecord> for WorkerView {
    fn from(record: WorkerRecord) -> Self {
        let used = record.slots.map(|slots| record.running.min(slots.into()));
        let free = record.slots.zip(used).map(|(slots, used)| u64::from(slots) - used);
        let WorkerReport { host, language, paused, rss_bytes, jobs_per_minute } = record.report;
        Self {
            slots_used: used,
            slots_free: free,
            host,
            language,
            paused,
            rss_bytes,
            jobs_per_minute,
            heartbeat_age_seconds: in_millis(record.beat_age),
            id: record.id,
            name: record.name,
            remote: record.remote,
            queues: record.queues,
            kinds: record.kinds,
            slots: record.slots,
            version: record.version,
            started_at: record.started_at,
            last_heartbeat_at: record.beat_at,
            draining: record.draining,
            running: record.running,
            jobs: record.jobs.into_iter().map(WorkerJobView::from).collect(),
        }
    }
}

impl From<WorkerJob> for WorkerJobView {
    fn from(job: WorkerJob) -> Self {
        let WorkerJob { id, kind, queue, attempt, leased_at, age } = job;
        Self { id, kind, queue, attempt, leased_at, age_seconds: age.as_secs_f64() }
    }
}

/// Seconds, exact to the millisecond: more digits are noise.
fn in_millis(age: std::time::Duration) -> f64 {
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    std::time::Duration::from_millis(millis).as_secs_f64()
}
