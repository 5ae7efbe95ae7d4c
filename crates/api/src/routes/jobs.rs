//! Routes of jobs, one file a verb.

pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod cancel;
pub(crate) mod enqueue;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod promote;
pub(crate) mod retry;
pub(crate) mod show;

use std::collections::HashMap;

use axum::http::StatusCode;
use jobqueue_core::{Job, JobId, JobRecord, NewJob, Start, Status};
use jobqueue_store::Accepted;

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wire::job::JobView;

/// The job as it is now, or 404.
async fn read(state: &ApiState, id: JobId) -> Result<JobRecord, Problem> {
    let found = state.store(move |store| async move { store.job(id).await }).await?;
    found.ok_or_else(Problem::no_job)
}

/// The refusal of a verb on a job in this status.
fn wrong_status(status: Status, sentence: &str) -> Problem {
    Problem::new(Kind::WrongStatus, format!("the job is {status}: {sentence}"))
        .with("job_status", status.as_str())
}

/// Jobs that are read at once for an answer.
const READ_AT_ONCE: usize = 50;

/// Jobs of which an answer needs more than the request told: holders of unique keys, and those whose start a delay led to.
/// Holders are strangers of any size: what would take the answer beyond a page's worth of JSON is left out.
async fn records_of(
    state: &ApiState,
    accepted: &[Accepted],
    jobs: &[NewJob],
) -> Result<HashMap<JobId, JobRecord>, Problem> {
    let delayed = |(accepted, job): (&Accepted, &NewJob)| match (accepted, job.start) {
        (Accepted::Created { id, .. }, Start::After(_)) => Some(*id),
        _ => None,
    };
    let holder = |accepted: &Accepted| match accepted {
        Accepted::Existing(id) => Some(*id),
        _ => None,
    };
    let delayed: Vec<JobId> = accepted.iter().zip(jobs).filter_map(delayed).collect();
    let holders: Vec<JobId> = accepted.iter().filter_map(holder).collect();
    let mut records = HashMap::new();
    for (ids, most) in [(delayed, usize::MAX), (holders, list::PAGE_BYTES)] {
        let mut bytes = 0;
        for ids in ids.chunks(READ_AT_ONCE).map(<[JobId]>::to_vec) {
            for record in state.submitting(move |store| async move { store.jobs_by_id(&ids).await }).await? {
                bytes += list::weight(&record);
                if bytes <= most || bytes == list::weight(&record) {
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
fn accepted_view(
    accepted: Accepted,
    job: NewJob,
    records: &HashMap<JobId, JobRecord>,
) -> Result<(StatusCode, JobView), Problem> {
    match accepted {
        Accepted::Created { id, status } => {
            Ok((StatusCode::CREATED, created_view(id, status, job, records.get(&id))))
        }
        Accepted::Existing(id) => {
            let holder = records.get(&id).cloned().ok_or_else(Problem::no_job)?;
            Ok((StatusCode::OK, holder.into()))
        }
        Accepted::Rejected(holder) => Err(taken(holder)),
        Accepted::NotTried => Err(Problem::internal()),
    }
}

/// The refusal of a job whose unique key is held.
fn taken(holder: JobId) -> Problem {
    Problem::new(Kind::UniqueConflict, "`job_id` holds the unique key").with("job_id", holder.to_string())
}

/// A job that was just stored, as a reader would find it: everything in it is known without reading it back, except the
/// moment that a delay led to.
fn created_view(id: JobId, status: Status, new: NewJob, stored: Option<&JobRecord>) -> JobView {
    let run_at = match new.start {
        Start::Now => None,
        Start::At(moment) => Some(moment),
        Start::After(_) => stored.and_then(|record| record.run_at),
    };
    let job = Job {
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
    };
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
        result: None,
        error: None,
    })
}
