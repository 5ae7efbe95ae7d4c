//! POST /v1/jobs/{id}/promote.

use axum::Json;
use axum::extract::State;
use jobqueue_core::Status;

use super::{read, wrong_status};
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::JobView;

/// Make a scheduled job runnable now, whatever its `run_at`.
///
/// Also for a retry that waits. Promoting a queued job is 200 again.
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
    State(state): State<ApiState>,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, Problem> {
    let moved = state.store(move |store| async move { store.promote(&[id]).await }).await?;
    let record = read(&state, id).await?;
    if moved.contains(&id) {
        state.wake([&record.job.queue]);
    } else if record.status != Status::Queued {
        return Err(wrong_status(record.status, "only a scheduled job can be promoted"));
    }
    Ok(Json(record.into()))
}
