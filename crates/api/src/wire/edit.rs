//! The edit of a waiting job, and the answers to a deletion and a count.

use jobqueue_core::{EditDraft, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::present;
use crate::extract::Wire;

/// A merge patch (RFC 7396) of a waiting job. A field that is left out stays as it is; `null` sets it back to the default of a submission.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent, null and a value have three meanings")]
pub(crate) struct EditBody {
    /// Another queue. The job keeps its place by time of submission, and a unique key of the scope `queue` moves with it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    queue: Option<Option<String>>,
    /// An object is merged into the payload; any other value replaces it. `null`: `{}`.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Option<Json>>,
    /// -100 to 100, higher runs first.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = -100, maximum = 100)]
    priority: Option<Option<i64>>,
    /// Earliest start, as an RFC 3339 timestamp with an offset. `null`, and a time that has passed: now.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Option<String>>,
    /// Earliest start, in seconds from now, up to 100 years. Not together with `run_at`.
    #[schema(minimum = 0, maximum = 3_153_600_000_u64)]
    delay_seconds: Option<f64>,
    /// Latest start, as an RFC 3339 timestamp with an offset. `null`: never.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<String>>,
    /// Most attempts, 1 to 1000, and more than have begun.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000)]
    max_attempts: Option<Option<i64>>,
    /// Most snoozes, 0 to 1000000.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000)]
    max_snoozes: Option<Option<i64>>,
    /// Another retry policy. It is replaced as a whole, because its fields depend on its strategy.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<Option<jobqueue_core::RetryPolicy>>,
    /// Time limit of one attempt in seconds, up to a week.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0.001, maximum = 604_800)]
    timeout_seconds: Option<Option<f64>>,
    /// Time in seconds after which the handler is warned. Below `timeout_seconds`.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0.001, maximum = 604_800)]
    soft_timeout_seconds: Option<Option<f64>>,
    /// Up to 20 labels, which replace all labels of the job.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Vec<super::name::TagText>>, max_items = 20)]
    tags: Option<Option<Vec<String>>>,
    /// An object is merged into the metadata. `null`: none.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Option<Json>>,
}

impl Wire for EditBody {}

impl EditBody {
    /// The change, for the core to check.
    pub(crate) fn into_draft(self) -> EditDraft {
        EditDraft {
            queue: self.queue,
            payload: self.payload,
            priority: self.priority,
            run_at: self.run_at,
            delay_seconds: self.delay_seconds,
            expires_at: self.expires_at,
            max_attempts: self.max_attempts,
            max_snoozes: self.max_snoozes,
            retry: self.retry,
            timeout_seconds: self.timeout_seconds,
            soft_timeout_seconds: self.soft_timeout_seconds,
            tags: self.tags,
            metadata: self.metadata,
        }
    }
}

/// The result of a deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedView {
    /// `false`: there was no such job.
    pub(crate) deleted: bool,
}

/// A number of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountView {
    /// The number of jobs that match. If `exact` is `false`, more may match.
    pub(crate) count: u32,
    /// Whether no other job matches. `false` once `limit` jobs were counted, or after five seconds of looking at jobs.
    pub(crate) exact: bool,
}
