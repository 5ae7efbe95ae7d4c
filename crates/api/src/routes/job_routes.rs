//! /v1/routes: list, show, set, change, delete, test.

use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::route::MAX_ROUTES;
use jobqueue_core::{JobDraft, NewJob, RouteDraft, RouteName};
use jobqueue_store::{Precondition, RouteChange, RouteRecord};

use super::schedules::owner;
use crate::acting::Acting;
use crate::extract::precondition::etag;
use crate::extract::{Condition, JsonBody, Query, RoutePath};
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::wire::job::EnqueueBody;
use crate::wire::name::RouteText;
use crate::wire::route::{RouteBody, RouteTestView, RouteView, RoutesView, UnroutedView};

pub(crate) mod patch;

/// The query parameters of a page of routes.
pub(crate) const PAGE: &[&str] = &["owner", "limit", "cursor"];
const DEFAULT_PAGE: u32 = 100;

/// Routes, in the order in which they are tried.
#[utoipa::path(get, path = "/v1/routes", operation_id = "list_routes", tag = "routes",
    params(
        ("owner" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only routes of this owner"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of routes in the page, 1 to 1000; default 100"),
        ("cursor" = Option<String>, Query, pattern = r"^-?[0-9]{1,7},[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length = 136, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = RoutesView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    mut query: Query,
) -> Result<Json<RoutesView>, Problem> {
    let owner = owner(&mut query)?;
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after =
        query.one::<String>("cursor")?.map(|cursor| place(&cursor).ok_or_else(invalid_cursor)).transpose()?;
    let page = move |store: jobqueue_store::Store| async move {
        store.routes().list(owner.as_deref(), after.as_ref(), limit).await
    };
    let (records, more) = store.call(page).await?;
    let next_cursor = records.last().filter(|_| more).map(|last| format!("{},{}", last.position, last.name));
    Ok(Json(RoutesView { routes: records.into_iter().map(RouteView::from).collect(), next_cursor }))
}

/// One route.
#[utoipa::path(get, path = "/v1/routes/{name}", operation_id = "get_route", tag = "routes", params(("name" = RouteText, Path, description = "The route")),
    responses(
        (status = 200, description = "The route", body = RouteView, headers(("ETag" = String, description = "Its version, for `If-Match`"))),
        (status = 404, description = "No such route"),
    ))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    RoutePath(name): RoutePath,
) -> Result<Response, Problem> {
    let found = store.call(move |store| async move { store.routes().get(&name).await }).await?;
    answer(StatusCode::OK, found.ok_or_else(missing)?)
}

/// Create or replace a route.
///
/// A route that is as requested already is not changed and keeps its version. Jobs that exist already are not affected. Every process applies
/// the change within a second; see the page about routes.
#[utoipa::path(put, path = "/v1/routes/{name}", operation_id = "put_route", tag = "routes", params(("name" = RouteText, Path, description = "The route")),
    request_body = RouteBody,
    responses(
        (status = 201, description = "Created", body = RouteView, headers(("Location" = String, description = "The route"), ("ETag" = String, description = "Its version"))),
        (status = 200, description = "Replaced, or as requested already", body = RouteView, headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "As many routes exist as may"),
        (status = 412, description = "`If-Match` or `If-None-Match` does not hold"),
    ))]
pub(crate) async fn put(
    store: Acting,
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    (RoutePath(name), Condition(condition)): (RoutePath, Condition),
    body: JsonBody<RouteBody>,
) -> Result<Response, Problem> {
    let draft = body.value.checked(&name, &submissions.limits())?;
    limits::webhook(caller.grant(), draft.on_end.is_some())?;
    changed(self::store(&store, name, draft, condition).await?)
}

/// Stores a route that passed the checks.
async fn store(
    store: &Acting,
    name: RouteName,
    draft: RouteDraft,
    condition: Precondition,
) -> Result<RouteChange, Problem> {
    let put = move |store: jobqueue_store::Store| async move {
        let change = store.routes().put(&name, &draft, &condition).await?;
        // this process applies it at once
        store.refresh_changed_routes().await;
        Ok(change)
    };
    store.call(put).await
}

/// The answer to a change.
fn changed(change: RouteChange) -> Result<Response, Problem> {
    match change {
        RouteChange::Created(record) => answer(StatusCode::CREATED, record),
        RouteChange::Changed(record) | RouteChange::Same(record) => answer(StatusCode::OK, record),
        RouteChange::Refused => Err(refused()),
        RouteChange::Unknown => Err(missing()),
        RouteChange::Full => Err(full()),
        RouteChange::UnknownSecret => {
            let message = "is not that of the stored route; give `secret` instead";
            Err(Problem::field("/on_end/secret_id", "invalid", message))
        }
    }
}

