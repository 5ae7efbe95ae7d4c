//! A stored job as the routes read it. Owns its size in an answer and the refusal of a wrong status.

use jobqueue_core::{JobId, JobRecord, Json, Status};

use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;

/// The approximate size of an answer with many jobs, in bytes of JSON.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The approximate size of a job without its payload, metadata, result and error, in bytes of JSON.
const JOB_BYTES: usize = 1024;

/// The job as it is now, or 404.
pub(crate) async fn read(store: &StoreAccess, id: JobId) -> Result<JobRecord, Problem> {
    let found = store.call(move |store| async move { store.job(id).await }).await?;
    found.ok_or_else(Problem::no_job)
}

/// The refusal of an action that the status of the job does not allow.
pub(crate) fn wrong_status(status: Status, sentence: &str) -> Problem {
    Problem::new(ProblemKind::WrongStatus, format!("the job is {status}: {sentence}"))
        .with("job_status", status.as_str())
}

/// The approximate size of a job in an answer, in bytes of JSON.
pub(super) fn weight(record: &JobRecord) -> usize {
    let json = |json: Option<&Json>| json.map_or(0, |json| json.as_str().len());
    let error = record.error.as_ref().map_or(0, |error| error.message.len() + json(error.details.as_ref()));
    let job = &record.job;
    JOB_BYTES
        + job.payload.as_str().len()
        + json(job.metadata.as_ref())
        + json(record.result.as_ref())
        + error
}
