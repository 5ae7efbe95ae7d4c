//! What happened to a job.

use chrono::{DateTime, Utc};
use jobqueue_core::{Ended, Failure, Json, WorkerId};
use jobqueue_store::{AttemptRecord, Event};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The attempts of a job, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptsView {
    pub(crate) attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    /// From 1; a snoozed or released attempt repeats the number of the next.
    attempt: u16,
    /// `running`, `completed`, `retried`, `failed`, `snoozed`, `released`, `lost` or `cancelled`.
    #[schema(value_type = String)]
    ended: Ended,
    /// `null` for a remote worker.
    worker_id: Option<Uuid>,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
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
    pub(crate) events: Vec<EventView>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    at: DateTime<Utc>,
    /// `created`, `started`, or how an attempt or the job ended.
    #[schema(value_type = String)]
    event: &'static str,
    attempt: Option<u16>,
    #[schema(value_type = Option<super::job::FailureBody>)]
    error: Option<Failure>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self { at: event.at, event: event.event.as_str(), attempt: event.attempt, error: event.error }
    }
}
