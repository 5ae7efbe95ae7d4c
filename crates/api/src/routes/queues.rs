//! Routes of queues: list, show, configure, pause, resume, purge, delete.

pub(crate) mod delete;

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use jobqueue_core::QueueName;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::{Notifier, QueueRecord, Store};
use tokio::time::Instant;

use crate::acting::Acting;
use crate::extract::{JsonBody, Query, QueuePath};
use crate::keys::{GrantedPage, first};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::name::QueueText;
use crate::wire::queue::{CreateBody, MAX_PURGE, PurgeBody, PurgeView, QueueBody, QueueView, QueuesView};

/// Jobs that one store call deletes.
const PURGE_STEP: u32 = 1000;
/// How long a purge or a deletion works: it must be answered within 30 s.
const WITHIN: Duration = Duration::from_secs(20);

/// Queues by name, with their settings and depths.
#[utoipa::path(get, path = "/v1/queues", operation_id = "list_queues", tag = "queues",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of queues in the page, 1 to 1000; default 1000"),
        ("cursor" = Option<QueueText>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = QueuesView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<QueuesView>, Problem> {
    let (after, limit) = page(&mut query)?;
    let read = |after: Option<QueueName>, limit| {
        store.call(move |store| async move {
            Ok(first(store.queues().list(after.as_ref(), limit + 1).await?, limit))
        })
    };
    let page = GrantedPage { after, limit, is_all: caller.grant().has_all_queues() };
    let is_granted = |record: &QueueRecord| caller.grant().has_queue(&record.name);
    let (queues, next) = page.of_granted(read, is_granted, |record| record.name.clone()).await?;
    let next_cursor = next.map(|name| name.to_string());
    Ok(Json(QueuesView { queues: queues.into_iter().map(QueueView::from).collect(), next_cursor }))
}

/// The query parameters of a page of queues.
pub(crate) const PAGE: &[&str] = &["limit", "cursor"];

/// Where a page of queues begins, and its length.
pub(super) fn page(query: &mut Query) -> Result<(Option<QueueName>, u32), Problem> {
    let after = query.one::<QueueName>("cursor").map_err(|_| {
        Problem::new(
            ProblemKind::InvalidCursor,
            "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
        )
    })?;
    Ok((after, query.number("limit", MAX_PAGE, (1, MAX_PAGE))?))
}

/// The first `limit` of these, and the cursor of the next page: the name of the last one, if there are more.
pub(super) fn cut<T>(mut records: Vec<T>, limit: u32, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|last| name(last).to_owned());
    (records, next)
}

/// One queue.
#[utoipa::path(get, path = "/v1/queues/{name}", operation_id = "get_queue", tag = "queues", params(("name" = QueueText, Path, description = "The queue")),
    responses((status = 200, description = "The queue", body = QueueView), (status = 404, description = "No such queue")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    QueuePath(name): QueuePath,
) -> Result<Json<QueueView>, Problem> {
    read(&store, name).await
}

/// Change the settings of a queue.
///
/// An absent field stays as it is; `null` restores the default. `"create": true` creates the queue if it does not exist.
#[utoipa::path(patch, path = "/v1/queues/{name}", operation_id = "configure_queue", tag = "queues", params(("name" = QueueText, Path, description = "The queue")),
    request_body = QueueBody, responses((status = 200, description = "The queue", body = QueueView), (status = 404, description = "No such queue")))]
pub(crate) async fn configure(
    store: Acting,
    QueuePath(name): QueuePath,
    body: JsonBody<QueueBody>,
) -> Result<Json<QueueView>, Problem> {
    let settings = body.value.settings().map_err(|errors| Problem::fields(&errors))?;
    create(&store, &name, body.value.create).await?;
    let queue = name.clone();
    let configure = move |store: Store| async move {
        let found = store.queues().configure(&queue, settings).await?;
        if found && settings.max_queued.is_some() {
            // this process knows the change before it answers, the others within a second
            store.refresh_queue_rooms().await?;
        }
        Ok(())
    };
    store.call(configure).await?;
    read(&store, name).await
}

/// Pause a queue: none of its jobs is started.
///
/// Running jobs continue, and jobs can still be submitted. `"create": true` creates the queue if it does not exist.
#[utoipa::path(post, path = "/v1/queues/{name}/pause", operation_id = "pause_queue", tag = "queues", params(("name" = QueueText, Path, description = "The queue")),
    request_body = CreateBody, responses((status = 200, description = "The queue", body = QueueView), (status = 404, description = "No such queue")))]
