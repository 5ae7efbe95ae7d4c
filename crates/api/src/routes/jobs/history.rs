//! The attempts and events of a job.

use axum::Json;
use axum::extract::State;

use super::record::read;
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::history::{AttemptView, AttemptsView, EventView, EventsView};

/// The attempts of a job, oldest first, each with its error, progress and the end of its log.
#[utoipa::path(get, path = "/v1/jobs/{id}/attempts", operation_id = "list_attempts", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses((status = 200, description = "Attempts", body = AttemptsView), (status = 404, description = "No such job")))]
pub(crate) async fn attempts(
    State(store): State<StoreAccess>,
    JobPath(id): JobPath,
) -> Result<Json<AttemptsView>, Problem> {
    let records = store.call(move |store| async move { store.attempts(id).await }).await?;
    if records.is_empty() {
        read(&store, id).await?;
    }
    Ok(Json(AttemptsView { attempts: records.into_iter().map(AttemptView::from).collect() }))
}

/// The events of a job, oldest first.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", operation_id = "list_events", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses((status = 200, description = "Events", body = EventsView), (status = 404, description = "No such job")))]
pub(crate) async fn events(
    State(store): State<StoreAccess>,
    JobPath(id): JobPath,
) -> Result<Json<EventsView>, Problem> {
    let events = store.call(move |store| async move { store.events(id).await }).await?;
    let events = events.ok_or_else(Problem::no_job)?;
    Ok(Json(EventsView { events: events.into_iter().map(EventView::from).collect() }))
}
