//! The metrics of the cluster, the same from every replica. Those of this process are on its admin port.

use axum::extract::State;
use axum::response::Response;
use jobqueue_runtime::admin::render_metrics;

use crate::census;
use crate::problem::Problem;
use crate::state::ApiState;

/// The numbers of all queues in the text format of Prometheus. Every replica tells the same: use `max`, not `sum`.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operations", responses(
    (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
))]
pub(crate) async fn metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let latest = state.census.read(&state).await?;
    let registry = census::registry(&latest, state.drain_target).map_err(|error| {
        tracing::error!(%error, "the metrics of the queues cannot be made");
        Problem::internal()
    })?;
    Ok(render_metrics(&registry))
}
