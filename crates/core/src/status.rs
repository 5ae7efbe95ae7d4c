//! The state machine: seven statuses, and every move that a verb may make. `docs/state-machine.md` draws it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for other jobs.
    Blocked,
    /// Waits for its time; with `attempt` above zero it is a retry that waits.
    Scheduled,
    /// Could run now.
    Queued,
    /// Leased by a worker.
    Running,
    /// Final: its handler succeeded.
    Completed,
    /// Final: out of attempts, or discarded. These are the dead letters.
    Failed,
    /// Final: cancelled by a user, replaced, or expired before it started.
    Cancelled,
}

/// What can happen to a job that exists. The words are the same in the API, the code, SQL and the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Its time came, or an operator says now.
    Promote,
    /// A worker takes it.
    Lease,
    /// Settled as success.
    Complete,
    /// Settled as a failure that the policy retries later, or snoozed.
    Postpone,
    /// Settled as a final failure.
    Fail,
    /// Given back: at drain (costs no attempt) or because the lease was lost (costs one).
    Requeue,
    /// A user wants it not to run; on a running job this only asks.
    Cancel,
    /// `expires_at` passed before it started.
    Expire,
    /// An operator runs a final job again; one that was cancelled before its `run_at` waits for it as `scheduled`.
    Retry,
    /// Retention ended.
    Prune,
}

/// Where a verb leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// To this status.
    To(Status),
    /// The job stays as it is; its worker is told with the next heartbeat.
    Asked,
    /// The job is forgotten.
    Gone,
    /// Not legal here: refused with a conflict, nothing changes.
    Refused,
}

impl Status {
    /// All of them, in life order.
    pub const ALL: [Self; 7] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether no worker will touch the job again unless an operator retries it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
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

    /// The legal moves: the single table that the store is tested against.
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
    /// All of them, in life order.
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

/// The text is not the word of a status.
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
