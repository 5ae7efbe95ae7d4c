//! POST /v1/jobs/{id}/cancel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jobqueue_core::{Failure, Status};
use jobqueue_store::Cancelled;

use super::{read, wrong_status};
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::JobView;

/// Cancel a job.
///
/// A waiting job never starts (200). A running one is asked to stop (202): its worker hears of it with the next
/// heartbeat, and may still finish first. Cancelling a cancelled job is 200 again.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Cancelled", body = JobView),
        (status = 202, description = "Its worker is asked to stop", body = JobView),
        (status = 404, description = "No such job"),
        (status = 409, description = "Completed or failed already"),
    ))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    JobPath(id): JobPath,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let reason = by_request();
    let done = state.store(move |store| async move { store.cancel(&[id], &reason).await }).await?;
    let code = match done.first() {
        Some(Cancelled::Now | Cancelled::Already(Status::Cancelled)) => StatusCode::OK,
        Some(Cancelled::Asked) => StatusCode::ACCEPTED,
        Some(Cancelled::Already(status)) => return Err(wrong_status(*status, "too late to cancel it")),
        Some(Cancelled::Unknown) | None => return Err(Problem::no_job()),
    };
    Ok((code, Json(read(&state, id).await?.into())))
}

/// Why a job is cancelled through the API.
pub(super) fn by_request() -> Failure {
    Failure::new("cancelled", "cancelled by request")
}
