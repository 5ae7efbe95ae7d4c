//! A job as it is submitted and as it is read.

use std::fmt;

use chrono::{DateTime, Utc};
use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{
    Failure, FieldError, Job, JobDraft, JobId, JobRecord, Json, OnConflict, OnEndDraft, Status, UniqueScope,
    WorkerId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::present;
use crate::extract::{Refusal, Wire, parse};

/// A job to submit.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnqueueBody {
    /// Queue of the job. Default: that of the route, otherwise `default`. Letters, digits, `_`, `-`, `.` and `:`, at most 64.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    queue: Option<String>,
    /// Type of work: decides which handler runs it. The same alphabet as a queue's name, at most 128.
    #[schema(required = true, value_type = String, example = "send_email", min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    kind: Option<String>,
    /// The handler's input: any JSON up to 1 MiB, stored and passed on byte for byte. Default `{}`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Json>,
    /// -100 to 100, higher runs first. Default: that of the route, otherwise 0.
    #[schema(minimum = -100, maximum = 100)]
    priority: Option<i64>,
    /// Earliest start, as an RFC 3339 timestamp with an offset. Default: now.
    #[schema(format = DateTime)]
    run_at: Option<String>,
    /// Earliest start, in seconds from now, up to 100 years. Not together with `run_at`.
    #[schema(minimum = 0, maximum = 3_153_600_000_u64)]
    delay_seconds: Option<f64>,
    /// Latest start, as an RFC 3339 timestamp with an offset. A job that has not started by then is cancelled. Default: that of the route, otherwise none.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Most attempts, 1 to 1000. Default: that of the route, otherwise 10.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i64>,
    /// Most snoozes, 0 to 1000000; default 100000. A snooze postpones the job and costs no attempt. One more fails the job.
    #[schema(minimum = 0, maximum = 1_000_000)]
    max_snoozes: Option<i64>,
    /// Retry policy. Default: that of the route, otherwise exponential with jitter.
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<jobqueue_core::RetryPolicy>,
    /// Time limit of one attempt in seconds, up to a week. Default: that of the route, otherwise the limit of the worker.
    #[schema(minimum = 0.001, maximum = 604_800)]
    timeout_seconds: Option<f64>,
    /// Time in seconds after which the handler is warned. Below `timeout_seconds`. Default: that of the route, otherwise none.
    #[schema(minimum = 0.001, maximum = 604_800)]
    soft_timeout_seconds: Option<f64>,
    /// Allows one live job per key.
    unique: Option<UniqueBody>,
    /// Up to 20 labels of at most 64 bytes, to filter by. Default: those of the route. An empty list: none.
    #[schema(value_type = Option<Vec<super::name::TagText>>, max_items = 20)]
    tags: Option<Vec<String>>,
    /// Any JSON object up to 16 KiB, for the submitter's own use.
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Json>,
    /// W3C trace context. Default: the `traceparent` header of the request.
    #[schema(min_length = 55, example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    traceparent: Option<String>,
    /// Webhook for the end of the job.
    on_end: Option<OnEndBody>,
}

/// A webhook for the end of a job: completed, failed or cancelled.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnEndBody {
    /// `http` or `https` URL that gets the webhook.
    #[schema(required = true, value_type = String, min_length = 1, max_length = 2048, example = "https://hooks.example.com/jobs")]
    url: Option<String>,
    /// One to four `whsec_…` secrets, separated by a space, the newest first. Each signs. It is never shown.
    #[schema(required = true, value_type = String, min_length = 1, max_length = 512)]
    secret: Option<String>,
    /// Queue of the job that delivers the webhook. Default: that of the job that ends.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    queue: Option<String>,
}

impl fmt::Debug for OnEndBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnEndBody").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Uniqueness of a job.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UniqueBody {
    /// While a job holds this key, no other job can take it.
    #[schema(required = true, value_type = String, min_length = 1, max_length = 255)]
    key: Option<String>,
    /// The jobs that the key is compared with: of the same `kind` (default), of the same `queue`, or all (`global`).
    #[serde(default)]
    #[schema(value_type = Option<ScopeWord>)]
    scope: UniqueScope,
    /// Statuses in which a job holds its key. Must include the live ones (blocked, scheduled, queued, running), which are the default.
    #[schema(value_type = Option<Vec<StatusWord>>)]
    statuses: Option<Vec<Status>>,
    /// What to do if another job holds the key: `return` it (default), `replace` it if it has not started, or `reject` this job (409).
    #[serde(default)]
    #[schema(value_type = Option<ConflictWord>)]
    on_conflict: OnConflict,
}

impl Wire for EnqueueBody {}

impl EnqueueBody {
    /// Parses one item of a batch. The pointer of an error starts with `prefix`.
    pub(crate) fn item(text: &str, prefix: &str) -> Result<Self, FieldError> {
        parse(text).map_err(|refusal| match refusal {
            Refusal::Malformed(message) => FieldError::new(prefix, "invalid", message),
            Refusal::Wrong(error) => error.below(prefix),
        })
    }

