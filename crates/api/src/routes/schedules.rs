//! Routes of schedules: list, show, set, change, delete, pause, resume, run, preview, ticks, explain.

use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{FieldError, Limits, Schedule, ScheduleDraft, ScheduleName};
use jobqueue_store::{ScheduleChange, ScheduleFilter, ScheduleRecord};

use crate::extract::precondition::etag;
use crate::extract::{Query, SchedulePath};
use crate::keys::{GrantedPage, limits};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::wire::name::ScheduleText;
use crate::wire::schedule::{ScheduleBody, ScheduleView, SchedulesView};

pub(crate) mod act;
pub(crate) mod explain;
pub(crate) mod preview;
pub(crate) mod set;
pub(crate) mod ticks;

/// The query parameters of a page of schedules.
pub(crate) const PAGE: &[&str] = &["owner", "paused", "limit", "cursor"];
const DEFAULT_PAGE: u32 = 100;
/// Ticks in the answer for one schedule.
const LAST_TICKS: u32 = 10;

/// Schedules by name.
///
/// A page ends at about 4 MiB of JSON, so it may have fewer schedules than `limit`.
#[utoipa::path(get, path = "/v1/schedules", operation_id = "list_schedules", tag = "schedules",
    params(
        ("owner" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only schedules of this owner"),
        ("paused" = Option<bool>, Query, description = "`true`: only paused schedules; `false`: only others"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of schedules in the page, 1 to 1000; default 100"),
        ("cursor" = Option<ScheduleText>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = SchedulesView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<SchedulesView>, Problem> {
    let filter = ScheduleFilter { owner: owner(&mut query)?, paused: query.one("paused")? };
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<ScheduleName>("cursor").map_err(|_| invalid_cursor())?;
    let read = |after: Option<ScheduleName>, limit| {
        let filter = filter.clone();
        store.call(move |store: jobqueue_store::Store| async move {
            store.schedules().list(&filter, after.as_ref(), limit).await
        })
    };
    let is_all = caller.grant().has_everything();
    let routes = if is_all { None } else { Some(submissions.routes().await?) };
    let is_granted = |record: &ScheduleRecord| {
        let has = |schedule| {
            routes.as_ref().is_none_or(|routes| limits::has_schedule(caller.grant(), &schedule, routes))
        };
        is_all || record.parsed().is_ok_and(has)
    };
    let page = GrantedPage { after, limit, is_all };
    let (records, next) = page.of_granted(read, is_granted, |record| record.name.clone()).await?;
    let next_cursor = next.map(|name| name.to_string());
    Ok(Json(SchedulesView { schedules: records.into_iter().map(ScheduleView::from).collect(), next_cursor }))
}

/// One schedule, with its newest ticks.
#[utoipa::path(get, path = "/v1/schedules/{name}", operation_id = "get_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses(
        (status = 200, description = "The schedule", body = ScheduleView, headers(("ETag" = String, description = "Its version, for `If-Match`"))),
        (status = 404, description = "No such schedule"),
    ))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    SchedulePath(name): SchedulePath,
) -> Result<Response, Problem> {
    let record = read(&store, name).await?;
    let id = record.id;
    let ticks =
        store.call(move |store| async move { store.schedules().ticks(id, None, LAST_TICKS).await }).await?;
    let etag = tag(&record)?;
    Ok(([(ETAG, etag)], Json(ScheduleView::from(record).with_ticks(ticks))).into_response())
}

/// The owner to filter by.
pub(super) fn owner(query: &mut Query) -> Result<Option<String>, Problem> {
    let owner = query.one::<String>("owner")?;
    if owner.as_ref().is_some_and(|owner| owner.contains('\0')) {
        return Err(Problem::parameter("owner", "must not contain U+0000"));
    }
    Ok(owner)
}

/// The schedule of this name.
async fn read(store: &StoreAccess, name: ScheduleName) -> Result<ScheduleRecord, Problem> {
    let found = store.call(move |store| async move { store.schedules().get(&name).await }).await?;
    found.ok_or_else(missing)
}

/// The checked schedule of a record, or the problem that says what is wrong with it.
fn valid(record: &ScheduleRecord) -> Result<Schedule, Problem> {
    record.parsed().map_err(|what| Problem::new(ProblemKind::ScheduleInvalid, what))
}

/// The checked schedule of a body.
fn checked(
    name: &ScheduleName,
    body: ScheduleBody,
    limits: &Limits,
) -> Result<(ScheduleDraft, Schedule), Problem> {
    let draft = body.into_draft();
    let schedule = Schedule::parse(name, draft.clone(), limits);
    schedule.map(|schedule| (draft, schedule)).map_err(|errors: Vec<FieldError>| Problem::fields(&errors))
}

/// The answer to a change.
fn changed(change: ScheduleChange) -> Result<Response, Problem> {
    let (code, record) = match change {
        ScheduleChange::Created(record) => (StatusCode::CREATED, record),
        ScheduleChange::Changed(record) | ScheduleChange::Same(record) => (StatusCode::OK, record),
        ScheduleChange::Refused => return Err(refused()),
        ScheduleChange::Unknown => return Err(missing()),
    };
    let location = HeaderValue::from_str(&format!("/v1/schedules/{}", record.name));
    let etag = tag(&record)?;
    let mut response = (code, [(ETAG, etag)], Json(ScheduleView::from(record))).into_response();
    if code == StatusCode::CREATED {
        response.headers_mut().insert(LOCATION, location.map_err(|_| Problem::internal())?);
    }
    Ok(response)
}

fn tag(record: &ScheduleRecord) -> Result<HeaderValue, Problem> {
    etag(record.id, record.version)
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "no schedule has this name; create it with PUT")
}

fn refused() -> Problem {
    let detail = "the schedule exists, does not exist, or has another version, against the condition of the request; read it again";
    Problem::new(ProblemKind::PreconditionFailed, detail)
}

fn invalid_cursor() -> Problem {
    Problem::new(
        ProblemKind::InvalidCursor,
        "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
    )
}
