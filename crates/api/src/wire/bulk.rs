//! One verb on many jobs.

use chrono::{DateTime, Utc};
use jobqueue_core::limits::{MAX_BATCH, MAX_FILTER_VALUES};
use jobqueue_core::metadata::MetadataTermError;
use jobqueue_core::time::{TIMESTAMP_RULE, timestamp};
use jobqueue_core::{FieldError, JobId, KindName, MetadataTerm, QueueName, Status};
use jobqueue_store::JobFilter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Wire;

/// Which jobs to act on, and a dry-run flag. Exactly one of `filter` and `ids` is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// The jobs to act on, by what they have in common.
    pub(crate) filter: Option<FilterBody>,
    /// The jobs to act on, by their ids, 1 to 1000.
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 1000, min_items = 1)]
    ids: Option<Vec<String>>,
    /// Most jobs to act on, 1 to 1000; default 1000. Only with `filter`. `more` in the response says whether other jobs match.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next_cursor` of the previous response, to continue after its jobs. Only with `filter`.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub(crate) cursor: Option<String>,
    /// `true`: change nothing, only return the ids of the jobs that match. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) dry_run: bool,
}

/// At least one criterion. A job matches if every field that is given matches; a field matches if one of its values does.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FilterBody {
    /// Statuses of the jobs. Default: those in which the action has an effect.
    #[schema(value_type = Vec<super::job::StatusWord>, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<Status>,
    /// Queues of the jobs.
    #[schema(value_type = Vec<super::name::QueueText>, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queue: Vec<QueueName>,
    /// Kinds of the jobs.
    #[schema(value_type = Vec<super::name::KindText>, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kind: Vec<KindName>,
    /// Tags: a job must have all of them.
    #[schema(value_type = Vec<super::name::TagFilterText>, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tag: Vec<String>,
    /// Submitted at or after (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_after: Option<String>,
    /// Submitted before (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_before: Option<String>,
    /// Became final at or after (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_after: Option<String>,
    /// Became final before (RFC 3339 with an offset).
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_before: Option<String>,
    /// Failed or cancelled with an error of one of these types, up to 20.
    #[schema(value_type = Vec<super::name::TagFilterText>, max_items = 20, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error_type: Vec<String>,
    /// One of these unique keys, in any scope, up to 20.
    #[schema(value_type = Vec<super::name::TagFilterText>, max_items = 20, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unique_key: Vec<String>,
    /// Conditions on the metadata such as `team=billing`, `owner.team=billing` or `/a.b/c=1`, up to 20. A job must meet all of them.
    #[schema(value_type = Vec<super::name::MetadataText>, max_items = 20, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<String>,
    /// Conditions on the payload, like those on the metadata, up to 20. A job must meet all of them.
    #[schema(value_type = Vec<super::name::MetadataText>, max_items = 20, required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payload: Vec<String>,
    /// `true`: only jobs that have failed before and wait for their next attempt.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retrying: bool,
}

/// The jobs that a request names.
#[derive(Debug)]
pub(crate) enum Targets {
    /// By their ids, each once.
    Ids(Vec<JobId>),
    /// All that match, up to a number.
    Filter(Box<JobFilter>, usize),
}

impl Wire for BulkBody {}

impl BulkBody {
    /// The jobs to act on, with `usual` as the statuses of a filter that names none; or every error.
    pub(crate) fn targets(&self, usual: &[Status]) -> Result<Targets, Vec<FieldError>> {
        match (&self.filter, &self.ids) {
            (Some(filter), None) => {
                let limit = self.limit().map_err(|error| vec![error])?;
                filter.filter(usual).map(|filter| Targets::Filter(Box::new(filter), limit))
            }
            (None, Some(ids)) => self.ids(ids).map(Targets::Ids),
            (None, None) => Err(vec![FieldError::new("/filter", "required", "give either filter or ids")]),
            (Some(_), Some(_)) => Err(vec![FieldError::new("/ids", "conflict", "give either filter or ids")]),
        }
    }

    fn ids(&self, texts: &[String]) -> Result<Vec<JobId>, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (pointer, given) in [("/limit", self.limit.is_some()), ("/cursor", self.cursor.is_some())] {
            if given {
                errors.push(FieldError::new(pointer, "conflict", "is only for a filter"));
            }
        }
        if !(1..=MAX_BATCH).contains(&texts.len()) {
            errors.push(FieldError::new(
                "/ids",
                "out_of_range",
                format!("must have 1 to {MAX_BATCH} entries"),
            ));
            return Err(errors);
        }
        let mut ids = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(id) => ids.push(id),
                Err(_) => {
                    errors.push(FieldError::new(
                        format!("/ids/{at}"),
                        "invalid",
                        "must be a hyphenated UUID",
                    ));
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        if errors.is_empty() { Ok(ids) } else { Err(errors) }
    }

