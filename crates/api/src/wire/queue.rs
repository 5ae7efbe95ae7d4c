//! Queues and their settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::FieldError;
use jobqueue_core::backpressure::MAX_MAX_QUEUED;
use jobqueue_core::time::{self, TIMESTAMP_RULE, timestamp};
use jobqueue_store::{QueueRecord, QueueSettings, Waiting};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::present;
use crate::extract::Wire;

/// Longest retention: ten years. A longer one is a mistake in units.
const MAX_RETENTION: Duration = Duration::from_hours(10 * 366 * 24);
/// Most jobs that one purge request deletes.
pub(crate) const MAX_PURGE: u32 = 100_000;

/// A page of queues, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuesView {
    /// The queues, by name.
    pub(crate) queues: Vec<QueueView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A queue with its settings and its current counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    /// Name of the queue.
    name: String,
    /// Whether the queue is paused: none of its jobs is started.
    paused: bool,
    /// When the queue was paused; `null` if it is not.
    paused_at: Option<DateTime<Utc>>,
    /// How long completed jobs are kept, in seconds; `null`: the default of the reaper.
    completed_retention_seconds: Option<f64>,
    /// How long failed and cancelled jobs are kept, in seconds; `null`: the default of the reaper.
    failed_retention_seconds: Option<f64>,
    /// Largest number of `queued` jobs with which a submission is accepted; `null`: no limit.
    max_queued: Option<u64>,
    /// Jobs that wait for their `run_at`.
    scheduled: u64,
    /// Jobs that can start now.
    queued: u64,
    /// Jobs that run.
    running: u64,
}

impl From<QueueRecord> for QueueView {
    fn from(record: QueueRecord) -> Self {
        Self {
            name: record.name.into(),
            paused: record.paused_at.is_some(),
            paused_at: record.paused_at,
            completed_retention_seconds: record.completed_retention.map(|duration| duration.as_secs_f64()),
            failed_retention_seconds: record.failed_retention.map(|duration| duration.as_secs_f64()),
            max_queued: record.max_queued,
            scheduled: record.scheduled,
            queued: record.queued,
            running: record.running,
        }
    }
}

/// Options of pause and resume.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// `true`: create the queue if it does not exist yet. Default `false`.
    #[serde(default)]
    #[schema(required = false, default = false)]
    pub(crate) create: bool,
}

impl Wire for CreateBody {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// Settings to change. An absent field stays as it is; `null` restores the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a number have three meanings")]
pub(crate) struct QueueBody {
    /// How long completed jobs are kept, in seconds, up to ten years; `null` restores the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 316_224_000)]
    completed_retention_seconds: Option<Option<f64>>,
    /// How long failed and cancelled jobs are kept, in seconds, up to ten years; `null` restores the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 316_224_000)]
    failed_retention_seconds: Option<Option<f64>>,
    /// Largest number of `queued` jobs that a submission may lead to, up to a billion. Above it submissions get 429. 0 refuses all, `null` none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000)]
    max_queued: Option<Option<i64>>,
    /// `true`: create the queue if it does not exist yet. Default `false`.
    #[serde(default)]
    #[schema(required = false, default = false)]
    pub(crate) create: bool,
}

impl Wire for QueueBody {}

impl QueueBody {
    /// The checked settings, or every error.
    pub(crate) fn settings(&self) -> Result<QueueSettings, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut max_queued_error = None;
        let mut check = |pointer: &str, setting: Option<Option<f64>>| {
            setting.map(|value| {
                value.and_then(|seconds| {
                    let retention = time::seconds(seconds, Duration::ZERO..=MAX_RETENTION);
                    if retention.is_none() {
                        let message = format!("must be between 0 and {}, or null", MAX_RETENTION.as_secs());
                        errors.push(FieldError::new(pointer, "out_of_range", message));
                    }
                    retention
                })
            })
        };
        let max_queued = self.max_queued.map(|value| {
            value.and_then(|most| {
                let usable = u64::try_from(most).ok().filter(|most| *most <= MAX_MAX_QUEUED);
                if usable.is_none() {
                    let message = format!("must be between 0 and {MAX_MAX_QUEUED}, or null");
                    max_queued_error = Some(FieldError::new("/max_queued", "out_of_range", message));
                }
                usable
            })
        });
        let settings = QueueSettings {
            max_queued,
            completed_retention: check("/completed_retention_seconds", self.completed_retention_seconds),
            failed_retention: check("/failed_retention_seconds", self.failed_retention_seconds),
        };
        errors.extend(max_queued_error);
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

/// Result of a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueDeletion)]
pub(crate) struct DeletionView {
    /// Whether this request deleted the queue. `false`: there was no queue of this name.
    pub(crate) deleted: bool,
    /// Waiting jobs that `force` deleted.
    pub(crate) purged: u64,
}

/// Options of a purge.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeBody {
    /// `true`: change nothing, only count the jobs that a purge would delete. Default `false`.
    #[serde(default)]
    #[schema(required = false, default = false)]
    pub(crate) dry_run: bool,
    /// Most jobs to delete, 1 to 100,000; default 100,000. A dry run counts up to 100,000.
    #[schema(minimum = 1, maximum = 100_000)]
    limit: Option<i64>,
    /// Delete only jobs that were created before this timestamp (RFC 3339); by default all. The `as_of` of a dry run spares jobs that came
    /// after it.
    #[schema(format = DateTime)]
    created_before: Option<String>,
}

impl Wire for PurgeBody {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl PurgeBody {
    /// The time that bounds the jobs.
    pub(crate) fn created_before(&self) -> Result<Option<DateTime<Utc>>, FieldError> {
        let wrong = || FieldError::new("/created_before", "invalid", TIMESTAMP_RULE);
        self.created_before.as_deref().map(|text| timestamp(text).ok_or_else(wrong)).transpose()
    }

    /// Most jobs to delete.
    pub(crate) fn limit(&self) -> Result<u32, FieldError> {
        let Some(limit) = self.limit else { return Ok(MAX_PURGE) };
        let usable = u32::try_from(limit).ok().filter(|limit| (1..=MAX_PURGE).contains(limit));
        usable.ok_or_else(|| FieldError::new("/limit", "out_of_range", "must be between 1 and 100000"))
    }
}

/// Result of a purge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PurgeView {
    /// Whether this was a dry run, which deletes nothing.
    pub(crate) dry_run: bool,
    /// Waiting jobs that were found. In a dry run: those that wait now, up to 100,000.
    pub(crate) matched: u64,
    /// `false` if more jobs wait than `matched` says.
    pub(crate) exact: bool,
    /// In a dry run, the time of the database: all jobs that it counted were created before it.
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// Waiting jobs that were deleted.
    pub(crate) purged: u64,
    /// The request ended, at its limit or its time, before all waiting jobs were deleted: send it again.
    pub(crate) more: bool,
}

impl PurgeView {
    /// What a dry run answers.
    pub(crate) const fn dry(waiting: &Waiting) -> Self {
        let Waiting { jobs, is_exact, as_of } = *waiting;
        Self { dry_run: true, matched: jobs, exact: is_exact, as_of: Some(as_of), purged: 0, more: false }
    }
}
