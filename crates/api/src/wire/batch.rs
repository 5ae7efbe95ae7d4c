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
    /// `true` (default): if one job is wrong or rejected, nothing is stored. `false`: each job is stored or refused on its own.
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

/// The result of each job, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// One result per job, in the order of the request.
    pub(crate) items: Vec<BatchItem>,
}

/// The result of one job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchItem {
    /// The status that this job alone would have got: 201, 200 (it exists), 409 or 422.
    pub(crate) status: u16,
    /// Id of the job, if it was stored or exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_id: Option<Uuid>,
    /// The job. Absent for an existing job once the response holds about 4 MiB of them: read it by its `job_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobView>,
    /// Why the job was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::problem::ProblemView>)]
    pub(crate) problem: Option<Value>,
}
