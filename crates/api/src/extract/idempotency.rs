//! The `Idempotency-Key` header.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobqueue_store::Idempotency;

use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The client's key for this request, if it gave one. Every POST takes it: those that enqueue store it in the transaction
/// of the effect, for the others [`replay`](crate::middleware::replay) claims it before and keeps the answer after it.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

impl FromRequestParts<ApiState> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let (first, more) = (values.next(), values.next());
        let Some(value) = first else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|text| (1..=MAX_CHARS).contains(&text.len()));
        match (text, more) {
            (Some(text), None) => Ok(Self(Some(text.to_owned()))),
            _ => Err(Problem::new(
                Kind::InvalidIdempotencyKey,
                "give one Idempotency-Key of 1 to 255 visible ASCII characters",
            )),
        }
    }
}

impl IdempotencyKey {
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// The key with what it is for. Keys of different callers and routes never meet.
    pub(crate) fn of(self, route: &str, caller: &str, body: &str) -> Option<Idempotency> {
        self.0.map(|key| Idempotency::new(&format!("{caller} {route}"), &key, body))
    }
}
