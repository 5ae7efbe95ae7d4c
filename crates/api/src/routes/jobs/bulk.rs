//! One verb on all jobs that match a filter, up to 1000 a request.

use axum::Json;
use axum::extract::State;
use jobqueue_core::{JobId, Status};
use jobqueue_store::{Cancelled, Retried};

use super::cancel::by_request;
use super::retry::refusal;
use crate::extract::JsonBody;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wire::bulk::{BulkBody, BulkFailure, BulkView};

/// Cancel all jobs that match.
///
/// A running job counts as changed when its worker has been asked to stop. Send it again while `more` is true, with another
/// `Idempotency-Key` if with any.
#[utoipa::path(post, path = "/v1/jobs/cancel", operation_id = "cancel_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "What was done", body = BulkView)))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let live = [Status::Blocked, Status::Scheduled, Status::Queued, Status::Running];
    let Found { ids, mut view } = find(&state, &body.value, &live).await?;
    if !view.dry_run {
        let (targets, reason) = (ids.clone(), by_request());
        let done = state.store(|store| async move { store.cancel(&targets, &reason).await }).await?;
        for (id, outcome) in ids.into_iter().zip(done) {
            view.note(
                id,
                match outcome {
                    Cancelled::Now | Cancelled::Asked | Cancelled::Already(Status::Cancelled) => None,
                    Cancelled::Already(_) => Some(Kind::WrongStatus),
                    Cancelled::Unknown => Some(Kind::NotFound),
                },
            );
        }
    }
    Ok(Json(view))
}

/// Run all failed or cancelled jobs that match again.
#[utoipa::path(post, path = "/v1/jobs/retry", operation_id = "retry_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "What was done", body = BulkView)))]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { ids, mut view } = find(&state, &body.value, &[Status::Failed, Status::Cancelled]).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let done = state.store(|store| async move { store.retry(&targets).await }).await?;
        for (id, outcome) in ids.into_iter().zip(done) {
            view.note(
                id,
                match outcome {
                    Retried::Now => None,
                    Retried::Unknown => Some(Kind::NotFound),
                    other => Some(refusal(other, Status::Queued).kind()),
                },
            );
        }
    }
    Ok(Json(view))
}

/// Make all scheduled jobs that match runnable now.
#[utoipa::path(post, path = "/v1/jobs/promote", operation_id = "promote_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "What was done", body = BulkView)))]
pub(crate) async fn promote(
    State(state): State<ApiState>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { ids, mut view } = find(&state, &body.value, &[Status::Scheduled]).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let moved = state.store(|store| async move { store.promote(&targets).await }).await?;
        for id in ids {
            view.note(id, (!moved.contains(&id)).then_some(Kind::WrongStatus));
        }
    }
    Ok(Json(view))
}

struct Found {
    ids: Vec<JobId>,
    view: BulkView,
}

/// The jobs to act on. Workers are not woken for many at once: they find them by polling.
async fn find(state: &ApiState, body: &BulkBody, usual: &[Status]) -> Result<Found, Problem> {
    let filter = body.filter(usual).map_err(|errors| Problem::fields(&errors))?;
    let limit = body.limit().map_err(|error| Problem::fields(&[error]))?;
    let one_more = u32::try_from(limit + 1).map_err(|_| Problem::internal())?;
    let mut ids = state.store(move |store| async move { store.find(&filter, None, one_more).await }).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let shown = if body.dry_run { ids.iter().map(|id| id.as_uuid()).collect() } else { vec![] };
    let view =
        BulkView { dry_run: body.dry_run, matched: ids.len(), ids: shown, more, ..BulkView::default() };
    Ok(Found { ids, view })
}

impl BulkView {
    fn note(&mut self, id: JobId, refused: Option<Kind>) {
        let id = id.as_uuid();
        match refused {
            None => {
                self.changed += 1;
                self.ids.push(id);
            }
            Some(kind) => {
                self.failures.push(BulkFailure { id, status: kind.status().as_u16(), code: kind.slug() });
            }
        }
    }
}
