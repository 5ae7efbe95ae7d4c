//! One leased job: its lease, and the job itself if it can be read.

use jobqueue_core::{Failure, Job, JobId, Lease, Settlement};
use uuid::Uuid;

use crate::plumbing::error::StoreError;
use crate::readers::kind_settings::SettingsOfKinds;
use crate::readers::row::{BodyRow, corrupt};

/// The lease of the job at `place` in a grant.
pub(crate) fn lease_at(
    epoch: i64,
    token: Uuid,
    id: Uuid,
    place: usize,
    attempt: i16,
) -> Result<Lease, StoreError> {
    let job_id = JobId::from_uuid(id);
    let ordinal = u8::try_from(place).map_err(|e| corrupt(job_id, "lease_jobs", "job_ids", e))?;
    // The number is for display only. A corrupt one must not stop the job from becoming a dead letter.
    let attempt = u16::try_from(attempt).unwrap_or(0);
    Lease::grant(epoch, token, job_id, ordinal, attempt)
        .ok_or_else(|| corrupt(job_id, "lease_jobs", "job_ids", "a lease has at most 64 jobs"))
}

/// The job with the settings of its kind, or its settlement as a dead letter if its body is missing or corrupt.
pub(crate) fn readable(
    job_id: JobId,
    body: Option<BodyRow>,
    attempt: i16,
    settings: &SettingsOfKinds,
) -> Result<Job, Settlement> {
    let job = body
        .ok_or_else(|| corrupt(job_id, "body", "*", "the job has no body"))
        .and_then(|body| settings.job_of(body, attempt));
    job.map_err(|error| {
        tracing::error!(job_id = %job_id, %error, "a job cannot be read; it becomes a dead letter");
        Settlement::Fail { failure: Failure::new("corrupt", error.to_string()) }
    })
}
