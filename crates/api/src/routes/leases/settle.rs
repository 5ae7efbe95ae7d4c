//! POST /v1/leases/settle: the end of attempts of remote workers. What follows from it is decided by the core.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Lease, Outcome};
use jobqueue_store::Settled;

use super::heartbeat::stale;
use crate::extract::JsonBody;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::settle::{SettleBody, SettledItem, SettledView};

/// End attempts.
///
/// One answer an item, in order. A single stale lease is a 409: it was lost or used before, and nothing changed. A
/// settle whose answer got lost can be sent again; a 409 then means that the first one counted, or that another worker
/// has the job.
#[utoipa::path(post, path = "/v1/leases/settle", operation_id = "settle_leases", tag = "workers", request_body = SettleBody,
    responses(
        (status = 200, description = "One answer an item", body = SettledView),
        (status = 409, description = "The only lease was lost or used before"),
    ))]
pub(crate) async fn settle(
    State(state): State<ApiState>,
    body: JsonBody<SettleBody>,
) -> Result<Json<SettledView>, Problem> {
    let ends = check(&state, body.value)?;
    let settled = state.remote.settle(ends, body.room).await?;
    if settled == [Settled::Stale] {
        return Err(stale());
    }
    Ok(Json(SettledView { items: settled.into_iter().map(view).collect() }))
}

fn check(state: &ApiState, body: SettleBody) -> Result<Vec<(Lease, Outcome)>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.items.len()) {
        return Err(Problem::field("/items", "out_of_range", format!("must have 1 to {MAX_BATCH} entries")));
    }
    let (mut ends, mut errors) = (Vec::new(), Vec::<FieldError>::new());
    for (at, item) in body.items.into_iter().enumerate() {
        match item.check(at, &state.limits) {
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
