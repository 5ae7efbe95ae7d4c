//! Workers: who is alive, what each runs, and what operators ask of them.

pub(crate) mod commands;

use axum::extract::State;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jobqueue_core::WorkerId;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::WorkerRecord;
use uuid::Uuid;

use crate::extract::{Query, WorkerPath};
use crate::keys::{GrantedPage, first, limits};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::worker::{WorkerView, WorkersView};

/// Workers of a page if the request does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Workers that count as alive, by name, with what they run.
///
/// A worker that is connected to the database counts until its heartbeats have been missing for the time that it registered (30 seconds
/// by default). A remote worker counts for a minute after its last request, and as long as it holds a lease that has not expired.
#[utoipa::path(get, path = "/v1/workers", operation_id = "list_workers", tag = "workers",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Most workers of the page, 1 to 1000; default 100"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]+$", description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = WorkersView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<WorkersView>, Problem> {
    let after = query.one::<String>("cursor")?.map(|cursor| open(&cursor)).transpose()?;
    let limit = query.number("limit", DEFAULT_LIMIT, (1, MAX_PAGE))?;
    let read = |after: Option<(String, WorkerId)>, limit| {
        store.call(move |store: jobqueue_store::Store| async move {
            let after = after.as_ref().map(|(name, id)| (name.as_str(), *id));
            Ok(first(store.workers(after, limit + 1).await?, limit))
        })
    };
    let page = GrantedPage { after, limit, is_all: caller.grant().has_all_queues() };
    let is_granted = |worker: &WorkerRecord| limits::has_worker(caller.grant(), worker);
    let of = |worker: &WorkerRecord| (worker.name.clone(), worker.id);
    let (records, next) = page.of_granted(read, is_granted, of).await?;
    let next_cursor = next.map(|(name, id)| seal(&name, id));
    Ok(Json(WorkersView { workers: records.into_iter().map(WorkerView::from).collect(), next_cursor }))
}

/// A worker that counts as alive.
#[utoipa::path(get, path = "/v1/workers/{worker_id}", operation_id = "get_worker", tag = "workers",
    params(("worker_id" = uuid::Uuid, Path, description = "The worker")),
    responses((status = 200, description = "The worker", body = WorkerView), (status = 404, description = "No live worker has this id")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    WorkerPath(id): WorkerPath,
) -> Result<Json<WorkerView>, Problem> {
    let record = store.call(move |store| async move { store.worker(id).await }).await?;
    Ok(Json(record.ok_or_else(no_worker)?.into()))
}

fn no_worker() -> Problem {
    Problem::new(ProblemKind::NotFound, "no live worker has this id; a worker gets a new id at each start")
}

/// The cursor of the page after this worker: its id and name. A forged one shows nothing that the list does not.
fn seal(name: &str, id: WorkerId) -> String {
    URL_SAFE_NO_PAD.encode([id.as_uuid().as_bytes(), name.as_bytes()].concat())
}

fn open(cursor: &str) -> Result<(String, WorkerId), Problem> {
    let read = || {
        let wire = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, name) = wire.split_first_chunk::<16>()?;
        let name = String::from_utf8(name.to_vec()).ok().filter(|name| !name.contains('\0'))?;
        Some((name, WorkerId::from_uuid(Uuid::from_bytes(*id))))
    };
    read().ok_or_else(|| {
        Problem::new(
            ProblemKind::InvalidCursor,
            "give the `next_cursor` of an earlier page, or none for the first one",
        )
    })
}
