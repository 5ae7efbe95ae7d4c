//! The problem document in the API document. `crate::problem` writes the real ones.

use serde::Serialize;
use utoipa::ToSchema;

/// An error response, as RFC 9457 defines it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// The type of the problem. It is stable: clients may rely on it.
    #[serde(rename = "type")]
    #[schema(example = "urn:jobqueue:problem:invalid-body")]
    kind: String,
    /// The title of the type, the same for every problem of it.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request.
    detail: String,
    /// Each invalid field or parameter; absent if the problem has another cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ProblemError>>,
    /// The id of the request, as in the header `x-request-id` and in the log of the server.
    request_id: Option<String>,
}

/// One invalid field or parameter.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemError {
    /// JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/unique/key")]
    pointer: Option<String>,
    /// Name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// Stable: `required`, `invalid`, `too_long`, `out_of_range`, `conflict`, `unknown`.
    code: String,
    /// What is accepted instead.
    message: String,
}
