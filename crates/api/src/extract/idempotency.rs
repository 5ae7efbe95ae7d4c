//! The `Idempotency-Key` header.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobqueue_store::Idempotency;

use crate::problem::{Problem, ProblemKind};

/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The client's key for this request, if it sent one. Every POST accepts a key. A submission stores the key in its own
/// transaction. For the other routes [`replay`](crate::middleware::replay) claims the key before the request and stores the
/// response after it.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let (first, more) = (values.next(), values.next());
        let Some(value) = first else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|text| (1..=MAX_CHARS).contains(&text.len()));
        match (text, more) {
            (Some(text), None) => Ok(Self(Some(text.to_owned()))),
            _ => Err(Problem::new(
                ProblemKind::InvalidIdempotencyKey,
                "send one Idempotency-Key of 1 to 255 visible ASCII characters",
            )),
        }
    }
}

impl IdempotencyKey {
    /// Whether the client sent a key.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// The key with its scope: the same key of another caller or for another route is a different one.
    pub(crate) fn of(self, route: &str, caller: &str, body: &str) -> Option<Idempotency> {
        self.0.map(|key| Idempotency::new(&format!("{caller} {route}"), &key, body))
    }
}
