//! The outermost middleware: the span, id, log line and metric of each request, and the problem document of each error.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use jobqueue_runtime::OutageLog;
use jobqueue_runtime::trace::set_parent;
use tracing::Instrument as _;

use super::request_id::{self, RequestId, X_REQUEST_ID};
use crate::metrics::ApiMetrics;
use crate::problem::{self, Problem};

/// Where requests are recorded.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) metrics: ApiMetrics,
    pub(crate) outages: Arc<OutageLog>,
}

/// Serves a request. If its route panics, the answer is a 500 with a problem document.
pub(crate) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id::of(request.headers());
    let id_text = id.to_str().unwrap_or("unknown").to_owned();
    request.extensions_mut().insert(RequestId(id_text.clone()));
    let route =
        request.extensions().get::<MatchedPath>().map_or("unmatched", |path| path.as_str()).to_owned();
    let method = known_method(request.method().as_str());
    let span = tracing::info_span!("request", request_id = id_text, http.route = route, http.method = method);
    if let Some(Ok(parent)) = request.headers().get("traceparent").map(|value| value.to_str()) {
        set_parent(&span, parent);
    }
    let served = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    let response = served.unwrap_or_else(|_| Problem::internal().into_response());
    let mut response = problem::finish(response, &id_text);
    response.headers_mut().insert(X_REQUEST_ID, id);
    let (status, took) = (response.status(), began.elapsed());
    observer.metrics.answered(&route, method, status.as_u16(), took);
    span.in_scope(|| {
        let (status_code, seconds) = (status.as_u16(), took.as_secs_f64());
        let problem = response.extensions().get::<Problem>();
        if let Some((cause, error)) = problem.and_then(Problem::outage) {
            observer.outages.failed(&format!("{method} {route}"), cause, &error);
            tracing::debug!(http.status = status_code, duration_seconds = seconds, cause, "request failed");
        } else if status.is_server_error() && !problem.is_some_and(Problem::is_expected) {
            tracing::warn!(http.status = status_code, duration_seconds = seconds, "request failed");
        } else {
            tracing::debug!(http.status = status_code, duration_seconds = seconds, "request answered");
        }
    });
    response
}

/// The method as a metric label. Other texts become `OTHER`, so that clients cannot create labels.
fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "PATCH", "HEAD", "PUT", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("OTHER")
}
