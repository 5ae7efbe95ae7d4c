//! Decides what the end of a job frees and starts.
//!
//! The store calls [`aftermath`] in one place, for every job that ends. No other code makes this decision.

use crate::settle::Settlement;
use crate::status::Status;
use crate::ties::Ties;

/// What the end of a job frees and starts. The store carries it out in the transaction that ends the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The job's unique key is freed, unless the submitter listed this final status as one that keeps it.
    pub unique_key: Option<Status>,
    /// The job is a dead letter now.
    pub dead_letter: bool,
    /// A job is enqueued that sends the webhook of the job that ended.
    pub webhook: bool,
}

/// What follows from the settlement of a job with these ties, apart from the job itself.
pub fn aftermath(ties: Ties, settlement: &Settlement) -> Effects {
    let status = settlement.status();
    if !status.is_final() {
        return Effects::default();
    }
    Effects {
        unique_key: ties.unique_key.then_some(status),
        dead_letter: status == Status::Failed,
        webhook: ties.on_end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settle::tests::settlements;

    fn all_ties() -> impl Strategy<Value = Ties> {
        any::<(bool, bool)>().prop_map(|(unique_key, on_end)| Ties { unique_key, on_end })
    }

    proptest! {
        #[test]
        fn a_job_that_runs_again_keeps_everything(ties in all_ties(), settlement in settlements()) {
            if settlement.runs_again() {
                prop_assert_eq!(aftermath(ties, &settlement), Effects::default());
            }
        }

        #[test]
        fn a_final_end_frees_exactly_what_the_job_holds(ties in all_ties(), settlement in settlements()) {
            if !settlement.runs_again() {
                let effects = aftermath(ties, &settlement);
                prop_assert_eq!(effects.unique_key, ties.unique_key.then_some(settlement.status()));
                prop_assert_eq!(effects.webhook, ties.on_end);
            }
        }

        #[test]
        fn the_end_of_a_plain_job_has_no_effects_unless_it_failed(settlement in settlements()) {
            let dead_letter = settlement.status() == Status::Failed;
            prop_assert_eq!(aftermath(Ties::NONE, &settlement), Effects { unique_key: None, dead_letter, webhook: false });
        }

        #[test]
        fn unknown_ties_free_all_that_known_ones_free(ties in all_ties(), settlement in settlements()) {
            let (known, unknown) = (aftermath(ties, &settlement), aftermath(Ties::UNKNOWN, &settlement));
            prop_assert!(known.unique_key.is_none() || known.unique_key == unknown.unique_key);
            prop_assert!(!known.webhook || unknown.webhook);
        }

        #[test]
        fn a_cancel_request_never_frees_less(ties in all_ties(), settlement in settlements()) {
            let before = aftermath(ties, &settlement);
            let after = aftermath(ties, &settlement.after_cancel_request());
            prop_assert!(before == Effects::default() || before == after);
            prop_assert_eq!(after.unique_key.is_some(), ties.unique_key);
        }
    }
}
