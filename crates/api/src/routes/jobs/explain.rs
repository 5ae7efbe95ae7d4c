//! GET /v1/jobs/{id}/explain.

use axum::Json;
use axum::extract::State;

use crate::extract::JobPath;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::explain::ExplanationView;

/// Why a job does not run.
///
/// All causes that hold in one snapshot of the database, the binding one first, each with what would resolve it. A job that runs or has
/// ended has none; then the response says so. Up to 1000 jobs ahead are counted exactly.
#[utoipa::path(get, path = "/v1/jobs/{id}/explain", operation_id = "explain_job", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses((status = 200, description = "The causes", body = ExplanationView), (status = 404, description = "No such job")))]
pub(crate) async fn explain(
    State(store): State<StoreAccess>,
    JobPath(id): JobPath,
) -> Result<Json<ExplanationView>, Problem> {
    let facts = store.call(move |store| async move { store.explain_facts(id).await }).await?;
    let facts = facts.ok_or_else(Problem::no_job)?;
    Ok(Json(ExplanationView::new(id, &facts)))
}
