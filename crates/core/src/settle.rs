//! Decides what becomes of a job when an attempt ends.
//!
//! Workers, the drain, remote workers and the reaper all call [`settle`]. No other code makes this decision.

use std::time::Duration;

use crate::attempt::{Ended, Failure, Outcome};
use crate::job::Job;
use crate::json::Json;
use crate::limits::MIN_SNOOZE;
use crate::retry::MAX_DELAY;
use crate::status::Status;

/// What the store does with the job. Times are delays, which the database adds to its own clock.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Final success.
    Complete {
        /// What the handler returned.
        result: Option<Json>,
    },
    /// The attempt counts. The job runs again after the delay.
    RetryAfter {
        /// Delay before the next attempt.
        delay: Duration,
        /// Why this attempt failed; kept in the attempt's history.
        failure: Failure,
    },
    /// The attempt does not count. The job runs again after the delay.
    Snooze {
        /// Delay before the next attempt. [`settle`] limits what the handler asked for to 1 second to 7 days.
        delay: Duration,
    },
    /// Final failure: a dead letter.
    Fail {
        /// Why the last attempt failed.
        failure: Failure,
    },
    /// Final: the job is cancelled and does not run again.
    Cancel {
        /// The reason that readers see.
        failure: Failure,
    },
    /// The job returns to the queue immediately. The attempt counts only if there is a failure.
    Requeue {
        /// Why the attempt ended, if it counts.
        failure: Option<Failure>,
    },
}

