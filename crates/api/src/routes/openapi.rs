//! The description of the API.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// This document, OpenAPI 3.1. The page `/docs` shows it.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_openapi", tag = "operations", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], crate::openapi::text())
}
