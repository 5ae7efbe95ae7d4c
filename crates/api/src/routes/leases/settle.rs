//! POST /v1/leases/settle: ends attempts of a remote worker. The core decides what becomes of the jobs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Lease, Outcome};
use jobqueue_store::Settled;

use super::heartbeat::stale;
use crate::extract::JsonBody;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::remote::Remote;
use crate::store_access::StoreAccess;
use crate::wire::settle::{SettleBody, SettledItem, SettledView};

/// End attempts.
///
/// The response has one result per item, in order. If the only lease is stale (lost or already settled), the response is 409,
/// and nothing changed. If a response is lost, repeat the request: a 409 then means that the first request took effect, or
/// that the lease was lost.
#[utoipa::path(post, path = "/v1/leases/settle", operation_id = "settle_leases", tag = "workers", request_body = SettleBody,
    responses(
        (status = 200, description = "One result per item", body = SettledView),
        (status = 409, description = "The only lease was lost or already settled"),
    ))]
pub(crate) async fn settle(
    State(store): State<StoreAccess>,
    State(remote): State<Remote>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<SettleBody>,
) -> Result<Json<SettledView>, Problem> {
    let ends = check(&remote, body.value)?;
    limits::leased(&store, caller.grant(), ends.iter().map(|(lease, _)| lease.job_id()).collect()).await?;
    let settled = remote.settle(ends, body.memory).await?;
    if settled == [Settled::Stale] {
        return Err(stale());
    }
    Ok(Json(SettledView { items: settled.into_iter().map(view).collect() }))
}

fn check(remote: &Remote, body: SettleBody) -> Result<Vec<(Lease, Outcome)>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.items.len()) {
        return Err(Problem::field("/items", "out_of_range", format!("must have 1 to {MAX_BATCH} entries")));
    }
    let (mut ends, mut errors) = (Vec::new(), Vec::<FieldError>::new());
    for (at, item) in body.items.into_iter().enumerate() {
        match item.check(at, remote.limits()) {
            Ok(end) => ends.push(end),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(ends) } else { Err(Problem::fields(&errors)) }
}

fn view(settled: Settled) -> SettledItem {
    match settled {
        Settled::Applied(status) => SettledItem { code: StatusCode::OK.as_u16(), status: Some(status) },
        Settled::Stale => SettledItem { code: StatusCode::CONFLICT.as_u16(), status: None },
    }
}
