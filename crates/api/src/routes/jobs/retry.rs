//! POST /v1/jobs/{id}/retry.

use axum::Json;
use axum::extract::State;
use jobqueue_core::{JobId, Status};
use jobqueue_store::{Notifier, Retried};

use super::record::{read, wrong_status};
use crate::acting::Acting;
use crate::extract::JobPath;
use crate::problem::{Problem, ProblemKind};
use crate::wire::job::JobView;

/// Run a failed or cancelled job again.
///
/// It has all its attempts again, and its history is kept. Retrying a queued job returns 200.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Queued again", body = JobView),
        (status = 404, description = "No such job"),
        (status = 409, description = "Not failed or cancelled, or expired, or another job holds its unique key"),
    ))]
pub(crate) async fn retry(
    store: Acting,
    State(notifier): State<Notifier>,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, Problem> {
    again(&store, &notifier, id).await
}

/// Retries the job as it is.
pub(crate) async fn again(store: &Acting, notifier: &Notifier, id: JobId) -> Result<Json<JobView>, Problem> {
    let done = store.call(move |store| async move { store.jobs().retry(&[id]).await }).await?;
    let outcome = done.first().copied().unwrap_or(Retried::Unknown);
    let record = if outcome == Retried::Unknown { Err(Problem::no_job()) } else { read(store, id).await };
    let record = record?;
    match outcome {
        Retried::Now => notifier.wake(&record.job.queue),
        Retried::Refused(None) if record.status == Status::Queued => {}
        other => return Err(refusal(other, record.status)),
    }
    Ok(Json(record.into()))
}

/// The problem of a job that cannot be retried.
pub(super) fn refusal(outcome: Retried, status: Status) -> Problem {
    match outcome {
        Retried::Expired => {
            Problem::new(ProblemKind::JobExpired, "its `expires_at` has passed; submit a new job instead")
        }
        Retried::KeyTaken => {
            Problem::new(ProblemKind::UniqueConflict, "another job holds its unique key now")
        }
        Retried::Replaced => wrong_status(status, "it was retried with another payload, as a new job"),
        _ => wrong_status(status, "only a failed or cancelled job can be retried"),
    }
}
