//! A job as it is submitted and as it is read.

use chrono::{DateTime, Utc};
use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{
    Failure, FieldError, Job, JobDraft, JobId, JobRecord, Json, OnConflict, Status, UniqueScope, WorkerId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{object, present};
use crate::extract::{Refusal, Wire, parse};

/// A job to submit.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnqueueBody {
    /// Named line of jobs; default `default`. Letters, digits, `_`, `-`, `.` and `:`, at most 64.
    queue: Option<String>,
    /// Type of work: decides which handler runs it. The same alphabet as a queue's name, at most 128.
    #[schema(required = true, value_type = String, example = "send_email")]
    kind: Option<String>,
    /// The handler's input; any JSON up to 1 MiB, handed on exactly as it is written here. Default `{}`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Json>,
    /// -100 to 100, higher runs first; default 0.
    #[schema(minimum = -100, maximum = 100)]
    priority: Option<i64>,
    /// Do not start before this moment (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    run_at: Option<String>,
    /// The same as a delay from now.
    #[schema(minimum = 0)]
    delay_seconds: Option<f64>,
    /// Starting after this moment is pointless: the job is cancelled then (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Most attempts, 1 to 1000; default 10.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i64>,
    /// Retry policy; default exponential with jitter.
    #[schema(value_type = Option<super::retry::RetryPolicy>)]
    retry: Option<jobqueue_core::RetryPolicy>,
    /// Hard limit of one attempt, up to a week; default: the worker's own.
    timeout_seconds: Option<f64>,
    /// Soft limit: the handler is warned. Below the hard one.
    soft_timeout_seconds: Option<f64>,
    /// At most one live job for a key.
    #[serde(default, deserialize_with = "object")]
    unique: Option<UniqueBody>,
    /// Up to 20 small searchable words.
    #[serde(default)]
    tags: Vec<String>,
    /// Free JSON object, up to 16 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Json>,
    /// W3C trace context; default: the request's own header.
    #[schema(example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    traceparent: Option<String>,
}

/// Uniqueness of a job.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UniqueBody {
    /// Jobs with the same key exclude each other.
    #[schema(required = true, value_type = String)]
    key: Option<String>,
    /// Inside which jobs the key counts: `kind` (default), `queue` or `global`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    scope: UniqueScope,
    /// Statuses in which the holder keeps the key. The live ones must be among them; default: those alone.
    #[schema(value_type = Option<Vec<StatusWord>>)]
    statuses: Option<Vec<Status>>,
    /// `return` (default) answers with the holder, `replace` takes the place of a holder that still waits, `reject` is a 409.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    on_conflict: OnConflict,
}

impl Wire for EnqueueBody {}

impl EnqueueBody {
    /// Reads one item of a batch; its error stands below `prefix`.
    pub(crate) fn item(text: &str, prefix: &str) -> Result<Self, FieldError> {
        parse(text).map_err(|refusal| match refusal {
            Refusal::Malformed(message) => FieldError::new(prefix, "invalid", message),
            Refusal::Wrong(error) => error.below(prefix),
        })
    }

    /// What was said, for the core to check. `traceparent` is the request's own.
    pub(crate) fn into_draft(self, traceparent: Option<&str>) -> JobDraft {
        JobDraft {
            queue: self.queue,
            kind: self.kind.unwrap_or_default(),
            payload: self.payload,
            priority: self.priority,
            run_at: self.run_at,
            delay_seconds: self.delay_seconds,
            expires_at: self.expires_at,
            max_attempts: self.max_attempts,
            retry: self.retry,
            timeout_seconds: self.timeout_seconds,
            soft_timeout_seconds: self.soft_timeout_seconds,
            unique: self.unique.map(UniqueBody::into_draft),
            tags: self.tags,
            metadata: self.metadata,
            traceparent: self.traceparent.or_else(|| traceparent.map(ToOwned::to_owned)),
        }
    }
}

impl UniqueBody {
    fn into_draft(self) -> UniqueDraft {
        let Self { key, scope, statuses, on_conflict } = self;
        UniqueDraft { key: key.unwrap_or_default(), scope, statuses, on_conflict }
    }
}

/// Where a job stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Status)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum StatusWord {
    Blocked,
    Scheduled,
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// Why an attempt did not succeed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Failure)]
pub(crate) struct FailureBody {
    /// A short stable word to group by.
    #[serde(rename = "type")]
    #[schema(required = true, value_type = String, example = "timeout")]
    pub(crate) kind: Option<String>,
    /// What happened, for a human; at most 8 KiB are kept.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) message: String,
    /// More, as JSON, up to 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) details: Option<Json>,
}

/// What the submitter said, plus identity and the count of attempts: all that a handler needs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobCore {
    /// UUIDv7: ordered by submission.
    pub(crate) id: Uuid,
    queue: String,
    kind: String,
    /// Exactly as it was sent.
    #[schema(value_type = serde_json::Value)]
    payload: Json,
    priority: i16,
    /// Attempts begun, the present one included.
    attempt: u16,
    max_attempts: u16,
    /// `null` is the default policy.
    #[schema(value_type = Option<super::retry::RetryPolicy>)]
    retry: Option<jobqueue_core::RetryPolicy>,
    timeout_seconds: Option<f64>,
    soft_timeout_seconds: Option<f64>,
    expires_at: Option<DateTime<Utc>>,
    unique_key: Option<String>,
    tags: Vec<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Json>,
    traceparent: Option<String>,
}

/// A job as it is read back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    #[serde(flatten)]
    pub(crate) job: JobCore,
    #[schema(value_type = StatusWord)]
    pub(crate) status: Status,
    /// When it was submitted, by the database's clock, as all moments here.
    created_at: DateTime<Utc>,
    /// When it may start (again).
    run_at: Option<DateTime<Utc>>,
    /// When its last attempt began, if that is known.
    started_at: Option<DateTime<Utc>>,
    /// When it became final.
    finished_at: Option<DateTime<Utc>>,
    /// Who runs it; `null` for a remote worker.
    worker_id: Option<Uuid>,
    /// When the running attempt's lease ends unless it is renewed.
    lease_expires_at: Option<DateTime<Utc>>,
    /// A cancel was asked for while it ran, and its worker has not answered yet.
    cancel_requested: bool,
    /// What the handler gave back.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Json>,
    /// Why it failed or was cancelled.
    #[schema(value_type = Option<FailureBody>)]
    error: Option<Failure>,
}

impl From<Job> for JobCore {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.as_uuid(),
            queue: job.queue.into(),
            kind: job.kind.into(),
            payload: job.payload,
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            retry: job.retry,
            timeout_seconds: job.timeout.map(|limit| limit.as_secs_f64()),
            soft_timeout_seconds: job.soft_timeout.map(|limit| limit.as_secs_f64()),
            expires_at: job.expires_at,
            unique_key: job.unique_key,
            tags: job.tags,
            metadata: job.metadata,
            traceparent: job.traceparent.map(String::from),
        }
    }
}

impl From<JobRecord> for JobView {
    fn from(record: JobRecord) -> Self {
        Self {
            job: record.job.into(),
            status: record.status,
            created_at: record.created_at,
            run_at: record.run_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            worker_id: record.worker_id.map(WorkerId::as_uuid),
            lease_expires_at: record.lease_expires_at,
            cancel_requested: record.cancel_requested,
            result: record.result,
            error: record.error,
        }
    }
}

impl JobView {
    /// Its identity.
    pub(crate) fn id(&self) -> JobId {
        JobId::from_uuid(self.job.id)
    }

    /// Size of its payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.job.payload.len()
    }
}