/// Delete a route.
///
/// Its jobs stay as they are. Deleting a route that does not exist is 200 with `"deleted": false`.
#[utoipa::path(delete, path = "/v1/routes/{name}", operation_id = "delete_route", tag = "routes", params(("name" = RouteText, Path, description = "The route")),
    responses(
        (status = 200, description = "The route does not exist any more", body = UnroutedView),
        (status = 412, description = "`If-Match` does not hold"),
    ))]
pub(crate) async fn delete(
    store: Acting,
    RoutePath(name): RoutePath,
    Condition(condition): Condition,
) -> Result<Json<UnroutedView>, Problem> {
    let delete = move |store: jobqueue_store::Store| async move {
        let change = store.routes().delete(&name, &condition).await?;
        store.refresh_changed_routes().await;
        Ok(change)
    };
    match store.call(delete).await? {
        RouteChange::Refused => Err(refused()),
        change => Ok(Json(UnroutedView { deleted: matches!(change, RouteChange::Changed(_)) })),
    }
}

/// Test which route a submission gets.
///
/// It reads the routes as they are stored now, checks the result as a submission, and stores nothing.
#[utoipa::path(post, path = "/v1/routes/test", operation_id = "test_route", tag = "routes", request_body = EnqueueBody,
    responses((status = 200, description = "The route, and the submission with its defaults", body = RouteTestView)))]
pub(crate) async fn test(
    State(store): State<StoreAccess>,
    State(submissions): State<Submissions>,
    body: JsonBody<EnqueueBody>,
) -> Result<Json<RouteTestView>, Problem> {
    let _memory = body.memory;
    let before = body.value.into_draft(None);
    let read = |store: jobqueue_store::Store| async move {
        store.refresh_routes().await?;
        store.route_table().await
    };
    let routes = store.call(read).await?;
    let (route, mut draft) = (routes.find(&before.kind), before.clone());
    let limits = submissions.limits_of(true).await?;
    if let Some(route) = route {
        route.fill(&mut draft, limits.now);
    }
    NewJob::parse(draft.clone(), &limits).map_err(|errors| Problem::fields(&errors))?;
    let route = route.map(|route| route.name.to_string());
    let job = serde_json::to_string(&draft).map_err(|_| Problem::internal())?;
    let job = jobqueue_core::Json::from_stored(job).map_err(|_| Problem::internal())?;
    Ok(Json(RouteTestView { route, filled: filled(&before, &draft), job }))
}

/// The fields that differ.
fn filled(before: &JobDraft, after: &JobDraft) -> Vec<&'static str> {
    let fields = [
        ("queue", before.queue != after.queue),
        ("priority", before.priority != after.priority),
        ("max_attempts", before.max_attempts != after.max_attempts),
        ("retry", before.retry != after.retry),
        ("timeout_seconds", before.timeout_seconds.is_some() != after.timeout_seconds.is_some()),
        (
            "soft_timeout_seconds",
            before.soft_timeout_seconds.is_some() != after.soft_timeout_seconds.is_some(),
        ),
        ("expires_at", before.expires_at != after.expires_at),
        ("tags", before.tags != after.tags),
        ("on_end", before.on_end != after.on_end),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn answer(code: StatusCode, record: RouteRecord) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(&format!("/v1/routes/{}", record.name));
    let etag = etag(record.id, record.version)?;
    let mut response = (code, [(ETAG, etag)], Json(RouteView::from(record))).into_response();
    if code == StatusCode::CREATED {
        response.headers_mut().insert(LOCATION, location.map_err(|_| Problem::internal())?);
    }
    Ok(response)
}

/// The place of a cursor.
fn place(cursor: &str) -> Option<(i32, RouteName)> {
    let (position, name) = cursor.split_once(',')?;
    Some((position.parse().ok()?, name.parse().ok()?))
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "no route has this name; create it with PUT")
}

fn refused() -> Problem {
    let detail = "the route exists, does not exist, or has another version, against the condition of the request; read it again";
    Problem::new(ProblemKind::PreconditionFailed, detail)
}

fn full() -> Problem {
    Problem::new(
        ProblemKind::TooManyRoutes,
        format!("{MAX_ROUTES} routes exist, which is the most; delete one first"),
    )
}

fn invalid_cursor() -> Problem {
    Problem::new(
        ProblemKind::InvalidCursor,
        "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
    )
}
