//! GET /v1/jobs/{id}/stream: the life of one job as events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::extract::JobPath;
use crate::problem::Problem;
use crate::streams::Streams;

/// The events of a job as they happen.
///
/// Server-sent events: `status`, `progress` and `log`, beginning with the status as it is now and the kept log of the last attempt; `end` when
/// the job is final, after which the response ends; `unavailable` and `available` around an outage of the database; `unreadable` as the last event
/// if the stored job is corrupt. Each has JSON as its data,
/// described by the schemas `JobStatusEvent`, `ProgressEvent`, `LogEvent`, `JobDeletedEvent` and `UnavailableEvent`. Events of the last
/// second arrive together.
#[utoipa::path(get, path = "/v1/jobs/{id}/stream", operation_id = "stream_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]+-[0-9]+(-end)?$", description = "Id of the last event that was received, from any replica. The log continues after it; without it, it begins with the last attempt, and with `0-0` with the first one"),
    ),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"), (status = 204, description = "The client has received `end`"), (status = 404, description = "No such job")))]
pub(crate) async fn stream(
    State(streams): State<Streams>,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    streams.of_job(id, &headers).await
}
