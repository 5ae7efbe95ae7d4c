//! One verb on many jobs.

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::time::{TIMESTAMP_RULE, timestamp};
use jobqueue_core::{FieldError, KindName, QueueName, Status};
use jobqueue_store::JobFilter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Wire;

/// Filter, limit and dry-run flag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// The jobs to act on.
    filter: FilterBody,
    /// Most jobs to act on, 1 to 1000; default 1000. `more` in the response says whether other jobs match.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `true`: change nothing, only return the ids of the jobs that match. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) dry_run: bool,
}

/// At least one criterion. A job matches if every field that is given matches; a field matches if one of its values does.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FilterBody {
    /// Statuses of the jobs. Default: those in which the action has an effect.
    #[schema(value_type = Vec<super::job::StatusWord>, required = false)]
    status: Vec<Status>,
    /// Queues of the jobs.
    #[schema(value_type = Vec<super::name::QueueText>, required = false)]
    queue: Vec<QueueName>,
    /// Kinds of the jobs.
    #[schema(value_type = Vec<super::name::KindText>, required = false)]
    kind: Vec<KindName>,
    /// Tags: a job must have all of them.
    #[schema(value_type = Vec<super::name::TagFilterText>, required = false)]
    tag: Vec<String>,
    /// Submitted at or after (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    created_after: Option<String>,
    /// Submitted before (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    created_before: Option<String>,
}

impl Wire for BulkBody {}

impl BulkBody {
    /// The filter, with `usual` as its statuses if it names none; or every error.
    pub(crate) fn filter(&self, usual: &[Status]) -> Result<JobFilter, Vec<FieldError>> {
        let FilterBody { status, queue, kind, tag, created_after, created_before } = &self.filter;
        let mut errors = Vec::new();
        let lists_empty = status.is_empty() && queue.is_empty() && kind.is_empty() && tag.is_empty();
        if lists_empty && created_after.is_none() && created_before.is_none() {
            errors.push(FieldError::new("/filter", "required", "must contain at least one criterion"));
        }
        for (at, _) in tag.iter().enumerate().filter(|(_, tag)| tag.contains('\0')) {
            errors.push(FieldError::new(format!("/filter/tag/{at}"), "invalid", "must not contain U+0000"));
        }
        let mut read = |pointer: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            let at = timestamp(text);
            if at.is_none() {
                errors.push(FieldError::new(pointer, "invalid", TIMESTAMP_RULE));
            }
            at
        };
        let filter = JobFilter {
            statuses: if status.is_empty() { usual.to_vec() } else { status.clone() },
            queues: queue.clone(),
            kinds: kind.clone(),
            tags: tag.clone(),
            created_after: read("/filter/created_after", created_after),
            created_before: read("/filter/created_before", created_before),
        };
        if errors.is_empty() { Ok(filter) } else { Err(errors) }
    }

    /// Most jobs to act on.
    pub(crate) fn limit(&self) -> Result<usize, FieldError> {
        let Some(limit) = self.limit else { return Ok(MAX_BATCH) };
        let usable = usize::try_from(limit).ok().filter(|limit| (1..=MAX_BATCH).contains(limit));
        usable.ok_or_else(|| FieldError::new("/limit", "out_of_range", "must be between 1 and 1000"))
    }
}

/// The result of a bulk action.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct BulkView {
    /// Whether this was a dry run, which changes nothing.
    pub(crate) dry_run: bool,
    /// Number of matching jobs, up to `limit`.
    pub(crate) matched: usize,
    /// Number of jobs that were changed, including running jobs whose worker was asked to stop.
    pub(crate) changed: usize,
    /// Ids of the changed jobs; in a dry run, of the matching jobs.
    pub(crate) ids: Vec<Uuid>,
    /// Jobs that matched but could not be changed.
    pub(crate) failures: Vec<BulkFailure>,
    /// More jobs matched than `limit`.
    pub(crate) more: bool,
}

/// A matching job that could not be changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkFailure {
    /// Id of the job.
    pub(crate) id: Uuid,
    /// The HTTP status that the same action on this job alone would have got.
    pub(crate) status: u16,
    /// The last part of the problem type, such as `wrong-status`.
    pub(crate) code: &'static str,
}
