//! The data of server-sent events. Every value of an object changes only if something happened, so that an idle system sends nothing.

use chrono::{DateTime, Utc};
use jobqueue_core::{Failure, Json, Status, WorkerId};
use jobqueue_store::{DeadLetterGroup, QueueCensus, WatchedState, WorkerRecord};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Data of `status` and `end`: where a job is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobStatusEvent {
    /// The job.
    id: Uuid,
    /// Its queue.
    queue: String,
    /// Its kind.
    kind: String,
    /// Its status.
    #[schema(value_type = String)]
    status: Status,
    /// Attempts that have begun.
    attempt: Option<u16>,
    /// Attempts that it may have.
    max_attempts: u16,
    /// Not before this time; `null` if it could run at once.
    run_at: Option<DateTime<Utc>>,
    /// When the attempt began that runs or ended the job.
    started_at: Option<DateTime<Utc>>,
    /// When it became final.
    finished_at: Option<DateTime<Utc>>,
    /// The worker of that attempt.
    worker_id: Option<Uuid>,
    /// Whether a user asked to cancel it while it runs.
    cancel_requested: bool,
    /// Why it failed or was cancelled, without `details`; otherwise `null`.
    #[schema(value_type = Option<super::job::FailureBody>)]
    error: Option<Failure>,
}

impl JobStatusEvent {
    pub(crate) fn new(state: &WatchedState) -> Self {
        Self {
            id: state.id.as_uuid(),
            queue: state.queue.to_string(),
            kind: state.kind.to_string(),
            status: state.status,
            attempt: state.attempt,
            max_attempts: state.max_attempts,
            run_at: state.run_at,
            started_at: state.started_at,
            finished_at: state.finished_at,
            worker_id: state.worker_id.map(WorkerId::as_uuid),
            cancel_requested: state.cancel_requested,
            error: state.error.clone(),
        }
    }
}

/// Data of `end` if the job was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobDeletedEvent {
    /// The job.
    pub(crate) id: Uuid,
    /// Always `deleted`.
    pub(crate) status: &'static str,
}

/// Data of `progress`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressEvent<'a> {
    /// Number of the attempt; `null` if it is not known.
    pub(crate) attempt: Option<u16>,
    /// What its handler reported last.
    #[schema(value_type = serde_json::Value)]
    pub(crate) progress: &'a Json,
}

/// Data of `log`: one line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogEvent<'a> {
    /// Number of the attempt; `null` if it is not known.
    pub(crate) attempt: Option<u16>,
    /// The line, without its end.
    pub(crate) line: &'a str,
    /// Bytes of the log before this line that are no longer kept; absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) skipped_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Data of `unavailable` and `unreadable`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnavailableEvent {
    /// A sentence for people.
    pub(crate) reason: String,
}

/// Data of `queue`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueEvent<'a> {
    /// Name of the queue.
    queue: &'a str,
    /// Whether it is paused.
    paused: bool,
    /// Jobs that wait for their `run_at`.
    scheduled: u64,
    /// Jobs that can start now.
    queued: u64,
    /// Jobs that run.
    running: u64,
    /// Since when the oldest job that can start has waited.
    oldest_at: Option<DateTime<Utc>>,
    /// Total of submitted jobs.
    created: u64,
    /// Total of completed jobs.
    completed: u64,
    /// Total of failed jobs.
    failed: u64,
    /// Total of cancelled jobs.
    cancelled: u64,
    /// Total of failed attempts that were followed by a retry.
    retried: u64,
}

impl<'a> QueueEvent<'a> {
    pub(crate) fn new(queue: &'a QueueCensus) -> Self {
        Self {
            queue: &queue.queue,
            paused: queue.paused,
            scheduled: queue.scheduled,
            queued: queue.queued,
            running: queue.running,
            oldest_at: queue.oldest_at,
            created: queue.created,
            completed: queue.completed,
            failed: queue.failed,
            cancelled: queue.cancelled,
            retried: queue.retried,
        }
    }
}

/// Data of `worker`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerEvent<'a> {
    /// Id of the worker; a new one at each start.
    worker_id: Uuid,
    /// Its name.
    name: &'a str,
    /// Whether it leases over REST.
    remote: bool,
    /// Host that it runs on.
    host: Option<&'a str>,
    /// Version of its build.
    version: Option<&'a str>,
    /// Programming language of its handlers.
    language: Option<&'a str>,
    /// Queues that it leases from.
    #[schema(value_type = Vec<super::name::QueueText>)]
    queues: &'a [String],
    /// Jobs that it runs at once.
    slots: Option<u32>,
    /// Jobs that it runs.
    running: u64,
    /// Attempts that ended in the last minute, as of its last heartbeat.
    jobs_per_minute: Option<u32>,
    /// Whether an operator has paused it.
    paused: bool,
    /// Whether it leases nothing more because it ends.
    draining: bool,
    /// When it started.
    started_at: DateTime<Utc>,
}

impl<'a> WorkerEvent<'a> {
    pub(crate) fn new(worker: &'a WorkerRecord) -> Self {
        Self {
            worker_id: worker.id.as_uuid(),
            name: &worker.name,
            remote: worker.remote,
            host: worker.report.host.as_deref(),
            version: worker.version.as_deref(),
            language: worker.report.language.as_deref(),
            queues: &worker.queues,
            slots: worker.slots,
            running: worker.running,
            jobs_per_minute: worker.report.jobs_per_minute,
            paused: worker.report.paused,
            draining: worker.draining,
            started_at: worker.started_at,
        }
    }
}

/// Data of `dead_letter_group`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupEvent<'a> {
    /// The group.
    group: Uuid,
    /// Kind of the jobs.
    kind: &'a str,
    /// Type of the errors.
    error_type: &'a str,
    /// The message, with placeholders such as `<n>` for what differs.
    message: &'a str,
    /// Number of dead letters.
    count: u64,
    /// When a job first failed like this.
    first_failed_at: DateTime<Utc>,
    /// When a job last failed like this.
    last_failed_at: DateTime<Utc>,
}

impl<'a> GroupEvent<'a> {
    pub(crate) fn new(group: &'a DeadLetterGroup) -> Self {
        Self {
            group: group.fingerprint,
            kind: &group.kind,
            error_type: &group.error_type,
            message: &group.message,
            count: group.count,
            first_failed_at: group.first_failed_at,
            last_failed_at: group.last_failed_at,
        }
    }
}
