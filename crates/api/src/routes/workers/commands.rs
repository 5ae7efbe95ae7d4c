//! Commands to workers: send, and see what became of them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jobqueue_core::ControlCommand;
use jobqueue_store::{CommandTargets, CommandedWorker};

use super::no_worker;
use crate::acting::Acting;
use crate::extract::{JsonBody, WorkerPath};
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::worker_command::{
    BulkCommandBody, BulkCommandView, CommandBody, CommandView, CommandsView, SentCommandView,
};

/// Send a command to a worker.
///
/// The next heartbeat of the worker returns the command, and the one after that acknowledges it. A worker that is connected to the database
/// directly, not through a pooler in transaction mode, is notified to send its heartbeat now, so it usually acts within a second. A command whose
/// delivery was lost is delivered again and carried out once. What a command changes lasts until the process ends.
#[utoipa::path(post, path = "/v1/workers/{worker_id}/commands", operation_id = "command_worker", tag = "workers", request_body = CommandBody,
    params(("worker_id" = uuid::Uuid, Path, description = "The worker")),
    responses(
        (status = 202, description = "The command is stored", body = SentCommandView),
        (status = 404, description = "No live worker has this id"),
    ))]
pub(crate) async fn send(
    store: Acting,
    WorkerPath(worker): WorkerPath,
    body: JsonBody<CommandBody>,
) -> Result<(StatusCode, Json<SentCommandView>), Problem> {
    let command = body.value.check().map_err(|errors| Problem::fields(&errors))?;
    let workers = command_workers(&store, CommandTargets::Worker(worker), command.clone(), false).await?;
    let sent = workers.into_iter().next().ok_or_else(no_worker)?.sent;
    let (id, created_at) = sent.ok_or_else(too_many)?;
    let view = SentCommandView {
        id,
        worker_id: worker,
        command: command.name(),
        arguments: command.arguments(),
        status: "pending",
        created_at,
    };
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Send a command to all workers that match a filter.
///
/// More than 1000 workers are refused, and nothing is sent. With `dry_run` nothing is sent.
#[utoipa::path(post, path = "/v1/workers/commands", operation_id = "command_workers", tag = "workers", request_body = BulkCommandBody,
    responses(
        (status = 202, description = "The command is stored for these workers", body = BulkCommandView),
        (status = 422, description = "Invalid body, or more than 1000 workers match"),
    ))]
pub(crate) async fn send_all(
    store: Acting,
    body: JsonBody<BulkCommandBody>,
) -> Result<(StatusCode, Json<BulkCommandView>), Problem> {
    let (filter, command, dry_run) = body.value.check().map_err(|errors| Problem::fields(&errors))?;
    let workers = command_workers(&store, CommandTargets::Matching(filter), command, dry_run).await?;
    Ok((StatusCode::ACCEPTED, Json(BulkCommandView::new(dry_run, workers))))
}

/// The commands of a worker, and what became of them.
///
/// Also of a worker that has ended. Commands are kept for a day.
#[utoipa::path(get, path = "/v1/workers/{worker_id}/commands", operation_id = "list_worker_commands", tag = "workers",
    params(("worker_id" = uuid::Uuid, Path, description = "The worker")),
    responses((status = 200, description = "Newest first, at most 100", body = CommandsView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    WorkerPath(worker): WorkerPath,
) -> Result<Json<CommandsView>, Problem> {
    let records = store.call(move |store| async move { store.worker_commands(worker).await }).await?;
    Ok(Json(CommandsView { commands: records.into_iter().map(CommandView::from).collect() }))
}

async fn command_workers(
    store: &Acting,
    targets: CommandTargets,
    command: ControlCommand,
    dry_run: bool,
) -> Result<Vec<CommandedWorker>, Problem> {
    let call = move |store: jobqueue_store::Store| async move {
        store.command_workers(&targets, &command, dry_run).await
    };
    store.call(call).await?.ok_or_else(|| {
        Problem::new(
            ProblemKind::FilterTooBroad,
            "more than 1000 workers match, and nothing was sent; add a criterion",
        )
    })
}

fn too_many() -> Problem {
    Problem::new(ProblemKind::TooBusy, "100 commands of this worker wait for its acknowledgement")
}
