//! The trace that a submission belongs to.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobqueue_core::TraceParent;
use jobqueue_runtime::trace::current_traceparent;

use crate::state::ApiState;

/// The trace to store with the jobs of a request: our own span if it is exported, else what the client sent. A header
/// that is not valid is ignored, as W3C demands.
#[derive(Debug)]
pub(crate) struct Trace(pub(crate) Option<String>);

impl FromRequestParts<ApiState> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        let sent = || {
            let text = parts.headers.get("traceparent")?.to_str().ok()?.to_owned();
            TraceParent::try_from(text).ok().map(String::from)
        };
        Ok(Self(current_traceparent().or_else(sent)))
    }
}
