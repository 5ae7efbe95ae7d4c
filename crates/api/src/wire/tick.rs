//! Ticks of schedules: what became of those that were, and when those to come are.

use chrono::{DateTime, Utc};
use jobqueue_core::JobId;
use jobqueue_core::schedule::{Fate, Schedule};
use jobqueue_store::TickRecord;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of a tick.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TickFate)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum FateWord {
    /// Its job was enqueued.
    Fired,
    /// Its job is enqueued when the job of the tick before has ended.
    Waiting,
    /// No job: it could not fire in time.
    Missed,
    /// No job: the job of the tick before had not ended, or a later tick replaced it.
    Overlap,
    /// No job: its job would have expired already.
    Expired,
    /// No job: another job holds the unique key.
    Unique,
}

/// A tick of a schedule, and its job or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tick)]
pub(crate) struct TickView {
    /// The time of the tick, without jitter.
    tick_at: DateTime<Utc>,
    /// What became of it.
    #[schema(value_type = FateWord)]
    fate: Fate,
    /// Its job; the job that holds the key if the fate is `unique`. The job may have been deleted after its retention.
    job_id: Option<Uuid>,
    /// When this was decided.
    decided_at: DateTime<Utc>,
}

impl From<TickRecord> for TickView {
    fn from(record: TickRecord) -> Self {
        Self {
            tick_at: record.nominal_at,
            fate: record.fate,
            job_id: record.job.map(JobId::as_uuid),
            decided_at: record.decided_at,
        }
    }
}

/// A page of ticks, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TicksView {
    /// The ticks, newest first.
    pub(crate) ticks: Vec<TickView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A tick to come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextTickView {
    /// The time of the tick.
    tick_at: DateTime<Utc>,
    /// The same time in the time zone of the schedule.
    #[schema(format = DateTime)]
    local: String,
    /// When it fires: at its time, plus its jitter.
    fires_at: DateTime<Utc>,
}

/// The next ticks of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewView {
    /// Its times in English words.
    in_words: String,
    /// The ticks, in order. There are fewer than requested if the schedule ends.
    ticks: Vec<NextTickView>,
}

impl PreviewView {
    /// Up to `count` ticks after `from`.
    pub(crate) fn of(schedule: &Schedule, from: DateTime<Utc>, count: usize, runs: u64) -> Self {
        let ticks = schedule.preview(from, count, runs).into_iter();
        let view = |(tick_at, fires_at)| NextTickView { tick_at, local: schedule.local(tick_at), fires_at };
        Self { in_words: schedule.in_words(), ticks: ticks.map(view).collect() }
    }
}
