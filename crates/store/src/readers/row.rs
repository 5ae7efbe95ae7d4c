//! Converts rows to domain types. No other module does. A value that does not fit is reported as corrupt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{Failure, Job, JobId, Json, KindName, Status, Ties};
use uuid::Uuid;

use crate::plumbing::catalog::{LaneName, Names};
use crate::plumbing::error::StoreError;

/// Numbers of the final statuses in `outcome.status`.
pub(crate) const COMPLETED: i16 = 5;
/// See [`COMPLETED`].
pub(crate) const FAILED: i16 = 6;
/// See [`COMPLETED`].
pub(crate) const CANCELLED: i16 = 7;

/// The number of a status, for SQL.
pub(crate) fn status_number(status: Status) -> i16 {
    match status {
        Status::Blocked => 1,
        Status::Scheduled => 2,
        Status::Queued => 3,
        Status::Running => 4,
        Status::Completed => COMPLETED,
        Status::Failed => FAILED,
        Status::Cancelled => CANCELLED,
    }
}

/// The status of an `outcome` row.
pub(crate) fn final_status(job_id: JobId, number: i16) -> Result<Status, StoreError> {
    match number {
        COMPLETED => Ok(Status::Completed),
        FAILED => Ok(Status::Failed),
        CANCELLED => Ok(Status::Cancelled),
        other => Err(corrupt(job_id, "outcome", "status", format!("the status {other} is unknown"))),
    }
}

/// A row of `body`.
#[derive(Debug)]
pub(crate) struct StoredBody {
    pub(crate) id: Uuid,
    pub(crate) lane: i32,
    pub(crate) kind: i32,
    pub(crate) max_attempts: i16,
    pub(crate) payload: String,
    pub(crate) retry: Option<String>,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) soft_timeout_ms: Option<i64>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) unique_key: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) metadata: Option<String>,
    pub(crate) traceparent: Option<String>,
    /// Whether a webhook announces the end of the job.
    pub(crate) announced: bool,
    /// Whether `expires_at` has passed.
    pub(crate) overdue: bool,
    /// The database's time of this read.
    pub(crate) now: DateTime<Utc>,
}

/// A body with the names of its queue and kind.
#[derive(Debug)]
pub(crate) struct BodyRow {
    pub(crate) stored: StoredBody,
    pub(crate) lane: LaneName,
    pub(crate) kind: KindName,
}

impl BodyRow {
    /// How long the job had been runnable at this time, provided that it never ran: since its submission, or since its `run_at`. `None` if an
    /// operator promoted it before that.
    pub(crate) fn waited(&self, until: DateTime<Utc>) -> Option<Duration> {
        let created_at = JobId::from_uuid(self.stored.id).created_at()?;
        let since = self.stored.run_at.map_or(created_at, |run_at| run_at.max(created_at));
        (until - since).to_std().ok()
    }

    /// What the job holds. Known even if the rest of the row is corrupt.
    pub(crate) fn ties(&self) -> Ties {
        Ties { unique_key: self.stored.unique_key.is_some(), on_end: self.stored.announced }
    }

    /// The job with this attempt number.
    pub(crate) fn into_job(self, attempt: i16) -> Result<Job, StoreError> {
        let Self { stored, lane, kind } = self;
        let id = JobId::from_uuid(stored.id);
        // a stored policy that cannot be read must not fail the job: the default policy applies
        let retry = stored.retry.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Job {
            id,
            queue: lane.queue,
            kind,
            payload: stored_json(id, "body", "payload", stored.payload)?,
            priority: lane.priority,
            attempt: u16::try_from(attempt).map_err(|e| corrupt(id, "body", "attempt", e))?,
            max_attempts: u16::try_from(stored.max_attempts)
                .map_err(|e| corrupt(id, "body", "max_attempts", e))?,
            retry,
            timeout: stored.timeout_ms.map(from_ms),
            soft_timeout: stored.soft_timeout_ms.map(from_ms),
            expires_at: stored.expires_at,
            unique_key: stored.unique_key,
            tags: stored.tags.unwrap_or_default(),
            metadata: stored.metadata.map(|text| stored_json(id, "body", "metadata", text)).transpose()?,
            traceparent: stored.traceparent.and_then(|text| text.try_into().ok()),
            has_webhook: stored.announced,
        })
    }
}

impl StoredBody {
    /// Adds the names. `None` if the catalog does not have them; the job is then treated like one without a
    /// body.
    pub(crate) fn named(self, names: &Names) -> Option<BodyRow> {
        let (lane, kind) = (names.lanes.get(&self.lane)?.clone(), names.kinds.get(&self.kind)?.clone());
        Some(BodyRow { stored: self, lane, kind })
    }
}

/// The error for a column with an invalid value.
pub(crate) fn corrupt(
    job_id: JobId,
    table: &'static str,
    column: &'static str,
    error: impl std::fmt::Display,
) -> StoreError {
    StoreError::Corrupt { table, column, row: job_id.to_string(), what: error.to_string() }
}

/// JSON from a `json` column.
pub(crate) fn stored_json(
    id: JobId,
    table: &'static str,
    column: &'static str,
    text: String,
) -> Result<Json, StoreError> {
    Json::from_stored(text).map_err(|e| corrupt(id, table, column, e))
}

/// A failure from an `error` column.
pub(crate) fn stored_failure(
    id: JobId,
    table: &'static str,
    text: Option<String>,
) -> Result<Option<Failure>, StoreError> {
    text.map(|text| serde_json::from_str(&text).map_err(|e| corrupt(id, table, "error", e))).transpose()
}

/// A failure for an `error` column.
pub(crate) fn failure_text(failure: &Failure) -> Option<String> {
    serde_json::to_string(failure).ok()
}

/// A century. Postgres cannot add much longer durations to a timestamp.
const MAX_DURATION_MS: i64 = 100 * 366 * 24 * 3600 * 1000;

/// A duration in milliseconds, for SQL; at most a century.
pub(crate) fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(MAX_DURATION_MS).min(MAX_DURATION_MS)
}

/// A duration from a column of milliseconds. A negative one becomes 0.
pub(crate) fn from_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The result of `count(*)`.
pub(crate) fn to_count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
