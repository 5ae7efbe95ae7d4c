//! The state machine: seven statuses, and the transition of each verb. `docs/state-machine.md` has the diagram.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for other jobs.
    Blocked,
    /// Waits for its `run_at`. With `attempt` above 0 it waits for a retry.
    Scheduled,
    /// Can run now; waits for a worker.
    Queued,
    /// Leased by a worker.
    Running,
    /// Final: its handler succeeded.
    Completed,
    /// Final: out of attempts, discarded, or out of snoozes. These jobs are the dead letters.
    Failed,
    /// Final: cancelled by a user, replaced, or expired before it started.
    Cancelled,
}

/// What can happen to a stored job. API, code, SQL and docs use the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Its `run_at` has passed, or an operator wants it to run now.
    Promote,
    /// A worker leases it.
    Lease,
    /// Settled as success.
    Complete,
    /// Settled as a failure with a later retry, or as a snooze.
    Postpone,
    /// Settled as a final failure.
    Fail,
    /// Returned to the queue: by a worker that drains (costs no attempt), or because the lease was lost (costs one).
    Requeue,
    /// A user cancels it. For a running job this only records a request.
    Cancel,
    /// `expires_at` passed before it started.
    Expire,
    /// An operator runs a failed or cancelled job again. If its `run_at` is still ahead, it becomes `scheduled`.
    Retry,
    /// Its retention has ended.
    Prune,
}

/// The effect of a verb on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The job gets this status.
    To(Status),
    /// The status stays. The worker learns of the request with its next heartbeat.
    Asked,
    /// The job is deleted.
    Gone,
    /// The transition is not legal: the request is refused with a conflict and nothing changes.
    Refused,
}

impl Status {
    /// All statuses, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the job has ended. Only an operator's retry makes it run again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether the job waits: for its time, for other jobs, or for a worker.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Blocked | Self::Scheduled | Self::Queued)
    }

    /// The status of a job that waits for its `run_at` and for `pending` other jobs.
    pub const fn of_waiting(pending: u32) -> Self {
        if pending > 0 { Self::Blocked } else { Self::Scheduled }
    }

    /// The word used in the API, in SQL and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The transition table. The store is tested against it.
    pub const fn on(self, verb: Verb) -> Move {
        use Status::{Blocked, Cancelled, Completed, Failed, Queued, Running, Scheduled};
        match (self, verb) {
            (Scheduled, Verb::Promote) | (Running, Verb::Requeue) | (Failed | Cancelled, Verb::Retry) => {
                Move::To(Queued)
            }
            (Queued, Verb::Lease) => Move::To(Running),
            (Running, Verb::Complete) => Move::To(Completed),
            (Running, Verb::Postpone) => Move::To(Scheduled),
            (Running, Verb::Fail) => Move::To(Failed),
            (Blocked | Scheduled | Queued, Verb::Cancel | Verb::Expire) => Move::To(Cancelled),
            (Running, Verb::Cancel) => Move::Asked,
            (Completed | Failed | Cancelled, Verb::Prune) => Move::Gone,
            _ => Move::Refused,
        }
    }
}

impl Verb {
    /// All verbs, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Promote,
        Self::Lease,
        Self::Complete,
        Self::Postpone,
        Self::Fail,
        Self::Requeue,
        Self::Cancel,
        Self::Expire,
        Self::Retry,
        Self::Prune,
    ];
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of blocked, scheduled, queued, running, completed, failed, cancelled")]
pub struct UnknownStatus;

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_status_is_left_by_retry_and_prune_alone() {
        for status in Status::ALL.into_iter().filter(|s| s.is_final()) {
            for verb in Verb::ALL {
                let left = status.on(verb) != Move::Refused;
                assert!(!left || matches!(verb, Verb::Retry | Verb::Prune), "{status} {verb:?}");
            }
        }
    }

    #[test]
    fn words_round_trip() {
        for status in Status::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert!("QUEUED".parse::<Status>().is_err());
    }
}