/// What follows from the outcome of an attempt. `dice` is a random number, uniform in `[0, 1)`, that spreads retries.
pub fn settle(job: &Job, outcome: Outcome, dice: f64) -> Settlement {
    let exhausted = job.attempt >= job.max_attempts;
    match outcome {
        Outcome::Overran(limit) => {
            settle(job, Outcome::Failed { failure: Failure::timeout(limit), retry_after: None }, dice)
        }
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
    /// The settlement of a job whose cancellation was requested while it ran. A job that would run again is cancelled
    /// instead. A final settlement does not change.
    #[must_use]
    pub fn after_cancel_request(self) -> Self {
        match self {
            Self::RetryAfter { .. } | Self::Snooze { .. } | Self::Requeue { .. } => {
                Self::Cancel { failure: Failure::cancelled() }
            }
            last => last,
        }
    }

    /// The settlement of a job that was snoozed `count` times before and may be snoozed `most` times. A snooze beyond
    /// that becomes a failure.
    #[must_use]
    pub fn after_snoozes(self, count: u32, most: u32) -> Self {
        match self {
            Self::Snooze { .. } if count >= most => Self::Fail { failure: Failure::too_many_snoozes(most) },
            other => other,
        }
    }

    /// The status of the job after this settlement.
    pub const fn status(&self) -> Status {
        match self {
            Self::Complete { .. } => Status::Completed,
            Self::Fail { .. } => Status::Failed,
            Self::Cancel { .. } => Status::Cancelled,
            Self::RetryAfter { .. } | Self::Snooze { .. } => Status::Scheduled,
            Self::Requeue { .. } => Status::Queued,
        }
    }

    /// The word for the attempt in the job's history.
    pub const fn ended(&self) -> Ended {
        match self {
            Self::Complete { .. } => Ended::Completed,
            Self::Fail { .. } => Ended::Failed,
            Self::Cancel { .. } => Ended::Cancelled,
            Self::RetryAfter { .. } => Ended::Retried,
            Self::Snooze { .. } => Ended::Snoozed,
            Self::Requeue { failure: None } => Ended::Released,
            Self::Requeue { failure: Some(_) } => Ended::Lost,
        }
    }

    /// What the handler returned, if it succeeded with a result.
    pub const fn result(&self) -> Option<&Json> {
        match self {
            Self::Complete { result } => result.as_ref(),
            _ => None,
        }
    }

    /// Why the attempt failed, or why the job was cancelled.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::RetryAfter { failure, .. } | Self::Fail { failure } | Self::Cancel { failure } => {
                Some(failure)
            }
            Self::Requeue { failure } => failure.as_ref(),
            Self::Complete { .. } | Self::Snooze { .. } => None,
        }
    }

    /// Delay before the next attempt, if the job becomes `scheduled`.
    pub const fn delay(&self) -> Option<Duration> {
        match self {
            Self::RetryAfter { delay, .. } | Self::Snooze { delay } => Some(*delay),
            _ => None,
        }
    }

    /// Whether the attempt counts towards `max_attempts`.
    pub const fn spends_attempt(&self) -> bool {
        !matches!(self, Self::Snooze { .. } | Self::Requeue { failure: None })
    }

    /// Whether the job is completed.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }

    /// Whether the handler asked to run again later, which costs no attempt.
    pub const fn is_snooze(&self) -> bool {
        matches!(self, Self::Snooze { .. })
    }

    /// Whether the job runs again after this settlement.
    pub const fn runs_again(&self) -> bool {
        !self.status().is_final()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::tests::job;
    use crate::status::{Move, Verb};

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
            Just(Outcome::Overran(Duration::from_secs(9))),
        ]
    }

    /// Every kind of settlement.
    pub(crate) fn settlements() -> impl Strategy<Value = Settlement> {
        (1u16..4, outcomes(), any::<bool>()).prop_map(|(attempt, outcome, cancel_requested)| {
            let settlement = settle(&Job { attempt, max_attempts: 3, ..job() }, outcome, 0.5);
            if cancel_requested { settlement.after_cancel_request() } else { settlement }
        })
    }

    proptest! {
        #[test]
        fn a_settlement_is_a_legal_end_of_a_running_job(settlement in settlements()) {
            let verb = match settlement.ended() {
                Ended::Completed => Verb::Complete,
                Ended::Retried | Ended::Snoozed => Verb::Postpone,
                Ended::Failed => Verb::Fail,
                Ended::Released | Ended::Lost => Verb::Requeue,
                // the job is cancelled instead of running again
                Ended::Cancelled => Verb::Cancel,
                Ended::Running => unreachable!("a settlement ends the attempt"),
            };
            match Status::Running.on(verb) {
                Move::To(status) => prop_assert_eq!(status, settlement.status()),
                asked => prop_assert_eq!((asked, settlement.status()), (Move::Asked, Status::Cancelled)),
            }
        }

        #[test]
        fn an_attempt_that_costs_nothing_did_not_fail_and_its_job_runs_again(settlement in settlements()) {
            if !settlement.spends_attempt() {
                prop_assert!(settlement.runs_again() && settlement.failure().is_none());
            }
            prop_assert_eq!(settlement.delay().is_some(), settlement.status() == Status::Scheduled);
            prop_assert_eq!(settlement.is_snooze(), settlement.ended() == Ended::Snoozed);
            prop_assert!(!(settlement.is_success() && settlement.failure().is_some()));
        }

        #[test]
        fn no_attempt_follows_the_last(attempt in 1u16..50, max in 1u16..50, outcome in outcomes(), dice in 0.0..1.0f64) {
            let mut job = job();
            (job.attempt, job.max_attempts) = (attempt, max);
            let costs = matches!(outcome, Outcome::Failed { .. } | Outcome::LeaseLost | Outcome::Overran(_));
            let settlement = settle(&job, outcome, dice);
            if costs && attempt >= max {
                prop_assert!(!settlement.runs_again());
            }
            prop_assert!(!settlement.after_cancel_request().runs_again());
        }
    }

    #[test]
    fn a_release_costs_no_attempt_and_a_lost_lease_costs_one() {
        let mut job = job();
        (job.attempt, job.max_attempts) = (1, 1);
        assert_eq!(settle(&job, Outcome::Released, 0.0), Settlement::Requeue { failure: None });
        assert!(matches!(settle(&job, Outcome::LeaseLost, 0.0), Settlement::Fail { .. }));
        job.max_attempts = 2;
        assert!(matches!(settle(&job, Outcome::LeaseLost, 0.0), Settlement::Requeue { failure: Some(_) }));
    }

    #[test]
    fn the_delay_of_a_snooze_is_limited() {
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
    fn a_snooze_beyond_the_maximum_fails_the_job_and_other_settlements_stay() {
        let snooze = Settlement::Snooze { delay: MIN_SNOOZE };
        assert_eq!(snooze.clone().after_snoozes(2, 3), snooze);
        for (count, most) in [(3, 3), (4, 3), (0, 0)] {
            let Settlement::Fail { failure } = snooze.clone().after_snoozes(count, most) else { panic!() };
            assert_eq!(failure.kind, "too_many_snoozes");
        }
        for other in [Settlement::Complete { result: None }, Settlement::Requeue { failure: None }] {
            assert_eq!(other.clone().after_snoozes(9, 3), other);
        }
    }

    #[test]
    fn a_late_cancel_request_does_not_change_a_completed_job() {
        let done = Settlement::Complete { result: None };
        assert_eq!(done.clone().after_cancel_request(), done);
    }
}
