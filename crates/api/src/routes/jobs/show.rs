//! GET /v1/jobs/{id}: one job, if wanted once it is final.

use axum::Json;
use axum::extract::State;

use super::read;
use crate::extract::{JobPath, Query};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::JobView;

const MAX_WAIT_SECONDS: u32 = 60;

/// Read a job, its result and its error.
///
/// With `wait` the answer comes when the job is final, or as it is when the time is over.
#[utoipa::path(get, path = "/v1/jobs/{id}", operation_id = "get_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
        ("wait" = Option<f64>, Query, description = "Seconds to wait until the job is final, 0 to 60, fractions included; default 0"),
    ),
    responses((status = 200, description = "The job", body = JobView), (status = 404, description = "No such job")))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    JobPath(id): JobPath,
    mut query: Query,
) -> Result<Json<JobView>, Problem> {
    let wait = query.seconds("wait", MAX_WAIT_SECONDS)?;
    query.finish()?;
    let mut record = read(&state, id).await?;
    if !wait.is_zero() && !record.status.is_final() {
        let _place = state.long_poll_place()?;
        state.watch.until_final(id, wait).await;
        record = read(&state, id).await?;
    }
    Ok(Json(record.into()))
}
