//! The answer to submitted jobs. Owns which jobs must be read back for it; stores nothing.

use std::collections::HashMap;

use axum::http::StatusCode;
use jobqueue_core::limits::DEFAULT_MAX_SNOOZES;
use jobqueue_core::{Grant, Job, JobId, JobRecord, NewJob, Start, Status};
use jobqueue_store::Accepted;

use super::record::{PAGE_BYTES, weight};
use crate::problem::{Problem, ProblemKind};
use crate::submissions::Submissions;
use crate::wire::job::JobView;

/// How many jobs one statement reads.
const READ_AT_ONCE: usize = 50;

/// The jobs that the answer needs and the request does not contain: the holders of unique keys; delayed jobs, whose
/// `run_at` the database has set; and those of an earlier request, which may have been routed otherwise. Of these only what was
/// submitted is kept. Holders may have any size: those beyond about [`PAGE_BYTES`] are left out, and so are those that the grant does not include.
pub(super) async fn records_of(
    (submissions, grant): (&Submissions, &Grant),
    accepted: &[Accepted],
    jobs: &[NewJob],
    replayed: bool,
) -> Result<HashMap<JobId, JobRecord>, Problem> {
    let delayed = |(accepted, job): (&Accepted, &NewJob)| match (accepted, job.start) {
        (Accepted::Created { id, .. }, Start::After(_)) => Some(*id),
        (Accepted::Created { id, .. }, _) if replayed => Some(*id),
        _ => None,
    };
    let holder = |accepted: &Accepted| match accepted {
        Accepted::Existing(id) => Some(*id),
        // its id is only for a key that includes it
        Accepted::Rejected(id) if !grant.has_everything() => Some(*id),
        _ => None,
    };
    let delayed: Vec<JobId> = accepted.iter().zip(jobs).filter_map(delayed).collect();
    let holders: Vec<JobId> = accepted.iter().filter_map(holder).collect();
    let mut records = HashMap::new();
    for (ids, most, whole) in [(delayed, usize::MAX, false), (holders, PAGE_BYTES, true)] {
        let mut bytes = 0;
        for ids in ids.chunks(READ_AT_ONCE).map(<[JobId]>::to_vec) {
            for mut record in
                submissions.call(move |store| async move { store.jobs_by_id(&ids).await }).await?
            {
                if !whole {
                    (record.result, record.error) = (None, None);
                }
                if whole && !(grant.has_queue(&record.job.queue) && grant.has_kind(&record.job.kind)) {
                    continue;
                }
                bytes += weight(&record);
                if bytes <= most || bytes == weight(&record) {
                    records.insert(record.job.id, record);
                }
            }
            if bytes > most {
                break;
            }
        }
    }
    Ok(records)
}

/// The answer to one stored or existing job.
pub(super) fn accepted_view(
    grant: &Grant,
    (accepted, job): (Accepted, NewJob),
    records: &HashMap<JobId, JobRecord>,
) -> Result<(StatusCode, JobView), Problem> {
    let shown = |id: JobId| (grant.has_everything() || records.contains_key(&id)).then_some(id);
    match accepted {
        Accepted::Created { id, status } => {
            Ok((StatusCode::CREATED, created_view(id, status, job, records.get(&id))))
        }
        Accepted::Existing(id) => {
            // the key may not see it, or it has just been deleted
            let holder = records.get(&id).cloned().ok_or_else(|| taken(shown(id)))?;
            Ok((StatusCode::OK, holder.into()))
        }
        Accepted::Rejected(holder) => Err(taken(shown(holder))),
        Accepted::Full { retry_after_seconds } => Err(Problem::queue_full(&job.queue, retry_after_seconds)),
        Accepted::NotTried => Err(Problem::internal()),
    }
}

/// The problem of a job whose unique key is held by another job.
fn taken(holder: Option<JobId>) -> Problem {
    match holder {
        Some(holder) => Problem::new(ProblemKind::UniqueConflict, "the job `job_id` holds the unique key")
            .with("job_id", holder.to_string()),
        None => Problem::new(
            ProblemKind::UniqueConflict,
            "a job that the key does not include holds the unique key",
        ),
    }
}

/// A job as a reader got it when it had just been stored. `stored` is the job as it was read back, if that was necessary.
fn created_view(id: JobId, status: Status, new: NewJob, stored: Option<&JobRecord>) -> JobView {
    let run_at = match new.start {
        Start::Now => None,
        Start::At(at) => Some(at),
        Start::After(_) => stored.and_then(|record| record.run_at),
    };
    let submitted = Job {
        id,
        queue: new.queue,
        kind: new.kind,
        payload: new.payload,
        priority: new.priority,
        attempt: 0,
        max_attempts: new.max_attempts,
        retry: new.retry,
        timeout: new.timeout,
        soft_timeout: new.soft_timeout,
        expires_at: new.expires_at,
        unique_key: new.unique.map(|unique| unique.key),
        tags: new.tags,
        metadata: new.metadata,
        traceparent: new.traceparent,
        has_webhook: new.on_end.is_some(),
    };
    let webhook_url = stored.map_or(new.on_end.map(|on_end| on_end.url), |record| record.webhook_url.clone());
    let job = stored.map_or(submitted, |record| Job { attempt: 0, ..record.job.clone() });
    let created_at = id.created_at().unwrap_or_default();
    JobView::from(JobRecord {
        job,
        status,
        created_at,
        run_at,
        started_at: None,
        finished_at: None,
        worker_id: None,
        lease_expires_at: None,
        cancel_requested: false,
        snoozes: 0,
        max_snoozes: new.max_snoozes.unwrap_or(DEFAULT_MAX_SNOOZES),
        result: None,
        error: None,
        webhook_url,
    })
}
