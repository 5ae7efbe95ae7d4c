//! Probes. Liveness never asks the database: a failover must not restart every process.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use jobqueue_runtime::admin::Status;
use jobqueue_runtime::build_info;
use serde_json::json;

use crate::state::ApiState;

const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Alive as long as it answers. Also at `/health/live` and `/health/startup`.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "operations", responses((status = 200, description = "Alive", body = serde_json::Value)))]
pub(crate) async fn live() -> impl IntoResponse {
    (NO_STORE, Json(json!({ "status": "alive" })))
}

/// Whether to send requests here, with the reasons if not. Also at `/health/ready`.
#[utoipa::path(get, path = "/ready", operation_id = "get_ready", tag = "operations", responses(
    (status = 200, description = "Ready", body = serde_json::Value),
    (status = 503, description = "Not ready, with reasons", body = serde_json::Value),
))]
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    state.readiness().report(&state.shutdown).await.into_response()
}

/// The same with the numbers of this process.
#[utoipa::path(get, path = "/health/detailed", operation_id = "get_health_detailed", tag = "operations", responses(
    (status = 200, description = "Ready", body = serde_json::Value),
    (status = 503, description = "Not ready, with reasons", body = serde_json::Value),
))]
pub(crate) async fn detailed(State(state): State<ApiState>) -> Response {
    let report = state.readiness().report(&state.shutdown).await;
    let code = match report.status {
        Status::Ready => StatusCode::OK,
        Status::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (busy, open) = state.bare_store().connections();
    let (pending_leases, pending_settles) = state.remote.waiting();
    let body = json!({
        "status": report.status,
        "checks": report.checks,
        "version": build_info::VERSION,
        "revision": build_info::REVISION,
        "database_connections": { "busy": busy, "open": open },
        "pending_submissions": state.submitter.depth(),
        "pending_leases": pending_leases,
        "pending_settles": pending_settles,
    });
    (code, NO_STORE, Json(body)).into_response()
}
