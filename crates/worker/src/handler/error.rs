//! How a handler reports that it did not succeed. Owns the mapping to outcomes; does not decide delays.

use std::time::Duration;

use jobqueue_core::{Failure, Json, Outcome};

/// The largest `details` of a failure that are kept, in bytes.
const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// Why an attempt did not succeed, and what must follow. `?` turns any error into [`HandlerError::Retry`].
#[derive(Clone, Debug, PartialEq)]
pub enum HandlerError {
    /// The attempt failed. The job is retried by its retry policy while it has attempts left.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// Overrides the policy's delay.
        after: Option<Duration>,
    },
    /// The job fails permanently, because a retry would not help.
    Discard(Failure),
    /// The job runs again after this delay. This costs no attempt.
    Snooze(Duration),
    /// The handler stopped because it was asked to.
    Cancelled,
}

impl HandlerError {
    /// The attempt failed; the job is retried by its retry policy. `kind` is a short word by which failures
    /// are grouped.
    pub fn retry(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: None }
    }

    /// The attempt failed; the job is retried after `delay`.
    pub fn retry_after(kind: impl Into<String>, message: impl Into<String>, delay: Duration) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: Some(delay) }
    }

    /// The job fails permanently.
    pub fn discard(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Discard(Failure::new(kind, message))
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        match self {
            Self::Retry { failure, after } => {
                Outcome::Failed { failure: bounded(failure), retry_after: after }
            }
            Self::Discard(failure) => Outcome::Discarded(bounded(failure)),
            Self::Snooze(delay) => Outcome::Snoozed(delay),
            Self::Cancelled => Outcome::Cancelled,
        }
    }
}

/// Bounds a failure, because a handler may build one of any size.
fn bounded(failure: Failure) -> Failure {
    let mut failure = failure.storable();
    if failure.details.as_ref().is_some_and(|details| Json::len(details) > MAX_DETAILS_BYTES) {
        failure.details = None;
    }
    failure
}

impl<E: Into<anyhow::Error>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retry("error", format!("{:#}", error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_a_retry_with_its_whole_chain() {
        fn fails() -> Result<(), HandlerError> {
            use anyhow::Context as _;
            "x".parse::<u8>().context("reading the size")?;
            Ok(())
        }
        let HandlerError::Retry { failure, after: None } = fails().unwrap_err() else {
            panic!("not a retry")
        };
        assert_eq!(failure.kind, "error");
        assert_eq!(failure.message, "reading the size: invalid digit found in string");
    }

    #[test]
    fn failures_made_by_hand_are_bounded() {
        let details = Some(Json::parse(format!("\"{}\"", "x".repeat(MAX_DETAILS_BYTES))).unwrap());
        let failure = Failure { kind: "k\0".into(), message: "m".repeat(1 << 20), details };
        let Outcome::Discarded(failure) = HandlerError::Discard(failure).into_outcome() else { panic!() };
        assert!(
            failure.message.len() <= 8 * 1024 && failure.details.is_none() && !failure.kind.contains('\0')
        );
    }
}
