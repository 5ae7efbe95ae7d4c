//! Dead letters, their groups, and the requests about them.

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::time::{TIMESTAMP_RULE, timestamp};
use jobqueue_core::{FieldError, JobId, Json, KindName, QueueName};
use jobqueue_store::{DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterGroupDetail};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::job::JobView;
use super::name::{KindText, QueueText, TagFilterText, TagText};
use super::present;
use crate::extract::Wire;
use crate::extract::path::uuid_of;

/// Maximum length of an error type, and of a text to search for, in bytes.
pub(crate) const MAX_TEXT: usize = 255;

/// A failed job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterView {
    /// Id of the job.
    id: Uuid,
    /// Queue of the job.
    #[schema(value_type = QueueText)]
    queue: String,
    /// Kind of the job.
    #[schema(value_type = KindText)]
    kind: String,
    /// The group that it belongs to.
    group: Uuid,
    /// When it became `failed`.
    failed_at: DateTime<Utc>,
    /// Number of attempts.
    attempt: u16,
    /// Type of its error.
    error_type: String,
    /// The first 500 characters of the message of its error.
    message: String,
    /// Labels of the job.
    #[schema(value_type = Vec<TagText>)]
    tags: Vec<String>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id.as_uuid(),
            queue: letter.queue,
            kind: letter.kind,
            group: letter.fingerprint,
            failed_at: letter.failed_at,
            attempt: letter.attempt,
            error_type: letter.error_type,
            message: letter.message,
            tags: letter.tags,
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub(crate) struct DeadLettersView {
    /// Newest failure first.
    pub(crate) dead_letters: Vec<DeadLetterView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A dead letter with its job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterDetail)]
pub(crate) struct DeadLetterDetailView {
    /// The group that it belongs to.
    pub(crate) group: Uuid,
    /// When it became `failed`.
    pub(crate) failed_at: DateTime<Utc>,
    /// The job, with its payload and its error.
    pub(crate) job: JobView,
}

/// Failed jobs of the same kind with the same error, apart from numbers, ids, times, paths and quoted texts in its message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroup)]
pub(crate) struct GroupView {
    /// Identifies the group. It is the same in every database.
    group: Uuid,
    /// Kind of the jobs.
    #[schema(value_type = KindText)]
    kind: String,
    /// Type of the error.
    error_type: String,
    /// The message, with placeholders such as `<n>` for what differs.
    message: String,
    /// Number of dead letters at the last count, about a second ago.
    count: u64,
    /// When a job first failed like this. It stays when that job is retried or deleted.
    first_failed_at: DateTime<Utc>,
    /// When a job last failed like this.
    last_failed_at: DateTime<Utc>,
    /// Ids of the newest jobs.
    examples: Vec<Uuid>,
}

impl From<DeadLetterGroup> for GroupView {
    fn from(group: DeadLetterGroup) -> Self {
        Self {
            group: group.fingerprint,
            kind: group.kind,
            error_type: group.error_type,
            message: group.message,
            count: group.count,
            first_failed_at: group.first_failed_at,
            last_failed_at: group.last_failed_at,
            examples: group.examples.into_iter().map(JobId::as_uuid).collect(),
        }
    }
}

/// A page of groups.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroups)]
pub(crate) struct GroupsView {
    /// In the order that was asked for.
    pub(crate) groups: Vec<GroupView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A group with its queues and its newest dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroupDetail)]
pub(crate) struct GroupDetailView {
    #[serde(flatten)]
    group: GroupView,
    /// Number of dead letters in each queue, the largest first.
    queues: Vec<GroupQueueView>,
    /// The newest dead letters.
    dead_letters: Vec<DeadLetterView>,
    /// When the dead letters that the group has now failed: the present hour and the 23 before it, oldest first.
    recent: Vec<GroupHourView>,
}

/// The dead letters of a group that failed in an hour.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroupHour)]
pub(crate) struct GroupHourView {
    /// When the hour began.
    at: DateTime<Utc>,
    /// Number of dead letters. It stops at 1000.
    #[schema(maximum = 1000)]
    count: u64,
}

/// The dead letters of a group in one queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroupQueue)]
pub(crate) struct GroupQueueView {
    /// The queue.
    #[schema(value_type = QueueText)]
    queue: String,
    /// Number of dead letters.
    count: u64,
}

impl From<DeadLetterGroupDetail> for GroupDetailView {
    fn from(detail: DeadLetterGroupDetail) -> Self {
        Self {
            group: detail.group.into(),
            queues: detail.queues.into_iter().map(|(queue, count)| GroupQueueView { queue, count }).collect(),
            dead_letters: detail.examples.into_iter().map(DeadLetterView::from).collect(),
            recent: detail
                .recent
                .into_iter()
                .map(|hour| GroupHourView { at: hour.at, count: hour.count })
                .collect(),
        }
    }
}

/// How to retry a dead letter.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterRetryBody {
    /// The payload of a new job, which takes the place of this one. Without it the same job runs again.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<Json>,
}

