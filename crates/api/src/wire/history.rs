//! The attempts and events of a job.

use chrono::{DateTime, Utc};
use jobqueue_core::{Ended, Failure, Json, WorkerId};
use jobqueue_store::{AttemptRecord, Event};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The attempts of a job, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptsView {
    /// Oldest first.
    pub(crate) attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    /// Number of the attempt, from 1. A snoozed or released attempt has the same number as the next one.
    attempt: u16,
    /// How the attempt ended: `running` (it has not), `completed`, `retried`, `failed`, `snoozed`, `released`, `lost` or `cancelled`.
    #[schema(value_type = String)]
    ended: Ended,
    /// The worker that ran it.
    worker_id: Option<Uuid>,
    /// When the job was leased.
    started_at: DateTime<Utc>,
    /// When the attempt ended; `null` while it runs.
    finished_at: Option<DateTime<Utc>>,
    /// Why the attempt did not succeed; otherwise `null`.
    #[schema(value_type = Option<super::job::FailureBody>)]
    error: Option<Failure>,
    /// The last progress value that its handler reported.
    #[schema(value_type = Option<serde_json::Value>)]
    progress: Option<Json>,
    /// The last 16 KiB of what its handler logged.
    log: String,
}

impl From<AttemptRecord> for AttemptView {
    fn from(record: AttemptRecord) -> Self {
        Self {
            attempt: record.attempt,
            ended: record.ended,
            worker_id: record.worker_id.map(WorkerId::as_uuid),
            started_at: record.started_at,
            finished_at: record.finished_at,
            error: record.error,
            progress: record.progress,
            log: record.log,
        }
    }
}

/// The events of a job, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventsView {
    /// Oldest first.
    pub(crate) events: Vec<EventView>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    /// When it happened.
    at: DateTime<Utc>,
    /// `created`, `started`, or how an attempt or the job ended.
    #[schema(value_type = String)]
    event: &'static str,
    /// Number of the attempt, for an event of an attempt.
    attempt: Option<u16>,
    /// The error of a failed attempt, or why the job was cancelled.
    #[schema(value_type = Option<super::job::FailureBody>)]
    error: Option<Failure>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self { at: event.at, event: event.event.as_str(), attempt: event.attempt, error: event.error }
    }
}
