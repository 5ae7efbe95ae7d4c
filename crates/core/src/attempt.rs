//! One run of one job: what its handler reported, before anything is decided.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::limits::MAX_ERROR_BYTES;
use crate::status::Status;

/// Why an attempt did not succeed. Shown to the submitter, so it never carries secrets on our side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// A short stable word to group by: `timeout`, `panic`, `lease_lost`, `http_500`, an exception's class.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, for a human; at most 8 KiB are kept.
    #[serde(default)]
    pub message: String,
    /// More, as JSON: a stack, a response body. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}

/// How an attempt ended, as the one who ran it saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The handler succeeded.
    Completed(Option<Json>),
    /// The handler failed (or panicked, or ran into its time limit): try again by the job's policy.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// Overrides the policy's delay, for instance from a `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// The handler says that trying again is pointless.
    Discarded(Failure),
    /// Not now: again after the delay, which is brought between 1 second and 7 days. Costs no attempt.
    Snoozed(Duration),
    /// The handler stopped because the job was cancelled.
    Cancelled,
    /// The worker drains and gives the job back. Costs no attempt.
    Released,
    /// The lease ran out or its worker died: nobody reported. Costs the attempt.
    LeaseLost,
    /// Leased too late: `expires_at` had passed, the handler was not started.
    Expired,
}

/// How an attempt ended, or that it has not, in the words of the API and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Not yet.
    Running,
    /// Its handler succeeded.
    Completed,
    /// It failed, and the job's policy says again.
    Retried,
    /// It failed, and was the last one.
    Failed,
    /// Its handler said "later".
    Snoozed,
    /// Its worker drained and gave it back.
    Released,
    /// Its lease ran out or its worker died.
    Lost,
    /// The job was cancelled meanwhile.
    Cancelled,
}

/// What happened to a job at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was submitted.
    Created,
    /// An attempt began.
    Started,
    /// An attempt ended, or the job without one.
    Ended(Ended),
}

impl Ended {
    const ALL: [Self; 8] = [
        Self::Running,
        Self::Completed,
        Self::Retried,
        Self::Failed,
        Self::Snoozed,
        Self::Released,
        Self::Lost,
        Self::Cancelled,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Snoozed => "snoozed",
            Self::Released => "released",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }

    /// How a job of this final status ended; `None` while it is live.
    pub const fn with(status: Status) -> Option<Self> {
        match status {
            Status::Completed => Some(Self::Completed),
            Status::Failed => Some(Self::Failed),
            Status::Cancelled => Some(Self::Cancelled),
            Status::Blocked | Status::Scheduled | Status::Queued | Status::Running => None,
        }
    }

    /// From the word; `None` if it is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ended| ended.as_str() == word)
    }
}

impl Happening {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Ended(ended) => ended.as_str(),
        }
    }
}

impl Failure {
    /// A failure with its grouping word and message; NUL is replaced and the message is cut to what is kept.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), details: None }.storable()
    }

    /// The same failure with its texts bounded and without NUL, which Postgres cannot store.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { kind: storable(&self.kind, 128), message: storable(&self.message, MAX_ERROR_BYTES), ..self }
    }

    pub(crate) fn lease_lost() -> Self {
        Self::new("lease_lost", "the worker died or lost its lease before it reported")
    }

    pub(crate) fn expired() -> Self {
        Self::new("expired", "expires_at passed before the job started")
    }

    pub(crate) fn cancelled() -> Self {
        Self::new("cancelled", "cancelled while it was running")
    }
}

/// Cuts `text` to at most `max` bytes at a character boundary and replaces U+0000.
pub fn storable(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for ended in Ended::ALL {
            assert_eq!(Ended::from_word(ended.as_str()), Some(ended));
            assert_eq!(serde_json::to_value(ended).unwrap(), ended.as_str());
        }
        assert_eq!(Ended::from_word("Lost"), None);
    }

    #[test]
    fn texts_are_cut_at_a_character_and_lose_their_nul() {
        let failure = Failure::new("x", format!("a\0{}", "é".repeat(MAX_ERROR_BYTES)));
        assert!(failure.message.len() <= MAX_ERROR_BYTES + 2 && failure.message.starts_with("a\u{fffd}é"));
    }
}
