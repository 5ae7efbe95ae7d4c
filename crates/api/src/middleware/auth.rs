//! Checks the key of a request. It never logs a key and accepts none in a URL.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::problem::{Problem, ProblemKind};
use crate::scope::Scope;

/// The hash of the root key, which has every scope. Hashes have the same length, so they can be compared in constant time.
#[derive(Clone, Debug)]
pub(crate) struct RootKey(Option<[u8; 32]>);

impl RootKey {
    /// With `None` no key is needed.
    pub(crate) fn new(key: Option<&SecretString>) -> Self {
        Self(key.map(|key| hash(key.expose_secret())))
    }

    /// The caller, if the key is valid.
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let Some(expected) = self.0 else { return Some(Caller { name: "anyone", scopes: Scope::ALL }) };
        let given = hash(bearer(headers)?);
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
    let Some(caller) = gate.root_key.caller(request.headers()) else {
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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (values.next()?, values.next());
    let (scheme, key) = first.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(key)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
