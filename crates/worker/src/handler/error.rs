//! How a handler says that it did not succeed. Owns the mapping to outcomes; never decides on delays.

use std::time::Duration;

use jobqueue_core::{Failure, Json, Outcome};

/// Largest `details` of a failure that is kept, in bytes.
const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// Why an attempt did not succeed, and what should follow. Any error turns into [`HandlerError::Retry`] by `?`.
#[derive(Clone, Debug, PartialEq)]
pub enum HandlerError {
    /// Failed: try again by the job's retry policy, while attempts are left.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// Overrides the policy's delay.
        after: Option<Duration>,
    },
    /// Failed for good: trying again is pointless.
    Discard(Failure),
    /// Not now: again after this delay. Costs no attempt.
    Snooze(Duration),
    /// The handler stopped because it was asked to.
    Cancelled,
}

impl HandlerError {
    /// Failed: try again by the job's policy. `kind` is a short word to group by.
    pub fn retry(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: None }
    }

    /// Failed: try again after `delay`.
    pub fn retry_after(kind: impl Into<String>, message: impl Into<String>, delay: Duration) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: Some(delay) }
    }

    /// Failed for good.
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

/// A handler builds its failures by hand: bound them here, once.
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
