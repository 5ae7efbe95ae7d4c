//! The facts about the next job of a schedule, which is not enqueued yet.

use chrono::{DateTime, Utc};

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
    /// The job that has to end before a tick has a job, by the rule `skip`; `None` if it has ended, or with another rule.
    pub skips_during: Option<JobId>,
}

/// A tick that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingTick {
    /// Its time.
    pub tick: DateTime<Utc>,
    /// The job that it waits for; `None` if that one has ended.
    pub previous: Option<JobId>,
}