    /// The draft, for the core to check. `traceparent` is that of the request.
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
            max_snoozes: self.max_snoozes,
            retry: self.retry,
            timeout_seconds: self.timeout_seconds,
            soft_timeout_seconds: self.soft_timeout_seconds,
            unique: self.unique.map(UniqueBody::into_draft),
            tags: self.tags,
            metadata: self.metadata,
            traceparent: self.traceparent.or_else(|| traceparent.map(ToOwned::to_owned)),
            on_end: self.on_end.map(OnEndBody::into_draft),
        }
    }
}

impl OnEndBody {
    fn into_draft(self) -> OnEndDraft {
        let Self { url, secret, queue } = self;
        OnEndDraft { url: url.unwrap_or_default(), secret, queue, secret_id: None }
    }
}

impl UniqueBody {
    fn into_draft(self) -> UniqueDraft {
        let Self { key, scope, statuses, on_conflict } = self;
        UniqueDraft { key: key.unwrap_or_default(), scope, statuses, on_conflict }
    }
}

/// The status of a job.
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

/// Jobs among which a unique key excludes others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = UniqueScope)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum ScopeWord {
    /// Jobs of the same kind, in any queue.
    Kind,
    /// Jobs of the same queue, of any kind.
    Queue,
    /// All jobs.
    Global,
}

/// What a submission does when another job holds its unique key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OnConflict)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum ConflictWord {
    /// Answer with the job that holds the key (200).
    Return,
    /// Cancel the holder if it has not started, and store this job; otherwise like `return`.
    Replace,
    /// Refuse (409).
    Reject,
}

/// Why an attempt did not succeed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Failure)]
pub(crate) struct FailureBody {
    /// A short stable word that groups errors.
    #[serde(rename = "type")]
    #[schema(required = true, value_type = String, example = "timeout", min_length = 1)]
    pub(crate) kind: Option<String>,
    /// A message for people. The first 8 KiB are kept.
    #[serde(default)]
    #[schema(required = false, min_length = 0)]
    pub(crate) message: String,
    /// Any further JSON, up to 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) details: Option<Json>,
}

/// A job as its handler gets it: what was submitted, its id and its attempt number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobCore {
    /// Id of the job, a UUIDv7. Ids are ordered by submission.
    pub(crate) id: Uuid,
    /// Queue of the job, set by the submitter.
    queue: String,
    /// Kind of the job, set by the submitter.
    kind: String,
    /// The payload, byte for byte as it was submitted.
    #[schema(value_type = serde_json::Value)]
    payload: Json,
    /// -100 to 100, higher runs first.
    priority: i16,
    /// Number of attempts that have started, including one that runs. Snoozed and released attempts do not count.
    attempt: u16,
    /// Most attempts.
    max_attempts: u16,
    /// Retry policy; `null` is the default policy.
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<jobqueue_core::RetryPolicy>,
    /// Time limit of one attempt in seconds; `null`: the limit of the worker.
    timeout_seconds: Option<f64>,
    /// Time in seconds after which the handler is warned; `null`: never.
    soft_timeout_seconds: Option<f64>,
    /// Latest start; `null`: no limit.
    expires_at: Option<DateTime<Utc>>,
    /// Unique key, if the submitter set one.
    unique_key: Option<String>,
    /// Labels, set by the submitter or the route.
    #[schema(value_type = Vec<super::name::TagText>, max_items = 20)]
    tags: Vec<String>,
    /// JSON object, set by the submitter.
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Json>,
    /// W3C trace context of the submission.
    traceparent: Option<String>,
}

/// A job with its status and its result.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    #[serde(flatten)]
    pub(crate) job: JobCore,
    /// The current status.
    #[schema(value_type = StatusWord)]
    pub(crate) status: Status,
    /// When the job was submitted. All timestamps are by the database's clock.
    created_at: DateTime<Utc>,
    /// When the job may start or start again, while it is scheduled.
    run_at: Option<DateTime<Utc>>,
    /// When the last attempt started, if that is known.
    started_at: Option<DateTime<Utc>>,
    /// When the job became final (completed, failed or cancelled).
    finished_at: Option<DateTime<Utc>>,
    /// The worker that runs the job.
    worker_id: Option<Uuid>,
    /// When the lease of the running attempt ends, unless the worker renews it.
    lease_expires_at: Option<DateTime<Utc>>,
    /// Whether a cancel was requested while the job runs. Its worker has not settled it yet.
    cancel_requested: bool,
    /// Number of snoozes. Reset to 0 when the job is retried through the API.
    snoozes: u32,
    /// Most snoozes. One more fails the job.
    max_snoozes: u32,
    /// The result that the handler returned, once the job is completed.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Json>,
    /// Why the job failed or was cancelled, or why its last attempt failed.
    #[schema(value_type = Option<FailureBody>)]
    error: Option<Failure>,
    /// URL of the webhook for its end. Its delivery is a job with the tag `job:ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
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
            snoozes: record.snoozes,
            max_snoozes: record.max_snoozes,
            result: record.result,
            error: record.error,
            webhook_url: record.webhook_url,
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
