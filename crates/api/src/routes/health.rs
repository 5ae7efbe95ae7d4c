//! Probes. Liveness does not use the database: otherwise a failover of the database would restart every process.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use jobqueue_runtime::admin::{Readiness, ReadinessStatus};
use jobqueue_runtime::{Shutdown, build_info};
use serde_json::json;

use crate::remote::Remote;
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;

const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Liveness probe.
///
/// It does not use the database. Also at `/health/live` and `/health/startup`.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "operations", responses((status = 200, description = "Alive", body = serde_json::Value)))]
pub(crate) async fn live() -> impl IntoResponse {
    (NO_STORE, Json(json!({ "status": "alive" })))
}

/// Readiness probe.
///
/// 503 while the process cannot store jobs, with the reasons. Also at `/health/ready`.
#[utoipa::path(get, path = "/ready", operation_id = "get_ready", tag = "operations", responses(
    (status = 200, description = "Ready", body = serde_json::Value),
    (status = 503, description = "Not ready, with reasons", body = serde_json::Value),
))]
pub(crate) async fn ready(State(readiness): State<Readiness>, State(shutdown): State<Shutdown>) -> Response {
    readiness.report(&shutdown).await.into_response()
}

/// Readiness with details of this process: version, database connections, waiting requests.
#[utoipa::path(get, path = "/health/detailed", operation_id = "get_health_detailed", tag = "operations", responses(
    (status = 200, description = "Ready", body = serde_json::Value),
    (status = 503, description = "Not ready, with reasons", body = serde_json::Value),
))]
pub(crate) async fn detailed(
    State(readiness): State<Readiness>,
    State(shutdown): State<Shutdown>,
    State(store): State<StoreAccess>,
    State(submissions): State<Submissions>,
    State(remote): State<Remote>,
) -> Response {
    let report = readiness.report(&shutdown).await;
    let code = match report.status {
        ReadinessStatus::Ready => StatusCode::OK,
        ReadinessStatus::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (busy, open) = store.store().connections();
    let (pending_leases, pending_settles) = remote.waiting();
    let body = json!({
        "status": report.status,
        "checks": report.checks,
        "version": build_info::VERSION,
        "revision": build_info::REVISION,
        "database_connections": { "busy": busy, "open": open },
        "pending_submissions": submissions.waiting(),
        "pending_leases": pending_leases,
        "pending_settles": pending_settles,
    });
    (code, NO_STORE, Json(body)).into_response()
}
