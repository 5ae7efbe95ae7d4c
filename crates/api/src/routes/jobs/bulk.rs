//! Actions on the jobs with given ids, and on all jobs that match a filter, up to 1000 per request.

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::{JobId, Status};
use jobqueue_store::{Cancelled, Deleted, Retried, Store};

use super::cancel::by_request;
use super::retry::refusal;
use crate::acting::Acting;
use crate::cursor::Cursors;
use crate::extract::JsonBody;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::bulk::{BulkBody, BulkFailure, BulkView, Targets};

/// Cancel jobs, by ids or by a filter.
///
/// A running job counts as changed when its worker has been asked to stop. Repeat the request while `more` is true, with `next_cursor` as
/// its `cursor`, and with a new `Idempotency-Key` if you use one.
#[utoipa::path(post, path = "/v1/jobs/cancel", operation_id = "cancel_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn cancel(
    store: Acting,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let live = [Status::Blocked, Status::Scheduled, Status::Queued, Status::Running];
    let Found { store, ids, mut view, .. } = find(&store, (&cursors, &caller), &body.value, &live).await?;
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

/// Run failed or cancelled jobs again, by ids or by a filter.
#[utoipa::path(post, path = "/v1/jobs/retry", operation_id = "retry_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn retry(
    store: Acting,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { store, ids, mut view, .. } =
        find(&store, (&cursors, &caller), &body.value, &[Status::Failed, Status::Cancelled]).await?;
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

/// Queue scheduled jobs now, by ids or by a filter.
#[utoipa::path(post, path = "/v1/jobs/promote", operation_id = "promote_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn promote(
    store: Acting,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let Found { store, ids, mut view, .. } =
        find(&store, (&cursors, &caller), &body.value, &[Status::Scheduled]).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let promote = |store: Store| async move {
            let moved = store.jobs().promote(&targets).await?;
            let left: Vec<JobId> = targets.into_iter().filter(|id| !moved.contains(id)).collect();
            let known = if left.is_empty() { vec![] } else { store.statuses(&left).await? };
            Ok((moved, known))
        };
        let (moved, known) = store.call(promote).await?;
        for id in ids {
            let is_known = known.iter().any(|(known, _)| *known == id);
            let problem = if is_known { ProblemKind::WrongStatus } else { ProblemKind::NotFound };
            view.note(id, (!moved.contains(&id)).then_some(problem));
        }
    }
    Ok(Json(view))
}

/// Delete final jobs, by ids or by a filter.
///
/// Their payloads, results, attempts and logs are gone. Jobs that wait or run stay, and so does a job whose status is no longer one that the
/// filter names.
#[utoipa::path(post, path = "/v1/jobs/delete", operation_id = "delete_jobs", tag = "jobs", request_body = BulkBody,
    responses((status = 200, description = "The result", body = BulkView)))]
pub(crate) async fn delete(
    store: Acting,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<BulkBody>,
) -> Result<Json<BulkView>, Problem> {
    let ended = [Status::Completed, Status::Failed, Status::Cancelled];
    let Found { store, ids, mut view, statuses } =
        find(&store, (&cursors, &caller), &body.value, &ended).await?;
    if !view.dry_run {
        let targets = ids.clone();
        let delete = |store: Store| async move { store.jobs().delete_with_status(&targets, &statuses).await };
        let done = store.call(delete).await?;
        for (id, outcome) in ids.into_iter().zip(done) {
            view.note(
                id,
                match outcome {
                    Deleted::Now => None,
                    Deleted::NotFinal | Deleted::OtherStatus => Some(ProblemKind::WrongStatus),
                    Deleted::Unknown => Some(ProblemKind::NotFound),
                },
            );
        }
    }
    Ok(Json(view))
}

struct Found {
    /// Records the filter of the request with the change.
    store: Acting,
    ids: Vec<JobId>,
    view: BulkView,
    /// Statuses that the jobs had: those of the filter, or the usual ones.
    statuses: Vec<Status>,
}

/// Finds the jobs to act on. Workers are not woken for them: they find them by polling.
async fn find(
    store: &Acting,
    (cursors, caller): (&Cursors, &Caller),
    body: &BulkBody,
    usual: &[Status],
) -> Result<Found, Problem> {
    let as_of =
        if body.dry_run { store.call(|store| async move { store.time().await }).await? } else { None };
    let view = BulkView { dry_run: body.dry_run, as_of, ..BulkView::default() };
    match body.targets(usual).map_err(|errors| Problem::fields(&errors))? {
        Targets::Ids(ids) => {
            let granted = limits::only_granted(store, caller.grant(), ids.clone()).await?;
            let matched = ids.len();
            let mut view = BulkView { matched, ..named(store, &granted, view, usual).await? };
            for id in ids.into_iter().filter(|id| !granted.contains(id)) {
                view.failed(id, ProblemKind::NotFound);
            }
            Ok(Found { store: store.clone(), view, ids: granted, statuses: usual.to_vec() })
        }
        Targets::Filter(filter, limit) => {
            let after = body.cursor.as_deref().map(|text| cursors.open(text)).transpose()?;
            let statuses = filter.statuses.clone();
            let Some(filter) = limits::jobs(store, caller.grant(), *filter).await? else {
                return Ok(Found { store: store.clone(), ids: vec![], view, statuses });
            };
            let limit = u32::try_from(limit).map_err(|_| Problem::internal())?;
            let found =
                store.call(move |store| async move { store.find(&filter, after, limit).await }).await?;
            let next_cursor = found.next.map(|after| cursors.seal(after));
            let shown = found.ids.iter().filter(|_| body.dry_run).map(|id| id.as_uuid()).collect();
            let view = BulkView {
                matched: found.ids.len(),
                ids: shown,
                more: next_cursor.is_some(),
                next_cursor,
                ..view
            };
            Ok(Found { store: store.by_filter(&body.filter), ids: found.ids, view, statuses })
        }
    }
}

/// The view for jobs that the request names. A dry run says which of them the action would change.
async fn named(
    store: &StoreAccess,
    ids: &[JobId],
    view: BulkView,
    usual: &[Status],
) -> Result<BulkView, Problem> {
    let mut view = BulkView { matched: ids.len(), ..view };
    if view.dry_run {
        let wanted = ids.to_vec();
        let known = store.call(move |store| async move { store.statuses(&wanted).await }).await?;
        for id in ids {
            match known.iter().find(|(known, _)| known == id) {
                Some((id, status)) if usual.contains(status) => view.ids.push(id.as_uuid()),
                Some((id, _)) => view.failed(*id, ProblemKind::WrongStatus),
                None => view.failed(*id, ProblemKind::NotFound),
            }
        }
    }
    Ok(view)
}

impl BulkView {
    fn note(&mut self, id: JobId, refused: Option<ProblemKind>) {
        match refused {
            None => {
                self.changed += 1;
                self.ids.push(id.as_uuid());
            }
            Some(kind) => self.failed(id, kind),
        }
    }

    fn failed(&mut self, id: JobId, kind: ProblemKind) {
        self.failures.push(BulkFailure {
            id: id.as_uuid(),
            status: kind.status().as_u16(),
            code: kind.slug(),
        });
    }
}
