//! Who may. Owns the comparison of keys; never logs one, never takes one from a URL.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::problem::{Kind, Problem};
use crate::router::Scope;
use crate::state::ApiState;

/// The root key as its hash, which has a fixed length to compare. It allows everything.
#[derive(Clone, Debug)]
pub(crate) struct RootKey(Option<[u8; 32]>);

impl RootKey {
    /// `None` lets everybody in.
    pub(crate) fn new(key: Option<&SecretString>) -> Self {
        Self(key.map(|key| hash(key.expose_secret())))
    }

    /// Who calls, if the key is good.
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let Some(expected) = self.0 else { return Some(Caller { name: "anyone", scopes: Scope::ALL }) };
        let given = hash(bearer(headers)?);
        bool::from(given.ct_eq(&expected)).then_some(Caller { name: "root", scopes: Scope::ALL })
    }
}

/// The one who sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Keeps the idempotency keys of different callers apart.
    pub(crate) name: &'static str,
    scopes: &'static [Scope],
}

/// What a route demands.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) state: ApiState,
    pub(crate) scope: Scope,
}

/// Lets a request through if its key has the route's scope.
pub(crate) async fn require(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(caller) = gate.state.root_key.caller(request.headers()) else {
        let challenge = HeaderValue::from_static("Bearer realm=\"jobqueue\"");
        let detail = "send a valid key as `Authorization: Bearer …`; keys in the URL are not accepted";
        return Err(Problem::new(Kind::Unauthorized, detail).with_header(WWW_AUTHENTICATE, challenge));
    };
    if !caller.scopes.contains(&gate.scope) {
        return Err(Problem::new(Kind::Forbidden, format!("this needs the scope `{}`", gate.scope.as_str())));
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
