//! Refuses query parameters and bodies that a route does not declare, so that no route ignores them silently. It does not
//! read the body that a route declares.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::extract::{Query, json};
use crate::problem::{Problem, ProblemKind};

/// How long to wait for the end of a body that should be empty.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);
/// Longest declared length of such a body: `{}` with spaces.
const EMPTY_BYTES: u64 = 16;

/// The query parameters and the body that a route accepts. The default is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepts {
    /// Names of the query parameters.
    pub query: &'static [&'static str],
    /// Largest JSON body in bytes; `None` for a route without a body.
    pub body_bytes: Option<usize>,
    /// Whether the body may be left out.
    pub body_optional: bool,
}

/// Refuses unknown query parameters, a body on a route without one, and a body whose headers are not accepted. It does not
/// wait for a body that the route reads.
pub(crate) async fn check(
    State(accepts): State<Accepts>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    Query::of(request.uri())?.refuse_others_than(accepts.query)?;
    if let Some(max) = accepts.body_bytes {
        if !request.body().is_end_stream() {
            json::refuse_by_headers(request.headers(), max, accepts.body_optional)?;
        }
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    refuse_content(body).await?;
    Ok(next.run(Request::from_parts(parts, Body::empty())).await)
}

/// Accepts an empty body and `{}`, which some HTTP libraries send instead of none. A longer body is refused by its declared
/// length, before it arrives.
async fn refuse_content(mut body: Body) -> Result<(), Problem> {
    let refusal = || Problem::field("", "unknown", "this route takes no body");
    if body.size_hint().lower() > EMPTY_BYTES {
        return Err(refusal());
    }
    let content = async {
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(ProblemKind::BadRequest, "the body ended early"))?;
            text.extend(frame.data_ref().into_iter().flatten().filter(|byte| !byte.is_ascii_whitespace()));
            if !b"{}".starts_with(&text) {
                return Err(refusal());
            }
        }
        if text == b"{" { Err(refusal()) } else { Ok(()) }
    };
    let late =
        |_| Problem::new(ProblemKind::RequestTimeout, "the end of the body did not arrive within 10 s");
    timeout(EMPTY_WITHIN, content).await.map_err(late)?
}
