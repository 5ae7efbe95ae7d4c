//! Redrives: start, list, show, stop. The reaper makes their steps.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::{Redrive, RedriveStop, Store};
use uuid::Uuid;

use crate::acting::Acting;
use crate::extract::path::uuid_of;
use crate::extract::{JsonBody, Query, RedrivePath};
use crate::keys::{GrantedPage, first, limits};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::redrive::{RedriveBody, RedrivePlanView, RedriveView, RedrivesView};

/// The query parameters of a page of redrives.
pub(crate) const PAGE: &[&str] = &["limit", "cursor"];
const DEFAULT_PAGE: u32 = 50;

/// Retry dead letters at a chosen rate.
///
/// The reaper retries the dead letters that match, oldest first, and stops by itself when too many of them fail again: it counts a job as failed
/// as soon as one attempt failed, even if the job is retried later. At most ten seconds' worth of jobs, or a window of them, are under way, so a
/// redrive waits for workers. It survives a restart of every process. With `dry_run` nothing is started.
#[utoipa::path(post, path = "/v1/dead-letters/redrives", operation_id = "start_redrive", tag = "dead letters", request_body = RedriveBody,
    responses(
        (status = 201, description = "It has begun", body = RedriveView, headers(("Location" = String, description = "The redrive"))),
        (status = 200, description = "A dry run", body = RedrivePlanView),
    ))]
pub(crate) async fn start(
    store: Acting,
    Extension(caller): Extension<Caller>,
    body: JsonBody<RedriveBody>,
) -> Result<Response, Problem> {
    let dry_run = body.value.dry_run;
    let (filter, rules) = body.value.check().map_err(|errors| Problem::fields(&errors))?;
    let filter = limits::dead_letters(&store, caller.grant(), filter).await?;
    let filter = filter.ok_or_else(|| limits::too_wide("queues or kinds that the key does not include"))?;
    let counted = filter.clone();
    let as_of = if dry_run { store.call(|store| async move { store.time().await }).await? } else { None };
    let total = store.call(move |store| async move { store.dead_letters().count(&counted).await }).await?;
    if dry_run {
        return Ok(Json(RedrivePlanView { dry_run, total, as_of }).into_response());
    }
    let begin =
        move |store: Store| async move { store.dead_letters().begin_redrive(&filter, rules, total).await };
    let redrive = RedriveView::from(store.call(begin).await?);
    let location = HeaderValue::from_str(&format!("/v1/dead-letters/redrives/{}", redrive.id));
    let headers = [(LOCATION, location.map_err(|_| Problem::internal())?)];
    Ok((StatusCode::CREATED, headers, Json(redrive)).into_response())
}

/// List redrives, newest first.
///
/// They are kept for 30 days after their end.
#[utoipa::path(get, path = "/v1/dead-letters/redrives", operation_id = "list_redrives", tag = "dead letters",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of redrives in the page, 1 to 1000; default 50"),
        ("cursor" = Option<Uuid>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = RedrivesView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<RedrivesView>, Problem> {
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let refuse = || {
        Problem::new(
            ProblemKind::InvalidCursor,
            "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
        )
    };
    let before = query.one::<String>("cursor")?.map(|text| uuid_of(&text).ok_or_else(refuse)).transpose()?;
    let read = |before: Option<Uuid>, limit| {
        store.call(move |store: Store| async move {
            Ok(first(store.dead_letters().redrives(before, limit + 1).await?, limit))
        })
    };
    let page = GrantedPage { after: before, limit, is_all: caller.grant().has_everything() };
    let is_granted = |redrive: &Redrive| limits::has_filter(caller.grant(), &redrive.filter);
    let (redrives, next_cursor) = page.of_granted(read, is_granted, |redrive| redrive.id).await?;
    Ok(Json(RedrivesView { redrives: redrives.into_iter().map(RedriveView::from).collect(), next_cursor }))
}

/// One redrive, and how far it is.
#[utoipa::path(get, path = "/v1/dead-letters/redrives/{redrive_id}", operation_id = "get_redrive", tag = "dead letters",
    params(("redrive_id" = Uuid, Path, description = "The redrive")),
    responses((status = 200, description = "The redrive", body = RedriveView), (status = 404, description = "No such redrive")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    RedrivePath(id): RedrivePath,
) -> Result<Json<RedriveView>, Problem> {
    let found = store.call(move |store| async move { store.dead_letters().redrive(id).await }).await?;
    Ok(Json(found.ok_or_else(missing)?.into()))
}

/// Stop a redrive.
///
/// The jobs that it has retried run on. Stopping one that has ended changes nothing and is 200.
#[utoipa::path(post, path = "/v1/dead-letters/redrives/{redrive_id}/stop", operation_id = "stop_redrive", tag = "dead letters",
    params(("redrive_id" = Uuid, Path, description = "The redrive")),
    responses((status = 200, description = "The redrive", body = RedriveView), (status = 404, description = "No such redrive")))]
pub(crate) async fn stop(store: Acting, RedrivePath(id): RedrivePath) -> Result<Json<RedriveView>, Problem> {
    match store.call(move |store| async move { store.dead_letters().stop_redrive(id).await }).await? {
        RedriveStop::Now(redrive) | RedriveStop::Ended(redrive) => Ok(Json(redrive.into())),
        RedriveStop::Unknown => Err(missing()),
    }
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "no redrive has this id")
}
