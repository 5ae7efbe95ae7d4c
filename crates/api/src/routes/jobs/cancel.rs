//! POST /v1/jobs/{id}/cancel.

use axum::Json;
use axum::http::StatusCode;
use jobqueue_core::{Failure, Status};
use jobqueue_store::Cancelled;

use super::record::{read, wrong_status};
use crate::acting::Acting;
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::wire::job::JobView;

/// Cancel a job.
///
/// A waiting job is cancelled at once (200). A running job is asked to stop (202): its worker learns of it with its next
/// heartbeat, which a notification requests at once, and the job may finish before that. Cancelling a cancelled job returns 200.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Cancelled", body = JobView),
        (status = 202, description = "Its worker is asked to stop", body = JobView),
        (status = 404, description = "No such job"),
        (status = 409, description = "Already completed or failed"),
    ))]
pub(crate) async fn cancel(
    store: Acting,
    JobPath(id): JobPath,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let reason = by_request();
    let done = store.call(move |store| async move { store.jobs().cancel(&[id], &reason).await }).await?;
    let code = match done.first() {
        Some(Cancelled::Now | Cancelled::Already(Status::Cancelled)) => StatusCode::OK,
        Some(Cancelled::Asked) => StatusCode::ACCEPTED,
        Some(Cancelled::Already(status)) => {
            return Err(wrong_status(*status, "only a job that is not final can be cancelled"));
        }
        Some(Cancelled::Unknown) | None => return Err(Problem::no_job()),
    };
    Ok((code, Json(read(&store, id).await?.into())))
}

/// The error of a job that is cancelled through the API.
pub(crate) fn by_request() -> Failure {
    Failure::new("cancelled", "cancelled by request")
}
