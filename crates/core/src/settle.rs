//! The one decision of the queue: what becomes of a job when an attempt ends.
//!
//! Worker, drain, remote workers and reaper all come through here; nobody else decides.

use std::time::Duration;

use crate::attempt::{Failure, Outcome};
use crate::job::Job;
use crate::json::Json;
use crate::limits::MIN_SNOOZE;
use crate::retry::MAX_DELAY;

/// What the store shall do with the job. Delays, not moments: the database adds its own now.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Final success.
    Complete {
        /// What the handler gave back.
        result: Option<Json>,
    },
    /// The attempt counts; try again after the delay.
    RetryAfter {
        /// How long to wait.
        delay: Duration,
        /// Why this attempt failed; kept in the attempt's history.
        failure: Failure,
    },
    /// The attempt does not count; try again after the delay.
    Snooze {
        /// How long to wait: 1 second to 7 days, whatever the handler said.
        delay: Duration,
    },
    /// Final failure: a dead letter.
    Fail {
        /// Why the last attempt failed.
        failure: Failure,
    },
    /// Final: it will not run (again).
    Cancel {
        /// The reason that readers are shown.
        failure: Failure,
    },
    /// Back to the queue at once. With a failure the attempt counts, without one it is given back.
    Requeue {
        /// Set if the attempt is spent.
        failure: Option<Failure>,
    },
}

/// Decides. `dice` is uniform in `[0, 1)` and spreads retries.
pub fn settle(job: &Job, outcome: Outcome, dice: f64) -> Settlement {
    let exhausted = job.attempt >= job.max_attempts;
    match outcome {
        Outcome::Completed(result) => Settlement::Complete { result },
        Outcome::Failed { failure, .. } if exhausted => Settlement::Fail { failure },
        Outcome::Failed { failure, retry_after } => {
            let policy = job.retry.clone().unwrap_or_default();
            let delay = retry_after.unwrap_or_else(|| policy.delay(job.attempt, dice));
            Settlement::RetryAfter { delay, failure }
        }
        Outcome::Discarded(failure) => Settlement::Fail { failure },
        Outcome::Snoozed(delay) => Settlement::Snooze { delay: delay.clamp(MIN_SNOOZE, MAX_DELAY) },
        Outcome::Cancelled => Settlement::Cancel { failure: Failure::cancelled() },
        Outcome::Released => Settlement::Requeue { failure: None },
        Outcome::LeaseLost if exhausted => Settlement::Fail { failure: Failure::lease_lost() },
        Outcome::LeaseLost => Settlement::Requeue { failure: Some(Failure::lease_lost()) },
        Outcome::Expired => Settlement::Cancel { failure: Failure::expired() },
    }
}

impl Settlement {
    /// The same, when a user has asked to cancel meanwhile: what would run again is cancelled, what is final stands.
    #[must_use]
    pub fn after_cancel_request(self) -> Self {
        match self {
            Self::RetryAfter { .. } | Self::Snooze { .. } | Self::Requeue { .. } => {
                Self::Cancel { failure: Failure::cancelled() }
            }
            last => last,
        }
    }

    /// Whether the job would run again.
    pub fn runs_again(&self) -> bool {
        matches!(self, Self::RetryAfter { .. } | Self::Snooze { .. } | Self::Requeue { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::tests::job;

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let failure = || Failure::new("boom", "it broke");
        prop_oneof![
            Just(Outcome::Completed(None)),
            Just(Outcome::Failed { failure: failure(), retry_after: None }),
            (0u64..1000).prop_map(move |s| Outcome::Failed {
                failure: Failure::new("boom", ""),
                retry_after: Some(Duration::from_secs(s)),
            }),
            Just(Outcome::Discarded(failure())),
            Just(Outcome::Snoozed(Duration::from_secs(3))),
            Just(Outcome::Cancelled),
            Just(Outcome::Released),
            Just(Outcome::LeaseLost),
            Just(Outcome::Expired),
        ]
    }

    proptest! {
        #[test]
        fn no_attempt_follows_the_last(attempt in 1u16..50, max in 1u16..50, outcome in outcomes(), dice in 0.0..1.0f64) {
            let mut job = job();
            (job.attempt, job.max_attempts) = (attempt, max);
            let costs = matches!(outcome, Outcome::Failed { .. } | Outcome::LeaseLost);
            let settlement = settle(&job, outcome, dice);
            if costs && attempt >= max {
                prop_assert!(!settlement.runs_again());
            }
            prop_assert!(!settlement.after_cancel_request().runs_again());
        }
    }

    #[test]
    fn drain_gives_the_attempt_back_and_a_lost_lease_does_not() {
        let mut job = job();
        (job.attempt, job.max_attempts) = (1, 1);
        assert_eq!(settle(&job, Outcome::Released, 0.0), Settlement::Requeue { failure: None });
        assert!(matches!(settle(&job, Outcome::LeaseLost, 0.0), Settlement::Fail { .. }));
        job.max_attempts = 2;
        assert!(matches!(settle(&job, Outcome::LeaseLost, 0.0), Settlement::Requeue { failure: Some(_) }));
    }

    #[test]
    fn a_snooze_costs_no_attempt_and_therefore_takes_its_time() {
        let snoozed = |delay| settle(&job(), Outcome::Snoozed(delay), 0.0);
        for (asked, granted) in [
            (Duration::ZERO, MIN_SNOOZE),
            (Duration::from_secs(3), Duration::from_secs(3)),
            (Duration::MAX, MAX_DELAY),
        ] {
            assert_eq!(snoozed(asked), Settlement::Snooze { delay: granted });
        }
    }

    #[test]
    fn a_finished_job_stays_finished_when_the_cancel_came_too_late() {
        let done = Settlement::Complete { result: None };
        assert_eq!(done.clone().after_cancel_request(), done);
    }
}
