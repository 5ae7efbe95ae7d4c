//! Answers a repeated `Idempotency-Key` with the first response. For every POST except submissions, which store their key in
//! their own transaction.

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
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::auth::Caller;
use crate::body_memory::{BodyBudget, BodyMemory};
use crate::extract::{IdempotencyKey, json};
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;

/// The header of a replayed response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Routes whose effect is guarded by a lease: a second request changes nothing. Their clients must not wait, because the
/// lease expires.
const FENCED: [&str; 2] = ["/v1/leases/heartbeat", "/v1/leases/settle"];

/// In the extensions of a response: how long it may be replayed. A response without an effect is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    For(Duration),
    Nothing,
}

/// The stored part of a response.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    status: u16,
    body: Box<RawValue>,
}

/// Notifies a request with a key that its client has disconnected. Such a request runs in a task of its own, which is not
/// cancelled, so a request that waits must stop by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientGone(CancellationToken);

impl ClientGone {
    pub(crate) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// What the requests with a key use.
#[derive(Clone, Debug)]
pub(crate) struct KeyedRequests {
    pub(crate) store: StoreAccess,
    pub(crate) bodies: BodyBudget,
}

/// Executes a request with a key once. It runs in a task of its own, so its response is stored even if the client
/// disconnects. If the result is unknown because the process ended or the database failed, the request is executed again
/// when it is repeated after two minutes.
pub(crate) async fn replay(
    State(KeyedRequests { store, bodies }): State<KeyedRequests>,
    Extension(caller): Extension<Caller>,
    key: IdempotencyKey,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !key.is_given() {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let (text, memory) = json::read(&parts.headers, body, json::BATCH_BYTES, &bodies).await?;
    let route = format!("POST {}", parts.uri);
    let Some(idempotency) = key.of(&route, caller.identity(), &text) else { return Err(Problem::internal()) };
    let mut request = Request::from_parts(parts, Body::from(text));
    let gone = ClientGone::default();
    let _cancelled_with_this_future = gone.0.clone().drop_guard();
    request.extensions_mut().insert(gone);
    let of_the_task = store.clone();
    let served = async move { once(&of_the_task, idempotency, (request, memory), next).await };
    store.spawn(served.in_current_span()).await.unwrap_or_else(|_| Err(Problem::internal()))
}

async fn once(
    store: &StoreAccess,
    idempotency: Idempotency,
    (request, memory): (Request, BodyMemory),
    next: Next,
) -> Result<Response, Problem> {
    let is_fenced = FENCED.contains(&request.uri().path());
    match store.call(move |store| async move { store.claim_key(idempotency).await }).await? {
        KeyState::Ours(claim) => {
            // the route takes memory for the body again when it reads it
            drop(memory);
            keep(store, claim, next.run(request).await, is_fenced).await
        }
        KeyState::Answered(kept) => again(&kept),
        KeyState::UnderWay => Err(Problem::new(
            ProblemKind::IdempotencyKeyInUse,
            "the first request with this Idempotency-Key is still running, or its result is not known yet; repeat the request later",
        )),
        KeyState::Reused => Err(Problem::key_reused()),
    }
}

/// Stores the response of an executed request. A refused request frees its key. After a server error the request may still
/// take effect, so the key stays in use, unless a lease guards the effect.
async fn keep(
    store: &StoreAccess,
    claim: KeyClaim,
    response: Response,
    is_fenced: bool,
) -> Result<Response, Problem> {
    let keep = response.extensions().get::<Keep>().copied();
    let (status, failed) = (response.status(), !response.status().is_success());
    if status.is_client_error() || failed && is_fenced || keep == Some(Keep::Nothing) {
        // if this fails, the key becomes free after two minutes
        let _logged = store.call(move |store| async move { store.free_key(claim).await }).await;
        return Ok(response);
    }
    if failed {
        return Ok(response);
    }
    let valid = keep.and_then(|keep| if let Keep::For(duration) = keep { Some(duration) } else { None });
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::internal())?;
    let raw = serde_json::from_slice::<Box<RawValue>>(&body).map_err(|_| Problem::internal())?;
    let kept = serde_json::to_string(&Kept { status: parts.status.as_u16(), body: raw })
        .map_err(|_| Problem::internal())?;
    // if this fails, the request has been executed anyway, and its client must get the response
    let _logged = store.call(move |store| async move { store.keep_answer(claim, &kept, valid).await }).await;
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

/// Marks a response as replayed.
pub(crate) fn mark(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}
