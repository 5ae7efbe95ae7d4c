//! One attempt of a job: what its handler reported, before `settle` decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::limits::MAX_ERROR_BYTES;
use crate::status::Status;

/// Why an attempt did not succeed. Submitters can read it, so it must not contain secrets of the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// A short stable word for grouping: `timeout`, `panic`, `lease_lost`, `http_500`, or the class of an exception.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, for a human reader. Only the first 8 KiB are kept.
    #[serde(default)]
    pub message: String,
    /// Optional JSON with more detail, such as a stack trace or a response body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}

/// How an attempt ended, as reported by the worker, or by the reaper if the worker cannot report.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The handler succeeded.
    Completed(Option<Json>),
    /// The handler failed, panicked or exceeded its time limit. The retry policy decides about the next attempt.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// Replaces the delay of the policy, for example with the value of a `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// The handler failed and reported that a retry is useless.
    Discarded(Failure),
    /// The handler asked to run again after this delay, which is limited to 1 second to 7 days. Costs no attempt.
    Snoozed(Duration),
    /// The handler stopped because the job was cancelled.
    Cancelled,
    /// The worker drains and returns the job to the queue. Costs no attempt.
    Released,
    /// The lease expired or its worker died before a report. Costs the attempt.
    LeaseLost,
    /// `expires_at` had passed when the job was leased. The handler was not started.
    Expired,
    /// A remote worker did not report within the job's timeout, which is given here. Treated like a handler's timeout.
    Overran(Duration),
}

/// The state of an attempt, in the words of the API and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It has not ended.
    Running,
    /// Its handler succeeded.
    Completed,
    /// It failed, and the job is retried.
    Retried,
    /// It failed, and the job failed with it.
    Failed,
    /// Its handler snoozed the job.
    Snoozed,
    /// Its worker drained and returned the job to the queue.
    Released,
    /// Its lease expired or its worker died.
    Lost,
    /// The job was cancelled while it ran, or it was cancelled instead of running again.
    Cancelled,
}

/// What happened to a job: one entry of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The job was submitted.
    Created,
    /// An attempt began.
    Started,
    /// An attempt ended, or the job ended without an attempt.
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

    /// The word used in the API and in SQL.
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

    /// How a job with this final status ended; `None` for a status that is not final.
    pub const fn with(status: Status) -> Option<Self> {
        match status {
            Status::Completed => Some(Self::Completed),
            Status::Failed => Some(Self::Failed),
            Status::Cancelled => Some(Self::Cancelled),
            Status::Blocked | Status::Scheduled | Status::Queued | Status::Running => None,
        }
    }

    /// Parses the word; `None` if it is unknown.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ended| ended.as_str() == word)
    }
}

impl EventKind {
    /// The word used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Ended(ended) => ended.as_str(),
        }
    }
}

impl Failure {
    /// A failure without details. NUL characters are replaced, and `kind` and `message` are cut to their limits.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), details: None }.storable()
    }

    /// The same failure with `kind` and `message` cut to their limits and without NUL, which Postgres cannot store.
    #[must_use]
    pub fn storable(self) -> Self {
        Self { kind: storable(&self.kind, 128), message: storable(&self.message, MAX_ERROR_BYTES), ..self }
    }

    /// The failure of an attempt that exceeded its time limit, in a local or a remote worker.
    pub fn timeout(limit: Duration) -> Self {
        let seconds = limit.as_secs_f64();
        Self::new("timeout", format!("the attempt did not finish within its {seconds} s"))
    }

    pub(crate) fn lease_lost() -> Self {
        Self::new("lease_lost", "the worker died or lost its lease before it reported")
    }

    /// The reason of a job that was cancelled because no attempt had started by `expires_at`.
    pub fn expired() -> Self {
        Self::new("expired", "expires_at passed before the job started")
    }

    pub(crate) fn too_many_snoozes(most: u32) -> Self {
        Self::new("too_many_snoozes", format!("it was snoozed {most} times, and its handler asked for more"))
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
