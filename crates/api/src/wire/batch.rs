//! Many jobs in one request.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::job::{EnqueueBody, JobView};
use crate::extract::Wire;
use crate::extract::json::BATCH_BYTES;

/// Jobs to submit together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    // Kept as text here, so that the errors of all of them are found.
    /// 1 to 1000 jobs.
    #[schema(value_type = Vec<EnqueueBody>, min_items = 1, max_items = 1000)]
    pub(crate) jobs: Vec<Box<RawValue>>,
    /// `true` (default): one wrong or rejected job, and nothing is stored. `false`: each for itself.
    #[serde(default = "yes")]
    #[schema(default = true, required = false)]
    pub(crate) atomic: bool,
}

fn yes() -> bool {
    true
}

impl Wire for BatchBody {
    const MAX_BYTES: usize = BATCH_BYTES;
}

/// What became of each job, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    pub(crate) items: Vec<BatchItem>,
}

/// What became of one job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchItem {
    /// The status that the job alone would have been answered with: 201, 200 (exists), 409 or 422.
    pub(crate) status: u16,
    /// Id of the job, if it is stored or exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_id: Option<Uuid>,
    /// The job. Left out of an existing one when the answer is large already: read it by its `job_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobView>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::problem::ProblemView>)]
    pub(crate) problem: Option<Value>,
}
