//! Queues and their settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::FieldError;
use jobqueue_store::{QueueRecord, QueueSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::present;
use crate::extract::Wire;

/// Ten years: beyond it a retention is a mistake in units.
const MAX_RETENTION_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

/// All queues, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuesView {
    pub(crate) queues: Vec<QueueView>,
}

/// A queue, counted at the moment of asking.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    name: String,
    paused: bool,
    /// Since when no job of it is leased.
    paused_at: Option<DateTime<Utc>>,
    /// Its own retention of completed jobs; `null` is the reaper's default.
    completed_retention_seconds: Option<f64>,
    /// Its own retention of failed and cancelled jobs.
    failed_retention_seconds: Option<f64>,
    /// Jobs that wait for their time.
    scheduled: u64,
    /// Runnable jobs.
    queued: u64,
    /// Leased jobs.
    running: u64,
}

impl From<QueueRecord> for QueueView {
    fn from(record: QueueRecord) -> Self {
        Self {
            name: record.name.into(),
            paused: record.paused_at.is_some(),
            paused_at: record.paused_at,
            completed_retention_seconds: record.completed_retention.map(|span| span.as_secs_f64()),
            failed_retention_seconds: record.failed_retention.map(|span| span.as_secs_f64()),
            scheduled: record.scheduled,
            queued: record.queued,
            running: record.running,
        }
    }
}

/// Settings to change. Absent: as it is; `null`: back to the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a number are three wishes")]
pub(crate) struct QueueBody {
    /// Retention of completed jobs.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    completed_retention_seconds: Option<Option<f64>>,
    /// Retention of failed and cancelled jobs.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    failed_retention_seconds: Option<Option<f64>>,
}

impl Wire for QueueBody {}

impl QueueBody {
    /// The checked settings, or every error.
    pub(crate) fn settings(&self) -> Result<QueueSettings, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut check = |pointer: &str, setting: Option<Option<f64>>| {
            setting.map(|value| {
                value.and_then(|seconds| {
                    let span = Duration::try_from_secs_f64(seconds).ok();
                    let usable = span.filter(|span| span.as_secs_f64() <= MAX_RETENTION_SECONDS);
                    if usable.is_none() {
                        let message = format!("must be between 0 and {MAX_RETENTION_SECONDS}, or null");
                        errors.push(FieldError::new(pointer, "out_of_range", message));
                    }
                    usable
                })
            })
        };
        let settings = QueueSettings {
            completed_retention: check("/completed_retention_seconds", self.completed_retention_seconds),
            failed_retention: check("/failed_retention_seconds", self.failed_retention_seconds),
        };
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

/// What a purge did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PurgeView {
    /// Waiting jobs that were forgotten.
    pub(crate) purged: u64,
    /// There may be more: send it again.
    pub(crate) more: bool,
}
