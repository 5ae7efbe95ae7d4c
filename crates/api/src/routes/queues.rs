//! Queues: what operators see and set.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jobqueue_core::QueueName;
use tokio::time::{Instant, timeout_at};

use crate::extract::{JsonBody, QueuePath};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wire::queue::{PurgeView, QueueBody, QueueView, QueuesView};

/// Jobs of one purge call of the store.
const PURGE_STEP: u32 = 1000;
/// Calls of one request.
const PURGE_STEPS: u32 = 100;
/// When a request stops waiting for its calls: it must be answered within 30 s.
const PURGE_WITHIN: Duration = Duration::from_secs(20);

/// All queues with their settings and depths.
#[utoipa::path(get, path = "/v1/queues", operation_id = "list_queues", tag = "queues", responses((status = 200, description = "By name", body = QueuesView)))]
pub(crate) async fn list(State(state): State<ApiState>) -> Result<Json<QueuesView>, Problem> {
    let records = state.store(|store| async move { store.queues(None).await }).await?;
    Ok(Json(QueuesView { queues: records.into_iter().map(QueueView::from).collect() }))
}

/// One queue.
#[utoipa::path(get, path = "/v1/queues/{name}", operation_id = "get_queue", tag = "queues", params(("name" = String, Path, description = "The queue")),
    responses((status = 200, description = "The queue", body = QueueView), (status = 404, description = "No such queue")))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    QueuePath(name): QueuePath,
) -> Result<Json<QueueView>, Problem> {
    read(&state, name).await
}

/// Change the settings of a queue. Absent: as it is; `null`: back to the default. A new queue is made.
#[utoipa::path(patch, path = "/v1/queues/{name}", operation_id = "configure_queue", tag = "queues", params(("name" = String, Path, description = "The queue")),
    request_body = QueueBody, responses((status = 200, description = "The queue", body = QueueView)))]
pub(crate) async fn configure(
    State(state): State<ApiState>,
    QueuePath(name): QueuePath,
    body: JsonBody<QueueBody>,
) -> Result<Json<QueueView>, Problem> {
    let settings = body.value.settings().map_err(|errors| Problem::fields(&errors))?;
    let queue = name.clone();
    state.store(move |store| async move { store.configure_queue(&queue, settings).await }).await?;
    read(&state, name).await
}

/// Lease no more jobs of a queue. What runs goes on; jobs can still be submitted. A new queue is made.
#[utoipa::path(post, path = "/v1/queues/{name}/pause", operation_id = "pause_queue", tag = "queues", params(("name" = String, Path, description = "The queue")),
    responses((status = 200, description = "The queue", body = QueueView)))]
pub(crate) async fn pause(
    State(state): State<ApiState>,
    QueuePath(name): QueuePath,
) -> Result<Json<QueueView>, Problem> {
    let queue = name.clone();
    state.store(move |store| async move { store.pause_queue(&queue, true).await }).await?;
    read(&state, name).await
}

/// Let a paused queue flow again.
#[utoipa::path(post, path = "/v1/queues/{name}/resume", operation_id = "resume_queue", tag = "queues", params(("name" = String, Path, description = "The queue")),
    responses((status = 200, description = "The queue", body = QueueView)))]
pub(crate) async fn resume(
    State(state): State<ApiState>,
    QueuePath(name): QueuePath,
) -> Result<Json<QueueView>, Problem> {
    let queue = name.clone();
    state.store(move |store| async move { store.pause_queue(&queue, false).await }).await?;
    state.wake([&name]);
    read(&state, name).await
}

/// Forget all waiting (queued and scheduled) jobs of a queue.
///
/// What runs or is final stays. One request purges up to 100,000 jobs and works for 20 seconds at most: send it again while
/// `more`, with another `Idempotency-Key` if with any.
#[utoipa::path(post, path = "/v1/queues/{name}/purge", operation_id = "purge_queue", tag = "queues", params(("name" = String, Path, description = "The queue")),
    responses((status = 200, description = "How many", body = PurgeView), (status = 404, description = "No such queue")))]
pub(crate) async fn purge(
    State(state): State<ApiState>,
    QueuePath(name): QueuePath,
) -> Result<Json<PurgeView>, Problem> {
    let deadline = Instant::now() + PURGE_WITHIN;
    let _exists = read(&state, name.clone()).await?;
    let mut purged = 0;
    for _ in 0..PURGE_STEPS {
        let queue = name.clone();
        let step = state.store(move |store| async move { store.purge_queue(&queue, PURGE_STEP).await });
        // A step that is late ends by itself; it is not counted.
        let Ok(gone) = timeout_at(deadline, step).await else { break };
        let gone = gone?;
        purged += u64::from(gone);
        if gone < PURGE_STEP {
            return Ok(Json(PurgeView { purged, more: false }));
        }
    }
    Ok(Json(PurgeView { purged, more: true }))
}

async fn read(state: &ApiState, name: QueueName) -> Result<Json<QueueView>, Problem> {
    let found = state.store(move |store| async move { store.queues(Some(&name)).await }).await?.pop();
    let missing =
        || Problem::new(Kind::NotFound, "there is no queue of this name; it begins with its first job");
    found.map(|record| Json(record.into())).ok_or_else(missing)
}
