//! The trace context of a submission.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobqueue_core::TraceParent;
use jobqueue_runtime::trace::current_traceparent;

/// The trace context to store with the jobs of a request: the span of the request if traces are exported, otherwise the
/// header that the client sent. An invalid header is ignored, as the W3C standard requires.
#[derive(Debug)]
pub(crate) struct Trace(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let sent = || {
            let text = parts.headers.get("traceparent")?.to_str().ok()?.to_owned();
            TraceParent::try_from(text).ok().map(String::from)
        };
        Ok(Self(current_traceparent().or_else(sent)))
    }
}
