//! POST /v1/jobs/{id}/retry.

use axum::Json;
use axum::extract::State;
use jobqueue_core::Status;
use jobqueue_store::Retried;

use super::{read, wrong_status};
use crate::extract::JobPath;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wire::job::JobView;

/// Run a failed or cancelled job again, with all its attempts.
///
/// Its history stays. Retrying a job that is queued is 200 again.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Queued again", body = JobView),
        (status = 404, description = "No such job"),
        (status = 409, description = "Live or completed, expired, or its unique key is held by another job"),
    ))]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, Problem> {
    let done = state.store(move |store| async move { store.retry(&[id]).await }).await?;
    let outcome = done.first().copied().unwrap_or(Retried::Unknown);
    let record = if outcome == Retried::Unknown { Err(Problem::no_job()) } else { read(&state, id).await };
    let record = record?;
    match outcome {
        Retried::Now => state.wake([&record.job.queue]),
        Retried::Refused(None) if record.status == Status::Queued => {}
        other => return Err(refusal(other, record.status)),
    }
    Ok(Json(record.into()))
}

/// Why a job in this status is not retried.
pub(super) fn refusal(outcome: Retried, status: Status) -> Problem {
    match outcome {
        Retried::Expired => Problem::new(
            Kind::JobExpired,
            "its `expires_at` has passed; submit a new job if it still makes sense",
        ),
        Retried::KeyTaken => Problem::new(Kind::UniqueConflict, "another job holds its unique key now"),
        _ => wrong_status(status, "only a failed or cancelled job can be retried"),
    }
}
