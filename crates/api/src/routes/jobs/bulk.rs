//! Actions on all jobs that match a filter, up to 1000 per request.

use axum::Json;
use axum::extract::State;
use jobqueue_core::{JobId, Status};
use jobqueue_store::{Cancelled, Retried};

use super::cancel::by_request;
use super::retry::refusal;
use crate::extract::JsonBody;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::bulk::{BulkBody, BulkFailure, BulkView};

/// Cancel all jobs that match.
///
/// A running job counts as changed when its worker has been asked to stop. Repeat the request while `more` is true, with a new
/// `Idempotency-Key` if you use one.
#[utoipa::path(post, path = "/v1/jobs/cancel", operation_id = "cancel_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn cancel(
    State(store): State<StoreAccess>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let live = [Status::Blocked, Status::Scheduled, Status::Queued, Status::Running];
    let Found { ids, mut view } = find(&store, &body.value, &live).await?;
    if !view.dry_run {
        let (targets, reason) = (ids.clone(), by_request());
        let done = store.call(|store| async move { store.jobs().cancel(&targets, &reason).await }).await?;
        for (id, outcome) in ids.into_iter().zip(done) {
            view.note(
                id,
                match outcome {
                    Cancelled::Now | Cancelled::Asked | Cancelled::Already(Status::Cancelled) => None,
                    Cancelled::Already(_) => Some(ProblemKind::WrongStatus),
                    Cancelled::Unknown => Some(ProblemKind::NotFound),
                },
            );
        }
    }
    Ok(Json(view))
}

/// Run all failed or cancelled jobs that match again.
#[utoipa::path(post, path = "/v1/jobs/retry", operation_id = "retry_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn retry(
    State(store): State<StoreAccess>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { ids, mut view } = find(&store, &body.value, &[Status::Failed, Status::Cancelled]).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let done = store.call(|store| async move { store.jobs().retry(&targets).await }).await?;
        for (id, outcome) in ids.into_iter().zip(done) {
            view.note(
                id,
                match outcome {
                    Retried::Now => None,
                    Retried::Unknown => Some(ProblemKind::NotFound),
                    other => Some(refusal(other, Status::Queued).kind()),
                },
            );
        }
    }
    Ok(Json(view))
}

/// Queue all scheduled jobs that match now.
#[utoipa::path(post, path = "/v1/jobs/promote", operation_id = "promote_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn promote(
    State(store): State<StoreAccess>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { ids, mut view } = find(&store, &body.value, &[Status::Scheduled]).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let moved = store.call(|store| async move { store.jobs().promote(&targets).await }).await?;
        for id in ids {
            view.note(id, (!moved.contains(&id)).then_some(ProblemKind::WrongStatus));
        }
    }
    Ok(Json(view))
}

struct Found {
    ids: Vec<JobId>,
    view: BulkView,
}

/// Finds the jobs to act on. Workers are not woken for them: they find them by polling.
async fn find(store: &StoreAccess, body: &BulkBody, usual: &[Status]) -> Result<Found, Problem> {
    let filter = body.filter(usual).map_err(|errors| Problem::fields(&errors))?;
    let limit = body.limit().map_err(|error| Problem::fields(&[error]))?;
    let one_more = u32::try_from(limit + 1).map_err(|_| Problem::internal())?;
    let mut ids = store.call(move |store| async move { store.find(&filter, None, one_more).await }).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let shown = if body.dry_run { ids.iter().map(|id| id.as_uuid()).collect() } else { vec![] };
    let view =
        BulkView { dry_run: body.dry_run, matched: ids.len(), ids: shown, more, ..BulkView::default() };
    Ok(Found { ids, view })
}

impl BulkView {
    fn note(&mut self, id: JobId, refused: Option<ProblemKind>) {
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
