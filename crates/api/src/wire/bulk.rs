//! One verb on many jobs.

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, KindName, QueueName, Status};
use jobqueue_store::JobFilter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::moment;
use crate::extract::Wire;

/// Which jobs, and whether in earnest.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    filter: FilterBody,
    /// Most jobs to act on, 1 to 1000; default 1000. `more` tells whether to go on.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Only tell which jobs match.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) dry_run: bool,
}

/// At least one criterion. Several of one field: any of them; several fields: all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FilterBody {
    /// Default: the statuses in which the verb does something.
    #[schema(value_type = Vec<super::job::StatusWord>, required = false)]
    status: Vec<Status>,
    #[schema(value_type = Vec<String>, required = false)]
    queue: Vec<QueueName>,
    #[schema(value_type = Vec<String>, required = false)]
    kind: Vec<KindName>,
    /// Jobs that have all of these.
    #[schema(required = false)]
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
            errors.push(FieldError::new("/filter", "required", "must hold at least one criterion"));
        }
        for (at, _) in tag.iter().enumerate().filter(|(_, tag)| tag.contains('\0')) {
            errors.push(FieldError::new(format!("/filter/tag/{at}"), "invalid", "must not hold U+0000"));
        }
        let mut read = |pointer: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            let moment = moment(text);
            if moment.is_none() {
                let message = "must be an existing RFC 3339 moment with an offset";
                errors.push(FieldError::new(pointer, "invalid", message));
            }
            moment
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

/// What a bulk verb did.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct BulkView {
    /// Nothing was changed: `ids` are those that matched.
    pub(crate) dry_run: bool,
    /// Jobs that matched, up to `limit`.
    pub(crate) matched: usize,
    /// Jobs that are now what was asked, or will be (a running job that was asked to stop).
    pub(crate) changed: usize,
    /// Those jobs.
    pub(crate) ids: Vec<Uuid>,
    /// Jobs that matched and were left as they are.
    pub(crate) failures: Vec<BulkFailure>,
    /// More jobs matched than `limit`.
    pub(crate) more: bool,
}

/// A job that was left as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkFailure {
    pub(crate) id: Uuid,
    /// The status of the same verb on this job alone.
    pub(crate) status: u16,
    /// The last part of the problem's type.
    pub(crate) code: &'static str,
}
