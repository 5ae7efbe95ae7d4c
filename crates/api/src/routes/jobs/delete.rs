//! DELETE /v1/jobs/{id}.

use axum::Json;
use jobqueue_store::Deleted;

use super::record::{read, wrong_status};
use crate::acting::Acting;
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::wire::edit::DeletedView;

/// Delete a final job.
///
/// Its payload, result, attempts and logs are gone, and so is its hold on a unique key. Without this, a job is deleted when its retention
/// ends. Deleting a job that does not exist is 200 with `"deleted": false`.
#[utoipa::path(delete, path = "/v1/jobs/{id}", operation_id = "delete_job", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses(
        (status = 200, description = "The job does not exist any more", body = DeletedView),
        (status = 409, description = "The job waits or runs; cancel it first"),
    ))]
pub(crate) async fn delete(store: Acting, JobPath(id): JobPath) -> Result<Json<DeletedView>, Problem> {
    let done = store.call(move |store| async move { store.jobs().delete(&[id]).await }).await?;
    match done.first() {
        Some(Deleted::Now) => Ok(Json(DeletedView { deleted: true })),
        Some(Deleted::Unknown) | None => Ok(Json(DeletedView { deleted: false })),
        Some(Deleted::NotFinal | Deleted::OtherStatus) => {
            let status = read(&store, id).await?.status;
            Err(wrong_status(
                status,
                "only a completed, failed or cancelled job can be deleted; cancel it first",
            ))
        }
    }
}
