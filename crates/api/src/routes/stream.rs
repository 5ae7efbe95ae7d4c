//! GET /v1/stream: queues, workers and groups of dead letters as events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::problem::Problem;
use crate::streams::Streams;

/// Changes of queues, workers and groups of dead letters as they happen.
///
/// Server-sent events: `snapshot`, then all objects, then `ready`; after that each object that has changed, as `queue`, `queue_removed`,
/// `worker`, `worker_removed`, `dead_letter_group` and `dead_letter_group_removed`; `unavailable` and `available` around an outage of the
/// database. Each has JSON as its data, described by the schemas `QueueEvent`, `WorkerEvent`, `GroupEvent` and `UnavailableEvent`. The three
/// kinds of objects are read in turn, one read a second. Groups are the 100 largest ones.
#[utoipa::path(get, path = "/v1/stream", operation_id = "stream_service", tag = "queues",
    params(("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9a-f]{8}-[0-9]+$", description = "Id of the last event that was received, from any replica. The replica that sent it continues there; another one begins with a snapshot")),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")))]
pub(crate) async fn stream(State(streams): State<Streams>, headers: HeaderMap) -> Result<Response, Problem> {
    streams.of_board(&headers).await
}
