//! POST /v1/leases/heartbeat: a remote worker says that it lives, and learns what it should stop.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Lease};
use jobqueue_store::{AttemptReport, Extended, StoreError};

use crate::extract::JsonBody;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wire::lease::{HeartbeatBody, HeartbeatView, Renewal, RenewedView};

/// Renew leases, and report progress and log lines.
///
/// One answer a lease, in order. A single stale lease is a 409. Jobs that were leased together share the end of their
/// leases: renewing one renews them all.
#[utoipa::path(post, path = "/v1/leases/heartbeat", operation_id = "heartbeat_leases", tag = "workers", request_body = HeartbeatBody,
    responses(
        (status = 200, description = "One answer a lease", body = HeartbeatView),
        (status = 409, description = "The only lease was lost or used before"),
    ))]
pub(crate) async fn heartbeat(
    State(state): State<ApiState>,
    body: JsonBody<HeartbeatBody>,
) -> Result<Json<HeartbeatView>, Problem> {
    let seconds = body.value.lease_seconds().map_err(|error| Problem::fields(&[error]))?;
    let renewals = check(body.value)?;
    let extended = renew(&state, renewals, Duration::from_secs(seconds.into())).await?;
    if extended == [Extended::Stale] {
        return Err(stale());
    }
    Ok(Json(HeartbeatView { leases: extended.into_iter().map(view).collect() }))
}

fn check(body: HeartbeatBody) -> Result<Vec<Renewal>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.leases.len()) {
        return Err(Problem::field("/leases", "out_of_range", format!("must have 1 to {MAX_BATCH} entries")));
    }
    let (mut renewals, mut errors) = (Vec::new(), Vec::<FieldError>::new());
    for (at, item) in body.leases.into_iter().enumerate() {
        match item.renewal(at) {
            Ok(renewal) => renewals.push(renewal),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(renewals) } else { Err(Problem::fields(&errors)) }
}

async fn renew(
    state: &ApiState,
    renewals: Vec<Renewal>,
    duration: Duration,
) -> Result<Vec<Extended>, Problem> {
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
    state.store(call).await
}

fn view(extended: Extended) -> RenewedView {
    match extended {
        Extended::Until { expires_at, cancel_requested } => {
            let status = if cancel_requested { "cancel_requested" } else { "ok" };
            RenewedView { status, expires_at: Some(expires_at) }
        }
        Extended::Stale => RenewedView { status: "stale", expires_at: None },
    }
}

/// The refusal of a lease that is not good any more.
pub(super) fn stale() -> Problem {
    Problem::new(
        Kind::StaleLease,
        "stop the work: the job is another's, or was settled before; nothing changed",
    )
}
