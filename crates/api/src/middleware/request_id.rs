//! Request ids: the id that the client sent if it is valid, otherwise a random one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In the extensions of a request: its id.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// The longest id that is accepted from a client.
const MAX_CHARS: usize = 128;

/// The id of a request. An id from the client may contain only letters, digits, `-`, `_` and `.`, because it appears in
/// headers, bodies and logs.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let plain = |text: &&str| {
        (1..=MAX_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let own = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    own.and_then(|text| HeaderValue::from_str(text).ok()).unwrap_or_else(fresh)
}

/// A random id.
pub(crate) fn fresh() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
