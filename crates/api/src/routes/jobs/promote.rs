//! POST /v1/jobs/{id}/promote.

use axum::Json;
use axum::extract::State;
use jobqueue_core::Status;
use jobqueue_store::Notifier;

use super::record::{read, wrong_status};
use crate::acting::Acting;
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::wire::job::JobView;

/// Queue a scheduled job now.
///
/// Its `run_at` is ignored. A job that waits for its retry can be promoted too. Promoting a queued job returns 200.
#[utoipa::path(post, path = "/v1/jobs/{id}/promote", operation_id = "promote_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Queued", body = JobView),
        (status = 404, description = "No such job"),
        (status = 409, description = "Running or final"),
    ))]
pub(crate) async fn promote(
    store: Acting,
    State(notifier): State<Notifier>,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, Problem> {
    let moved = store.call(move |store| async move { store.jobs().promote(&[id]).await }).await?;
    let record = read(&store, id).await?;
    if moved.contains(&id) {
        notifier.wake(&record.job.queue);
    } else if record.status != Status::Queued {
        return Err(wrong_status(record.status, "only a scheduled job can be promoted"));
    }
    Ok(Json(record.into()))
}
