//! Checks the key of a request, from the header `Authorization` or from the cookie of the dashboard. It never logs a key and accepts none in
//! a URL.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::problem::{Problem, ProblemKind};
use crate::scope::Scope;
use crate::session;

/// The hash of the root key, which has every scope. Hashes have the same length, so they can be compared in constant time.
#[derive(Clone, Debug)]
pub(crate) struct RootKey(Option<[u8; 32]>);

impl RootKey {
    /// With `None` no key is needed.
    pub(crate) fn new(key: Option<&SecretString>) -> Self {
        Self(key.map(|key| hash(key.expose_secret())))
    }

    /// Whether requests need a key.
    pub(crate) fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// The caller, if the key is valid or none is needed.
    pub(crate) fn caller(&self, key: Option<&str>) -> Option<Caller> {
        let Some(expected) = self.0 else { return Some(Caller { name: "anyone", scopes: Scope::ALL }) };
        let given = hash(key?);
        bool::from(given.ct_eq(&expected)).then_some(Caller { name: "root", scopes: Scope::ALL })
    }
}

/// The sender of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Part of the scope of idempotency keys, so that callers do not share them.
    pub(crate) name: &'static str,
    scopes: &'static [Scope],
}

impl Caller {
    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        self.name
    }

    /// The names of its scopes.
    pub(crate) fn scopes(&self) -> Vec<&'static str> {
        self.scopes.iter().map(|scope| scope.as_str()).collect()
    }
}

/// The scope that a route needs, and the key to check.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) root_key: RootKey,
    pub(crate) scope: Scope,
}

/// Refuses a request whose key does not have the scope of the route.
pub(crate) async fn require(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(caller) = gate.root_key.caller(credential(request.method(), request.headers())?.as_deref())
    else {
        let challenge = HeaderValue::from_static("Bearer realm=\"jobqueue\"");
        let detail = "send a valid key as `Authorization: Bearer …`; keys in the URL are not accepted";
        return Err(Problem::new(ProblemKind::Unauthorized, detail).with_header(WWW_AUTHENTICATE, challenge));
    };
    if !caller.scopes.contains(&gate.scope) {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            format!("the key does not have the scope `{}`", gate.scope.as_str()),
        ));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// The key of a request: that of the header, or without the header that of the cookie, if the dashboard sent it.
pub(crate) fn credential<'a>(
    method: &Method,
    headers: &'a HeaderMap,
) -> Result<Option<Cow<'a, str>>, Problem> {
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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (values.next()?, values.next());
    let (scheme, key) = first.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(key)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
