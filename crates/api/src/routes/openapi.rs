//! The API document.

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// Writes the document. The router passes it in, because the document describes this route too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DocumentText(pub(crate) fn() -> String);

/// This document, OpenAPI 3.1.
///
/// The page `/docs` shows it.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_openapi", tag = "operations", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
pub(crate) async fn document(Extension(DocumentText(text)): Extension<DocumentText>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], text())
}