impl Wire for DeadLetterRetryBody {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// At least one criterion, or `all`. A dead letter matches if every field that is given matches; a field matches if one of its values does.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeadLetterFilterBody {
    /// The group.
    #[schema(value_type = Option<Uuid>)]
    group: Option<String>,
    /// Queues of the jobs.
    #[schema(value_type = Vec<QueueText>, required = false)]
    queue: Vec<QueueName>,
    /// Kinds of the jobs.
    #[schema(value_type = Vec<KindText>, required = false)]
    kind: Vec<KindName>,
    /// Tags: a job must have all of them.
    #[schema(value_type = Vec<TagFilterText>, required = false)]
    tag: Vec<String>,
    /// Types of the error.
    #[schema(value_type = Vec<TagFilterText>, required = false)]
    error_type: Vec<String>,
    /// A part of the message of the error, in upper or lower case.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    text: Option<String>,
    /// Failed at or after (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    failed_after: Option<String>,
    /// Failed before (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    failed_before: Option<String>,
    /// `true`: all dead letters, instead of the other criteria.
    #[schema(required = false)]
    all: bool,
}

impl DeadLetterFilterBody {
    /// The filter, or every error.
    pub(crate) fn check(self) -> Result<DeadLetterFilter, Vec<FieldError>> {
        let mut errors = Vec::new();
        let group = self.group.as_deref().and_then(|text| {
            let group = uuid_of(text);
            if group.is_none() {
                errors.push(FieldError::new(
                    "/filter/group",
                    "invalid",
                    "must be a hyphenated UUID in lower case",
                ));
            }
            group
        });
        for (name, texts) in [("tag", &self.tag), ("error_type", &self.error_type)] {
            for (at, _) in texts.iter().enumerate().filter(|(_, text)| text.contains('\0')) {
                errors.push(FieldError::new(
                    format!("/filter/{name}/{at}"),
                    "invalid",
                    "must not contain U+0000",
                ));
            }
        }
        if self.text.as_deref().is_some_and(|text| !is_searchable(text)) {
            errors.push(FieldError::new("/filter/text", "invalid", SEARCHABLE));
        }
        let mut read = |pointer: &str, text: Option<String>| {
            let text = text?;
            let at = timestamp(&text);
            if at.is_none() {
                errors.push(FieldError::new(pointer, "invalid", TIMESTAMP_RULE));
            }
            at
        };
        let filter = DeadLetterFilter {
            group,
            queues: self.queue,
            kinds: self.kind,
            tags: self.tag,
            error_types: self.error_type,
            text: self.text,
            failed_after: read("/filter/failed_after", self.failed_after),
            failed_before: read("/filter/failed_before", self.failed_before),
        };
        if errors.is_empty() && filter.is_empty() && !self.all {
            errors.push(FieldError::new(
                "/filter",
                "required",
                "must contain a criterion, or `all` for all dead letters",
            ));
        }
        if self.all && !filter.is_empty() {
            errors.push(FieldError::new("/filter/all", "conflict", "must not be combined with a criterion"));
        }
        if errors.is_empty() { Ok(filter) } else { Err(errors) }
    }
}

/// Which texts can be searched for.
pub(crate) const SEARCHABLE: &str = "must have 1 to 255 bytes and no U+0000";

/// Whether a text can be searched for.
pub(crate) fn is_searchable(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.contains('\0')
}

/// Which dead letters to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterPurgeBody {
    /// The dead letters to delete.
    pub(crate) filter: DeadLetterFilterBody,
    /// Most dead letters to delete, 1 to 1000; default 1000. `more` in the response says whether others match.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `true`: delete nothing, only return the ids of the dead letters that match. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) dry_run: bool,
}

impl Wire for DeadLetterPurgeBody {}

impl DeadLetterPurgeBody {
    /// Most dead letters to delete.
    pub(crate) fn limit(&self) -> Result<usize, FieldError> {
        let Some(limit) = self.limit else { return Ok(MAX_BATCH) };
        let usable = usize::try_from(limit).ok().filter(|limit| (1..=MAX_BATCH).contains(limit));
        usable.ok_or_else(|| FieldError::new("/limit", "out_of_range", "must be between 1 and 1000"))
    }
}

/// The result of a purge.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterPurged)]
pub(crate) struct LetterPurgeView {
    /// Whether this was a dry run, which deletes nothing.
    pub(crate) dry_run: bool,
    /// Number of matching dead letters, up to `limit`.
    pub(crate) matched: usize,
    /// Number of jobs that were deleted. One that is retried at the same time stays.
    pub(crate) deleted: u64,
    /// In a dry run, the ids of the dead letters that match.
    pub(crate) ids: Vec<Uuid>,
    /// In a dry run, the time of the database. As `failed_before` of the filter it spares those that fail later.
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// More dead letters matched than `limit`.
    pub(crate) more: bool,
}
