//! Why a schedule enqueues no job now: what holds its next tick, before anything can hold the job of the tick.

use chrono::{DateTime, Utc};

use super::Reason;
use crate::id::JobId;
use crate::name::ScheduleName;

/// The next job of a schedule, which is not enqueued yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NextTick {
    /// The schedule.
    pub schedule: ScheduleName,
    /// Why the reaper stopped it; `None` if it did not.
    pub error: Option<String>,
    /// Whether a user has enabled it.
    pub enabled: bool,
    /// Since when an operator has paused it; `None` if it is not paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// When the next tick fires; `None` if there is none.
    pub fires_at: Option<DateTime<Utc>>,
    /// The tick that waits for the end of the job before it, by the rule `queue_one`.
    pub waiting: Option<WaitingTick>,
}

/// A tick that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingTick {
    /// Its time.
    pub tick: DateTime<Utc>,
    /// The job that it waits for; `None` if that one has ended.
    pub previous: Option<JobId>,
}

impl NextTick {
    /// What keeps the reaper from enqueueing the job.
    pub(super) fn reasons(&self, now: DateTime<Utc>) -> Vec<Reason> {
        let schedule = || self.schedule.clone();
        let mut reasons = Vec::new();
        reasons
            .extend(self.error.clone().map(|error| Reason::ScheduleFailed { schedule: schedule(), error }));
        reasons.extend((!self.enabled).then(|| Reason::ScheduleDisabled { schedule: schedule() }));
        reasons.extend(
            self.paused_at.map(|paused_at| Reason::SchedulePaused { schedule: schedule(), paused_at }),
        );
        let is_stopped = !reasons.is_empty();
        match (self.waiting, self.fires_at) {
            (Some(WaitingTick { tick, previous: Some(previous_job) }), _) => {
                reasons.push(Reason::Overlap { schedule: schedule(), tick, previous_job });
            }
            (None, Some(run_at)) if run_at > now => reasons.push(Reason::ScheduledUntil { run_at }),
            (None, None) if !is_stopped => reasons.push(Reason::ScheduleEnded { schedule: schedule() }),
            _ => {}
        }
        reasons
    }
}
