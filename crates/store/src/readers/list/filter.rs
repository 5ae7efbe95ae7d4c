//! What a search for jobs asks for, and what it finds.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, KindName, MetadataTerm, QueueName, Status};

/// A filter for jobs. Empty lists and `None` match all jobs.
///
/// The first fields are searched in the order of an index. The others need to look at each job that the first fields leave over,
/// so a search reads a bounded number of these and says where it stopped.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// The job has one of these statuses.
    pub statuses: Vec<Status>,
    /// The job is in one of these queues.
    pub queues: Vec<QueueName>,
    /// The job has one of these kinds.
    pub kinds: Vec<KindName>,
    /// The job has all of these tags.
    pub tags: Vec<String>,
    /// The job was submitted at or after this timestamp.
    pub created_after: Option<DateTime<Utc>>,
    /// The job was submitted before this timestamp.
    pub created_before: Option<DateTime<Utc>>,
    /// The job became final at or after this timestamp.
    pub finished_after: Option<DateTime<Utc>>,
    /// The job became final before this timestamp.
    pub finished_before: Option<DateTime<Utc>>,
    /// The job failed or was cancelled with one of these types of error.
    pub error_types: Vec<String>,
    /// The job has one of these unique keys, in any scope.
    pub unique_keys: Vec<String>,
    /// The metadata of the job meets all of these conditions.
    pub metadata: Vec<MetadataTerm>,
    /// The payload of the job meets all of these conditions.
    pub payload: Vec<MetadataTerm>,
    /// The job has failed before, and waits for its next attempt.
    pub retrying: bool,
}

/// The ids of jobs that match a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The jobs, newest first.
    pub ids: Vec<JobId>,
    /// The id to pass as `after` to continue; `None` if no more jobs match. A search that read as many jobs as it may can stop
    /// before it has found `limit` jobs, or any.
    pub next: Option<JobId>,
}

impl Matches {
    /// The first `limit` of these jobs. More than that shows that there are more.
    pub(super) fn first(mut ids: Vec<JobId>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = if more { ids.last().copied() } else { None };
        Self { ids, next }
    }
}

/// A list, or nothing if it is empty.
pub(super) fn some(words: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then_some(words)
}
