//! /ui/session: signs a browser in to the dashboard and out of it. The key is in a cookie that scripts cannot read.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use crate::extract::JsonBody;
use crate::keys::Keyring;
use crate::middleware::auth::{self, Caller};
use crate::problem::{Problem, ProblemKind};
use crate::session;
use crate::state::TraceUrl;
use crate::wire::session::{SessionBody, SessionView};

/// Who the browser is.
pub(crate) async fn show(
    State(keys): State<Keyring>,
    State(trace): State<TraceUrl>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer);
    let caller = auth::caller(&keys, &method, &headers, peer)?;
    // it counts like every request with the key
    let taken = caller.as_ref().map(Caller::take).transpose()?.flatten();
    let mut response = answer(&keys, &trace, caller.as_ref(), None);
    if let Some(taken) = taken {
        taken.note(response.headers_mut());
    }
    Ok(response)
}

/// Signs in.
pub(crate) async fn begin(
    State(keys): State<Keyring>,
    State(trace): State<TraceUrl>,
    headers: HeaderMap,
    body: JsonBody<SessionBody>,
) -> Result<Response, Problem> {
    let key = body.value.key.trim();
    let refused = || Problem::new(ProblemKind::Unauthorized, "this is no valid key");
    let caller =
        keys.caller(Some(key))?.filter(|_| key.len() <= session::MAX_KEY_BYTES).ok_or_else(refused)?;
    let cookie = if keys.is_required() { session::begin(key, &headers) } else { None };
    Ok(answer(&keys, &trace, Some(&caller), cookie))
}

/// Signs out.
pub(crate) async fn end(
    State(keys): State<Keyring>,
    State(trace): State<TraceUrl>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(answer(&keys, &trace, keys.caller(None)?.as_ref(), session::end(&headers)))
}

fn answer(
    keys: &Keyring,
    TraceUrl(trace_url): &TraceUrl,
    caller: Option<&Caller>,
    cookie: Option<HeaderValue>,
) -> Response {
    let view = SessionView {
        authenticated: caller.is_some(),
        key_required: keys.is_required(),
        name: caller.map(|caller| caller.name().to_owned()),
        scopes: caller.map(Caller::scopes).unwrap_or_default(),
        limited: caller.is_some_and(|caller| !caller.grant().has_everything()),
        trace_url: trace_url.clone().filter(|_| caller.is_some()),
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut response = Json(view).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