pub(crate) async fn pause(
    store: Acting,
    QueuePath(name): QueuePath,
    body: JsonBody<CreateBody>,
) -> Result<Json<QueueView>, Problem> {
    create(&store, &name, body.value.create).await?;
    let queue = name.clone();
    store.call(move |store| async move { store.queues().pause(&queue).await }).await?;
    read(&store, name).await
}

/// Resume a paused queue.
///
/// `"create": true` creates the queue if it does not exist.
#[utoipa::path(post, path = "/v1/queues/{name}/resume", operation_id = "resume_queue", tag = "queues", params(("name" = QueueText, Path, description = "The queue")),
    request_body = CreateBody, responses((status = 200, description = "The queue", body = QueueView), (status = 404, description = "No such queue")))]
pub(crate) async fn resume(
    store: Acting,
    State(notifier): State<Notifier>,
    QueuePath(name): QueuePath,
    body: JsonBody<CreateBody>,
) -> Result<Json<QueueView>, Problem> {
    create(&store, &name, body.value.create).await?;
    let queue = name.clone();
    store.call(move |store| async move { store.queues().resume(&queue).await }).await?;
    notifier.wake(&name);
    read(&store, name).await
}

/// Creates the queue if the request says so.
async fn create(store: &Acting, name: &QueueName, wanted: bool) -> Result<(), Problem> {
    if !wanted {
        return Ok(());
    }
    let name = name.clone();
    store.call(move |store| async move { store.queues().create(&name).await }).await
}

/// Delete all waiting (queued, scheduled and blocked) jobs of a queue.
///
/// Running and final jobs stay. One request deletes up to `limit` jobs, at most 100,000, and works for at most 20 seconds: while
/// `more` is true, send it again (with another `Idempotency-Key`, if you send one). With `"dry_run": true` nothing is deleted: give its
/// `as_of` as `created_before`, and the purge deletes no job that came later.
#[utoipa::path(post, path = "/v1/queues/{name}/purge", operation_id = "purge_queue", tag = "queues", params(("name" = QueueText, Path, description = "The queue")),
    request_body = PurgeBody, responses((status = 200, description = "How many", body = PurgeView), (status = 404, description = "No such queue")))]
pub(crate) async fn purge(
    store: Acting,
    QueuePath(name): QueuePath,
    body: JsonBody<PurgeBody>,
) -> Result<Json<PurgeView>, Problem> {
    let deadline = Instant::now() + WITHIN;
    let limit = body.value.limit().map_err(|error| Problem::fields(&[error]))?;
    let created_before = body.value.created_before().map_err(|error| Problem::fields(&[error]))?;
    let dry_run = body.value.dry_run;
    let (queue, counted) = (name.clone(), if dry_run { MAX_PURGE } else { 0 });
    let waiting = store.call(move |store| async move { store.queues().waiting(&queue, counted).await });
    let waiting = waiting.await?.ok_or_else(no_queue)?;
    if dry_run {
        return Ok(Json(PurgeView::dry(&waiting)));
    }
    let (purged, more) = purge_until(&store, &name, (created_before, limit), deadline).await?;
    Ok(Json(PurgeView { dry_run, matched: purged, exact: true, as_of: None, purged, more }))
}

/// Deletes waiting jobs that were created before a time, up to a number. Begins no step after the deadline. Answers how many, and whether
/// there may be more.
async fn purge_until(
    store: &Acting,
    name: &QueueName,
    (created_before, limit): (Option<DateTime<Utc>>, u32),
    deadline: Instant,
) -> Result<(u64, bool), Problem> {
    let (mut purged, mut left) = (0, limit);
    while left > 0 && Instant::now() < deadline {
        let (queue, most) = (name.clone(), left.min(PURGE_STEP));
        let step =
            store.call(move |store| async move { store.queues().purge(&queue, created_before, most).await });
        let gone = step.await?;
        purged += u64::from(gone);
        left -= most;
        if gone < most {
            return Ok((purged, false));
        }
    }
    Ok((purged, true))
}

async fn read(store: &StoreAccess, name: QueueName) -> Result<Json<QueueView>, Problem> {
    let found = store.call(move |store| async move { store.queues().get(&name).await }).await?;
    found.map(|record| Json(record.into())).ok_or_else(no_queue)
}

fn no_queue() -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        "no queue has this name; a queue is created by its first job, or by a setting with `\"create\": true`",
    )
}
