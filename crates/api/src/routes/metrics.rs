//! The metrics of all queues, the same on every replica. Those of this process are on its admin port.

use axum::extract::State;
use axum::response::Response;
use jobqueue_runtime::admin::render_metrics;

use crate::census::CensusReader;
use crate::problem::Problem;

/// ApiMetrics of all queues in the Prometheus text format.
///
/// Every replica returns the same values: aggregate them with `max`, not with `sum`.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operations", responses(
    (status = 200, description = "ApiMetrics", body = String, content_type = "text/plain"),
))]
pub(crate) async fn metrics(State(census): State<CensusReader>) -> Result<Response, Problem> {
    Ok(render_metrics(&census.registry().await?))
}
