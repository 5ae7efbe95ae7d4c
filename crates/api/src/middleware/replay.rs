//! A repeated `Idempotency-Key` is answered as the first time: for every POST but those that enqueue, which store their key
//! in the transaction of the effect.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use jobqueue_store::{Idempotency, KeyClaim, KeyState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::Instrument as _;

use super::auth::Caller;
use crate::extract::{IdempotencyKey, Room, json};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// Marks the answer to a repeated request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Routes whose effect a lease guards: sent twice, the second finds it done. Their senders cannot wait, for the lease ends.
const FENCED: [&str; 2] = ["/v1/leases/heartbeat", "/v1/leases/settle"];

/// Put into a response's extensions: for how long its answer says something true. Of one without effect nothing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    For(Duration),
    Nothing,
}

/// What is kept of an answer.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    status: u16,
    body: Box<RawValue>,
}

/// Carries a request with a key out once, in a task of its own: a client that goes away does not take the answer with it.
/// Only when nobody knows what became of it (the process died, the database failed) is it carried out again, two minutes
/// later.
pub(crate) async fn replay(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    key: IdempotencyKey,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !key.is_given() {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let (text, room) = json::read(&parts.headers, body, json::BATCH_BYTES, &state).await?;
    let route = format!("POST {}", parts.uri);
    let Some(idempotency) = key.of(&route, caller.name, &text) else { return Err(Problem::internal()) };
    let request = Request::from_parts(parts, Body::from(text));
    let task = state.clone();
    let served = async move { once(&task, idempotency, (request, room), next).await };
    state
        .shutdown
        .spawn_contained(served.in_current_span())
        .await
        .unwrap_or_else(|_| Err(Problem::internal()))
}

async fn once(
    state: &ApiState,
    idempotency: Idempotency,
    (request, room): (Request, Room),
    next: Next,
) -> Result<Response, Problem> {
    let is_fenced = FENCED.contains(&request.uri().path());
    match state.store(move |store| async move { store.claim_key(idempotency).await }).await? {
        KeyState::Ours(claim) => {
            // whoever reads the body now takes its room again
            drop(room);
            keep(state, claim, next.run(request).await, is_fenced).await
        }
        KeyState::Answered(kept) => again(&kept),
        KeyState::UnderWay => Err(Problem::new(
            Kind::IdempotencyKeyInUse,
            "the request with this Idempotency-Key is being carried out, or what became of it is not known yet; ask again",
        )),
        KeyState::Reused => Err(Problem::key_reused()),
    }
}

/// Keeps the answer of a request that was carried out. A refused one leaves its key free; after a failure of ours the effect
/// may still come, and the key waits, unless a second try can do no harm.
async fn keep(
    state: &ApiState,
    claim: KeyClaim,
    response: Response,
    is_fenced: bool,
) -> Result<Response, Problem> {
    let keep = response.extensions().get::<Keep>().copied();
    let (status, failed) = (response.status(), !response.status().is_success());
    if status.is_client_error() || failed && is_fenced || keep == Some(Keep::Nothing) {
        // If this fails the key is free two minutes later.
        let _logged = state.store(move |store| async move { store.free_key(claim).await }).await;
        return Ok(response);
    }
    if failed {
        return Ok(response);
    }
    let valid = keep.and_then(|keep| if let Keep::For(span) = keep { Some(span) } else { None });
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::internal())?;
    let raw = serde_json::from_slice::<Box<RawValue>>(&body).map_err(|_| Problem::internal())?;
    let kept = serde_json::to_string(&Kept { status: parts.status.as_u16(), body: raw })
        .map_err(|_| Problem::internal())?;
    // If this fails the request was carried out all the same, and that is what its sender should hear.
    let _logged = state.store(move |store| async move { store.keep_answer(claim, &kept, valid).await }).await;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn again(kept: &str) -> Result<Response, Problem> {
    let Kept { status, body } = serde_json::from_str(kept).map_err(|_| Problem::internal())?;
    let mut response = Response::new(Body::from(Box::<str>::from(body).into_string()));
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    mark(&mut response);
    Ok(response)
}

/// Says of an answer that it is old news.
pub(crate) fn mark(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}
