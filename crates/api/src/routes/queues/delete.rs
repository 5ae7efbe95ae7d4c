//! DELETE /v1/queues/{name}.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{QueueName, Status};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{JobFilter, QueueDeletion};
use tokio::time::{Instant, sleep};

use super::{MAX_PURGE, WITHIN, purge_until};
use crate::acting::Acting;
use crate::extract::{Query, QueuePath};
use crate::problem::{Problem, ProblemKind};
use crate::routes::jobs::cancel::by_request;
use crate::store_access::StoreAccess;
use crate::wire::name::QueueText;
use crate::wire::queue::DeletionView;

/// The delay between two attempts of a request with `force`.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// Delete a queue.
///
/// A queue with jobs that wait or run is refused with 409. With `force=true` its queued and scheduled jobs are deleted, the workers of its
/// running jobs are asked to stop, and the request waits up to 20 seconds for them. Settings and totals of the queue are gone. Its final
/// jobs can be read until the default retention ends. The next job of that name creates the queue again. Deleting a queue that does not
/// exist is 200 with `"deleted": false`.
#[utoipa::path(delete, path = "/v1/queues/{name}", operation_id = "delete_queue", tag = "queues",
    params(
        ("name" = QueueText, Path, description = "The queue"),
        ("force" = Option<bool>, Query, description = "`true`: delete the jobs that wait and stop those that run; default `false`"),
    ),
    responses(
        (status = 200, description = "The queue does not exist any more", body = DeletionView),
        (status = 409, description = "Jobs of the queue wait or run: `queued`, `scheduled` and `running` say how many"),
    ))]
pub(crate) async fn delete(
    store: Acting,
    State(shutdown): State<Shutdown>,
    QueuePath(name): QueuePath,
    mut query: Query,
) -> Result<Json<DeletionView>, Problem> {
    let force = query.one::<bool>("force")?.unwrap_or(false);
    let deadline = Instant::now() + WITHIN;
    let mut purged = 0;
    loop {
        if force {
            purged += purge_until(&store, &name, (None, MAX_PURGE), deadline).await?.0;
            stop_running(&store, &name).await?;
        }
        let queue = name.clone();
        match store.call(move |store| async move { store.queues().delete(&queue).await }).await? {
            QueueDeletion::Now => return Ok(Json(DeletionView { deleted: true, purged })),
            QueueDeletion::Unknown => return Ok(Json(DeletionView { deleted: false, purged })),
            QueueDeletion::NotEmpty
                if force && Instant::now() < deadline && !shutdown.soft().is_cancelled() =>
            {
                sleep(TRY_EVERY).await;
            }
            QueueDeletion::NotEmpty => return Err(not_empty(&store, name, force).await?),
        }
    }
}

/// Asks the workers of the running jobs of a queue to stop, of up to 1000 jobs.
async fn stop_running(store: &Acting, name: &QueueName) -> Result<(), Problem> {
    let filter =
        JobFilter { queues: vec![name.clone()], statuses: vec![Status::Running], ..JobFilter::default() };
    let acting = store.by_filter(&serde_json::json!({ "queue": [name], "status": ["running"] }));
    acting
        .call(move |store| async move {
            let running = store.find(&filter, None, MAX_PAGE).await?;
            store.jobs().cancel(&running.ids, &by_request()).await
        })
        .await?;
    Ok(())
}

/// Why the queue was not deleted.
async fn not_empty(store: &StoreAccess, name: QueueName, force: bool) -> Result<Problem, Problem> {
    let queue = store.call(move |store| async move { store.queues().get(&name).await }).await?;
    let (queued, scheduled, running) =
        queue.map_or((0, 0, 0), |queue| (queue.queued, queue.scheduled, queue.running));
    let detail = if force {
        "the workers of the running jobs were asked to stop, and new jobs may have arrived; send the request again"
    } else {
        "jobs of the queue wait or run; `?force=true` deletes those that wait and asks the workers of the others to stop"
    };
    Ok(Problem::new(ProblemKind::QueueNotEmpty, detail)
        .with("queued", queued)
        .with("scheduled", scheduled)
        .with("running", running))
}
