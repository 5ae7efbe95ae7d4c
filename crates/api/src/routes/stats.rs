//! The numbers of all queues as JSON.

use axum::Json;
use axum::extract::State;

use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::stats::StatsView;

/// The numbers of all queues, at most a second old.
#[utoipa::path(get, path = "/v1/stats", operation_id = "get_stats", tag = "queues", responses((status = 200, description = "Numbers", body = StatsView)))]
pub(crate) async fn stats(State(state): State<ApiState>) -> Result<Json<StatsView>, Problem> {
    let census = state.census.read(&state).await?;
    Ok(Json(StatsView::from(&*census)))
}
