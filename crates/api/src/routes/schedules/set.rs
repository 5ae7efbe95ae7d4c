//! PUT, PATCH and DELETE of /v1/schedules/{name}.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use jobqueue_core::{Schedule, ScheduleName};
use jobqueue_store::{Precondition, ScheduleChange};

use super::{changed, checked, missing, read, refused};
use crate::acting::Acting;
use crate::extract::{Condition, JsonBody, SchedulePath, parse};
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::routes::merge::until_applied;
use crate::submissions::Submissions;
use crate::wire::name::ScheduleText;
use crate::wire::schedule::{ScheduleBody, SchedulePatch, ScheduleView, UnscheduledView};

/// Create or replace a schedule.
///
/// A schedule that is as requested already is not changed and keeps its version. A replaced one keeps its name, its pause, its history and
/// its jobs. If its ticks change, it begins anew with the first tick after now; a new schedule has missed none.
#[utoipa::path(put, path = "/v1/schedules/{name}", operation_id = "put_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    request_body = ScheduleBody,
    responses(
        (status = 201, description = "Created", body = ScheduleView, headers(("Location" = String, description = "The schedule"), ("ETag" = String, description = "Its version"))),
        (status = 200, description = "Replaced, or as requested already", body = ScheduleView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "`If-Match` or `If-None-Match` does not hold"),
    ))]
pub(crate) async fn put(
    store: Acting,
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    (SchedulePath(name), Condition(condition)): (SchedulePath, Condition),
    body: JsonBody<ScheduleBody>,
) -> Result<Response, Problem> {
    let _memory = body.memory;
    let (draft, schedule) = checked(&name, body.value, &submissions.limits())?;
    include(&submissions, &caller, &schedule).await?;
    let put = move |store: jobqueue_store::Store| async move {
        store.schedules().put(&name, &draft, &schedule, &condition).await
    };
    changed(store.call(put).await?)
}

/// Change some fields of a schedule.
///
/// The body is a JSON merge patch (RFC 7396): `null` removes a field, objects such as `job` are merged, and any other value replaces the
/// field. The result must be a valid schedule.
#[utoipa::path(patch, path = "/v1/schedules/{name}", operation_id = "patch_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    request_body = ScheduleBody,
    responses(
        (status = 200, description = "The schedule", body = ScheduleView, headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "No such schedule"),
        (status = 412, description = "`If-Match` does not hold"),
    ))]
pub(crate) async fn patch(
    store: Acting,
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    (SchedulePath(name), Condition(condition)): (SchedulePath, Condition),
    body: JsonBody<SchedulePatch>,
) -> Result<Response, Problem> {
    let merge = || merged(&store, (&submissions, &caller), &name, &condition, &body.value);
    changed(until_applied(&condition, ScheduleChange::Refused, merge).await?)
}

/// Refuses a schedule whose jobs the key does not include.
async fn include(submissions: &Submissions, caller: &Caller, schedule: &Schedule) -> Result<(), Problem> {
    if caller.grant().has_everything() {
        return Ok(());
    }
    limits::schedule(caller.grant(), schedule, &*submissions.routes().await?)
}

/// Merges the patch into the schedule as it is now, and replaces that version.
async fn merged(
    store: &Acting,
    (submissions, caller): (&Submissions, &Caller),
    name: &ScheduleName,
    condition: &Precondition,
    patch: &SchedulePatch,
) -> Result<ScheduleChange, Problem> {
    let current = match read(store, name.clone()).await {
        Err(_) if matches!(condition, Precondition::Present | Precondition::Version(_)) => {
            return Err(refused());
        }
        found => found?,
    };
    let Some(only) = condition.of_version((current.id, current.version)) else {
        return Ok(ScheduleChange::Refused);
    };
    let spec = current.spec.merged(&patch.json).map_err(|_| Problem::internal())?;
    let (draft, schedule) = checked(name, parse::<ScheduleBody>(spec.as_str())?, &submissions.limits())?;
    include(submissions, caller, &schedule).await?;
    let name = name.clone();
    let put = move |store: jobqueue_store::Store| async move {
        store.schedules().put(&name, &draft, &schedule, &only).await
    };
    store.call(put).await
}

/// Delete a schedule and the history of its ticks.
///
/// Its jobs stay. Deleting a schedule that does not exist is 200 with `"deleted": false`.
#[utoipa::path(delete, path = "/v1/schedules/{name}", operation_id = "delete_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses(
        (status = 200, description = "The schedule does not exist any more", body = UnscheduledView),
        (status = 412, description = "`If-Match` does not hold"),
    ))]
pub(crate) async fn delete(
    store: Acting,
    SchedulePath(name): SchedulePath,
    Condition(condition): Condition,
) -> Result<Json<UnscheduledView>, Problem> {
    let delete =
        move |store: jobqueue_store::Store| async move { store.schedules().delete(&name, &condition).await };
    match store.call(delete).await? {
        ScheduleChange::Refused => Err(refused()),
        ScheduleChange::Unknown => Ok(Json(UnscheduledView { deleted: false })),
        ScheduleChange::Changed(_) => Ok(Json(UnscheduledView { deleted: true })),
        ScheduleChange::Created(_) | ScheduleChange::Same(_) => Err(missing()),
    }
}
