//! Checks the key of a request, from the header `Authorization` or from the cookie of the dashboard, its rate and its limits. It never logs a
//! key and accepts none in a URL.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, ETAG, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::keys::{Keyring, RouteGuard, veil};
use crate::problem::{Problem, ProblemKind};
use crate::scope::Scope;
use crate::session;

pub(crate) use crate::keys::Caller;

/// The scope that a route needs, the keys, and how limits of keys hold for the route.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) keys: Keyring,
    pub(crate) scope: Scope,
    pub(crate) guard: RouteGuard,
}

/// Refuses a request whose key does not have the scope of the route, or not for what the route concerns.
pub(crate) async fn require(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = gate.caller(&request)?;
    let taken = caller.take()?;
    let response = match gate.admit(&caller, &mut request).await {
        Ok(()) => serve(&caller, request, next).await,
        Err(problem) => Err(problem),
    };
    let Some(taken) = taken else { return response };
    let mut response = response.into_response();
    taken.note(response.headers_mut());
    Ok(response)
}

impl Gate {
    fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        if let Some(caller) = caller(&self.keys, request.method(), request.headers(), peer)? {
            return Ok(caller);
        }
        let challenge = HeaderValue::from_static("Bearer realm=\"jobqueue\"");
        let detail = "send a valid key as `Authorization: Bearer …`; keys in the URL are not accepted";
        Err(Problem::new(ProblemKind::Unauthorized, detail).with_header(WWW_AUTHENTICATE, challenge))
    }

    async fn admit(&self, caller: &Caller, request: &mut Request) -> Result<(), Problem> {
        if !caller.grant().has(self.scope) {
            let detail = format!("the key does not have the scope `{}`", self.scope.as_str());
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        if !caller.grant().has_everything() {
            self.guard.check(caller.grant(), request).await?;
        }
        request.extensions_mut().insert(caller.clone());
        Ok(())
    }
}

/// Serves the request. A read that waits, and a stream, end when the key does not hold any more; a change that has begun is finished. Hides
/// what the key must not read.
async fn serve(caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let grant = caller.grant();
    let is_job = request.uri().path().starts_with("/v1/jobs/");
    let waits = request.method() == Method::GET || request.uri().path() == "/v1/leases";
    let response = match caller.ended().filter(|_| waits) {
        Some(ended) => ended.run_until_cancelled(next.run(request)).await.ok_or_else(|| {
            Problem::new(
                ProblemKind::Unauthorized,
                "the key was changed, was revoked or expired during the request",
            )
        })?,
        None => next.run(request).await,
    };
    let mut response = match caller.ended().filter(|_| veil::is_stream(&response)) {
        Some(ended) => veil::until(response, ended.clone()),
        None => response,
    };
    if grant.hide.is_empty() && grant.has_everything() {
        return Ok(response);
    }
    if grant.hide.hides_payload() || is_job && grant.hide.hides_end() {
        // it is made of the payload and the metadata, among others, so it would allow to try out values
        response.headers_mut().remove(ETAG);
    }
    veil::cover(response, caller.clone()).await
}

/// Who sent a request with these headers, from this address: the holder of its key, or without a key the person that a trusted proxy names.
pub(crate) fn caller(
    keys: &Keyring,
    method: &Method,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Option<Caller>, Problem> {
    let key = credential(method, headers)?;
    if let Some(caller) = keys.caller(key.as_deref())? {
        return Ok(Some(caller));
    }
    // a proxy may send a header of its own kind, and a browser a cookie from before the sign-in at the proxy
    let has_key = headers.get_all(AUTHORIZATION).iter().any(is_bearer);
    Ok(if has_key { None } else { peer.and_then(|peer| keys.person(headers, peer.ip())) })
}

/// The key of a request: that of the header, or without the header that of the cookie, if the dashboard sent it.
fn credential<'a>(method: &Method, headers: &'a HeaderMap) -> Result<Option<Cow<'a, str>>, Problem> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(bearer(headers).map(Cow::Borrowed));
    }
    match session::key(headers) {
        Some(_) if !session::is_of_the_page(method, headers) => {
            let detail = "the cookie of the dashboard counts only for requests of the dashboard; other clients send `Authorization: Bearer …`";
            Err(Problem::new(ProblemKind::Forbidden, detail))
        }
        key => Ok(key.map(Cow::Owned)),
    }
}

fn is_bearer(value: &HeaderValue) -> bool {
    value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (values.next()?, values.next());
    let (scheme, key) = first.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(key)
}
