//! The next ticks of a schedule, stored or not.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use jobqueue_core::ScheduleName;

use super::{checked, read, valid};
use crate::extract::{JsonBody, Query, SchedulePath};
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::wire::name::ScheduleText;
use crate::wire::schedule::ScheduleBody;
use crate::wire::tick::PreviewView;

/// The query parameters.
pub(crate) const PARAMETERS: &[&str] = &["n", "from"];
/// The query parameters for a schedule that is not stored.
pub(crate) const UNSAVED: &[&str] = &["n", "from", "name"];
/// The name of a schedule that is not stored, if the client gives none.
const NO_NAME: &str = "unsaved";

/// Preview the next ticks of a schedule.
///
/// It shows the times by the rules of the schedule, whether or not it is paused or disabled.
#[utoipa::path(get, path = "/v1/schedules/{name}/preview", operation_id = "preview_schedule", tag = "schedules",
    params(
        ("name" = ScheduleText, Path, description = "The schedule"),
        ("n" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Number of ticks, 1 to 1000; default 10"),
        ("from" = Option<String>, Query, format = DateTime, description = "Ticks after this time (RFC 3339); default now"),
    ),
    responses(
        (status = 200, description = "The ticks", body = PreviewView),
        (status = 404, description = "No such schedule"),
        (status = 409, description = "The schedule is invalid"),
    ))]
pub(crate) async fn stored(
    State(store): State<StoreAccess>,
    SchedulePath(name): SchedulePath,
    query: Query,
) -> Result<Json<PreviewView>, Problem> {
    let (count, from) = range(&store, query).await?;
    let record = read(&store, name).await?;
    Ok(Json(PreviewView::of(&valid(&record)?, from, count, record.runs)))
}

/// Preview the ticks of a schedule that is not stored.
///
/// It checks the body as PUT does, and stores nothing.
#[utoipa::path(post, path = "/v1/schedules/preview", operation_id = "preview_unsaved_schedule", tag = "schedules", request_body = ScheduleBody,
    params(
        ("n" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Number of ticks, 1 to 1000; default 10"),
        ("from" = Option<String>, Query, format = DateTime, description = "Ticks after this time (RFC 3339); default now"),
        ("name" = Option<ScheduleText>, Query, description = "The name that the schedule will have; the jitter depends on it"),
    ),
    responses((status = 200, description = "The ticks", body = PreviewView)))]
pub(crate) async fn unsaved(
    State(store): State<StoreAccess>,
    State(submissions): State<Submissions>,
    mut query: Query,
    body: JsonBody<ScheduleBody>,
) -> Result<Json<PreviewView>, Problem> {
    let name =
        query.one::<ScheduleName>("name")?.or_else(|| NO_NAME.parse().ok()).ok_or_else(Problem::internal)?;
    let (count, from) = range(&store, query).await?;
    let (_, schedule) = checked(&name, body.value, &submissions.limits())?;
    Ok(Json(PreviewView::of(&schedule, from, count, 0)))
}

/// How many ticks, after which time.
async fn range(store: &StoreAccess, mut query: Query) -> Result<(usize, DateTime<Utc>), Problem> {
    let count = query.number("n", 10, (1, 1000))?;
    let from = match query.timestamp("from")? {
        Some(from) => from,
        None => store.call(|store| async move { store.time().await }).await?.ok_or_else(Problem::internal)?,
    };
    Ok((usize::try_from(count).unwrap_or(1), from))
}
