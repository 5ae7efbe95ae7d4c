//! The problem document, for the description of the API alone; `crate::problem` writes it.

use serde::Serialize;
use utoipa::ToSchema;

/// Every refusal, as RFC 9457 says.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// Stable: what clients may branch on.
    #[serde(rename = "type")]
    #[schema(example = "urn:jobqueue:problem:invalid-body")]
    kind: String,
    /// The same for every problem of a type.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong this time.
    detail: String,
    /// Each wrong field or parameter; absent if none is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ProblemError>>,
    /// The id to name when asking for help; also in the header `x-request-id`.
    request_id: Option<String>,
}

/// One wrong field or parameter.
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
    /// What would be accepted.
    message: String,
}