    /// Most jobs to act on.
    fn limit(&self) -> Result<usize, FieldError> {
        let Some(limit) = self.limit else { return Ok(MAX_BATCH) };
        let usable = usize::try_from(limit).ok().filter(|limit| (1..=MAX_BATCH).contains(limit));
        usable.ok_or_else(|| FieldError::new("/limit", "out_of_range", "must be between 1 and 1000"))
    }
}

impl FilterBody {
    /// The filter, with `usual` as its statuses if it names none; or every error.
    fn filter(&self, usual: &[Status]) -> Result<JobFilter, Vec<FieldError>> {
        let mut errors = Vec::new();
        if self.is_empty() {
            errors.push(FieldError::new("/filter", "required", "must contain at least one criterion"));
        }
        let texts = [("tag", &self.tag), ("error_type", &self.error_type), ("unique_key", &self.unique_key)];
        for (name, values) in texts {
            for (at, _) in values.iter().enumerate().filter(|(_, value)| value.contains('\0')) {
                let pointer = format!("/filter/{name}/{at}");
                errors.push(FieldError::new(pointer, "invalid", "must not contain U+0000"));
            }
        }
        let bounded = [
            ("error_type", &self.error_type),
            ("unique_key", &self.unique_key),
            ("metadata", &self.metadata),
            ("payload", &self.payload),
        ];
        for (name, _) in bounded.iter().filter(|(_, values)| values.len() > MAX_FILTER_VALUES) {
            let message = format!("must have at most {MAX_FILTER_VALUES} entries");
            errors.push(FieldError::new(format!("/filter/{name}"), "too_long", message));
        }
        let metadata = terms("metadata", &self.metadata, &mut errors);
        let payload = terms("payload", &self.payload, &mut errors);
        let mut read = |name: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            let at = timestamp(text);
            if at.is_none() {
                errors.push(FieldError::new(format!("/filter/{name}"), "invalid", TIMESTAMP_RULE));
            }
            at
        };
        let filter = JobFilter {
            statuses: if self.status.is_empty() { usual.to_vec() } else { self.status.clone() },
            queues: self.queue.clone(),
            kinds: self.kind.clone(),
            tags: self.tag.clone(),
            created_after: read("created_after", &self.created_after),
            created_before: read("created_before", &self.created_before),
            finished_after: read("finished_after", &self.finished_after),
            finished_before: read("finished_before", &self.finished_before),
            error_types: self.error_type.clone(),
            unique_keys: self.unique_key.clone(),
            metadata,
            payload,
            retrying: self.retrying,
        };
        if errors.is_empty() { Ok(filter) } else { Err(errors) }
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.tag, &self.error_type, &self.unique_key, &self.metadata, &self.payload];
        let times = [&self.created_after, &self.created_before, &self.finished_after, &self.finished_before];
        self.status.is_empty()
            && self.queue.is_empty()
            && self.kind.is_empty()
            && !self.retrying
            && lists.iter().all(|list| list.is_empty())
            && times.iter().all(|time| time.is_none())
    }
}

/// The conditions of a member of the filter; adds the errors of those that are none.
fn terms(name: &str, texts: &[String], errors: &mut Vec<FieldError>) -> Vec<MetadataTerm> {
    let mut terms = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(term) => terms.push(term),
            Err(error) => {
                let error: MetadataTermError = error;
                let pointer = format!("/filter/{name}/{at}");
                errors.push(FieldError::new(pointer, "invalid", error.to_string()));
            }
        }
    }
    terms
}

/// The result of a bulk action.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct BulkView {
    /// Whether this was a dry run, which changes nothing.
    pub(crate) dry_run: bool,
    /// Number of matching jobs, up to `limit`; or of the given ids.
    pub(crate) matched: usize,
    /// Number of jobs that were changed, including running jobs whose worker was asked to stop.
    pub(crate) changed: usize,
    /// Ids of the changed jobs; in a dry run, of the jobs that would be changed.
    pub(crate) ids: Vec<Uuid>,
    /// Jobs that matched but could not be changed, and ids of no job.
    pub(crate) failures: Vec<BulkFailure>,
    /// In a dry run, the time of the database. As `created_before` of the filter it spares jobs that come later.
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// Other jobs may match: send the request again with `next_cursor` as its `cursor`.
    pub(crate) more: bool,
    /// Where to continue; `null` if no other job matches.
    pub(crate) next_cursor: Option<String>,
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
