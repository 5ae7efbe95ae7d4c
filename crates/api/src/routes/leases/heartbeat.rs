//! POST /v1/leases/heartbeat: renews leases of a remote worker, and returns which jobs to stop.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Lease};
use jobqueue_store::{AttemptReport, Extended, RemoteReport, StoreError};

use crate::extract::JsonBody;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::remote::Remote;
use crate::store_access::StoreAccess;
use crate::wire::lease::{HeartbeatBody, HeartbeatView, Renewal, RenewedView};
use crate::wire::worker_report::{DeliveredView, WorkerReportBody};

/// Renew leases, report progress and log lines, and receive commands.
///
/// The response has one result per lease, in order. If the only lease is stale and the request has no `worker`, the response is 409. Jobs
/// that were leased together share their leases: renewing one renews all of them. A worker that sends `worker` every 10 seconds, with or
/// without leases, is shown with what it reports, and gets the commands of operators.
#[utoipa::path(post, path = "/v1/leases/heartbeat", operation_id = "heartbeat_leases", tag = "workers", request_body = HeartbeatBody,
    responses(
        (status = 200, description = "One result per lease", body = HeartbeatView),
        (status = 409, description = "The only lease was lost or already settled"),
    ))]
pub(crate) async fn heartbeat(
    State(store): State<StoreAccess>,
    State(remote): State<Remote>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<HeartbeatBody>,
) -> Result<Json<HeartbeatView>, Problem> {
    let seconds = body.value.lease_seconds().map_err(|error| Problem::fields(&[error]))?;
    let (renewals, report) = check(body.value)?;
    let ids = renewals.iter().map(|renewal| renewal.lease.job_id()).collect();
    limits::leased(&store, caller.grant(), ids).await?;
    let is_report = report.is_some();
    let commands = deliver(&store, report).await?;
    let extended = renew(&store, renewals, Duration::from_secs(seconds.into())).await?;
    let holder = |one: &Extended| match one {
        Extended::Until { worker_id, .. } => *worker_id,
        Extended::Stale => None,
    };
    remote.renewed(extended.iter().filter_map(holder));
    if extended == [Extended::Stale] && !is_report {
        return Err(stale());
    }
    Ok(Json(HeartbeatView { leases: extended.into_iter().map(view).collect(), commands }))
}

fn check(body: HeartbeatBody) -> Result<(Vec<Renewal>, Option<RemoteReport>), Problem> {
    let least = usize::from(body.worker.is_none());
    if !(least..=MAX_BATCH).contains(&body.leases.len()) {
        let message = format!("must have 1 to {MAX_BATCH} entries, or none if `worker` is given");
        return Err(Problem::field("/leases", "out_of_range", message));
    }
    let (mut renewals, mut errors) = (Vec::new(), Vec::<FieldError>::new());
    let report = body.worker.map(WorkerReportBody::check).transpose();
    let report = report.unwrap_or_else(|wrong| {
        errors.extend(wrong);
        None
    });
    for (at, item) in body.leases.into_iter().enumerate() {
        match item.renewal(at) {
            Ok(renewal) => renewals.push(renewal),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok((renewals, report)) } else { Err(Problem::fields(&errors)) }
}

/// Stores the report, and returns the commands for its worker.
async fn deliver(store: &StoreAccess, report: Option<RemoteReport>) -> Result<Vec<DeliveredView>, Problem> {
    let Some(report) = report else { return Ok(vec![]) };
    let sent = store.call(move |store| async move { store.remote_heartbeat(&report).await }).await?;
    Ok(sent.into_iter().map(DeliveredView::from).collect())
}

async fn renew(
    store: &StoreAccess,
    renewals: Vec<Renewal>,
    duration: Duration,
) -> Result<Vec<Extended>, Problem> {
    if renewals.is_empty() {
        return Ok(vec![]);
    }
    let call = |store: jobqueue_store::Store| async move {
        let mut leases: Vec<Lease> = Vec::with_capacity(renewals.len());
        let mut news = Vec::new();
        for (at, Renewal { lease, progress, log }) in renewals.into_iter().enumerate() {
            leases.push(lease);
            if progress.is_some() || !log.is_empty() {
                news.push((at, AttemptReport { progress, log }));
            }
        }
        let extended = store.extend(&leases, duration).await?;
        let reports: Vec<(&Lease, AttemptReport)> =
            news.into_iter().filter_map(|(at, report)| Some((leases.get(at)?, report))).collect();
        store.report(&reports).await?;
        Ok::<_, StoreError>(extended)
    };
    store.call(call).await
}

fn view(extended: Extended) -> RenewedView {
    match extended {
        Extended::Until { expires_at, cancel_requested, timed_out, .. } => {
            let status = match (timed_out, cancel_requested) {
                (true, _) => "timed_out",
                (false, true) => "cancel_requested",
                (false, false) => "ok",
            };
            RenewedView { status, expires_at: Some(expires_at) }
        }
        Extended::Stale => RenewedView { status: "stale", expires_at: None },
    }
}

/// The problem of a lease that was lost or already settled.
pub(super) fn stale() -> Problem {
    Problem::new(
        ProblemKind::StaleLease,
        "the lease was lost or already settled, and nothing changed: stop working on the job",
    )
}
