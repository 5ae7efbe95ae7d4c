//! The JSON body of a request: read within limits of size, time and memory, then parsed strictly.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::strict::parse;
use crate::body_memory::{BodyBudget, BodyMemory};
use crate::problem::{Problem, ProblemKind};

/// Time limit for reading a body.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// The largest body with one job: a payload of 1 MiB and all other fields.
const SINGLE_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// The largest body with many items.
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The type of a request body.
pub(crate) trait Wire: DeserializeOwned {
    /// The largest body in bytes.
    const MAX_BYTES: usize = SINGLE_BYTES;

    /// The value of an absent or empty body; `None` if the route requires a body.
    fn absent() -> Option<Self> {
        None
    }
}

/// A parsed body, its text, and the memory that it takes.
#[derive(Debug)]
pub(crate) struct JsonBody<T> {
    /// The parsed form.
    pub(crate) value: T,
    /// The body as it was sent. Its hash identifies an idempotent request.
    pub(crate) text: String,
    /// Keep it as long as the value: it counts against the memory for bodies.
    pub(crate) memory: BodyMemory,
}

impl<T: Wire, S: Sync> FromRequest<S> for JsonBody<T>
where
    BodyBudget: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let budget = BodyBudget::from_ref(state);
        let (text, memory) = read(&parts.headers, body, T::MAX_BYTES, &budget).await?;
        if let Some(value) = T::absent().filter(|_| text.is_empty()) {
            return Ok(Self { value, text, memory });
        }
        if !is_json(&parts.headers) {
            return Err(not_json());
        }
        if text.starts_with('\u{feff}') {
            return Err(Problem::new(
                ProblemKind::InvalidJson,
                "the body starts with a byte order mark; remove it",
            ));
        }
        Ok(Self { value: parse(&text)?, text, memory })
    }
}

/// Refuses a body by its headers, before it is sent or read.
pub(crate) fn refuse_by_headers(headers: &HeaderMap, max: usize, optional: bool) -> Result<(), Problem> {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    if !codings.map(HeaderValue::as_bytes).all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    {
        let detail = "send the body without a Content-Encoding; compressed bodies are not supported";
        let identity = HeaderValue::from_static("identity");
        return Err(
            Problem::new(ProblemKind::UnsupportedMediaType, detail).with_header(ACCEPT_ENCODING, identity)
        );
    }
    if !is_json(headers) && (headers.contains_key(CONTENT_TYPE) || !optional) {
        return Err(not_json());
    }
    if declares(headers).is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    Ok(())
}

/// Reads a body of at most `max` bytes as text. Also returns the memory that it takes.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    budget: &BodyBudget,
) -> Result<(String, BodyMemory), Problem> {
    if declares(headers).is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let slow = |_| Problem::new(ProblemKind::RequestTimeout, "the body must arrive within 30 s");
    let (bytes, memory) = timeout(READ_WITHIN, collect(body, max, budget)).await.map_err(slow)??;
    let text = String::from_utf8(bytes).map_err(|_| {
        Problem::new(ProblemKind::InvalidJson, "the body is not valid UTF-8, which JSON must be")
    })?;
    Ok((text, memory))
}

/// Takes memory of the budget as bytes arrive, so that a slow sender takes no more than it has sent.
async fn collect(mut body: Body, max: usize, budget: &BodyBudget) -> Result<(Vec<u8>, BodyMemory), Problem> {
    let (mut bytes, mut memory) = (Vec::new(), BodyMemory::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(ProblemKind::BadRequest, "the body ended early"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if bytes.len() + chunk.len() > max {
            return Err(too_large(max));
        }
        budget.take(chunk.len(), &mut memory)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, memory))
}

fn declares(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().is_some_and(|essence| essence == "application/json");
    let utf8 = |part: String| {
        part.strip_prefix("charset=").is_none_or(|charset| charset.trim_matches('"') == "utf-8")
    };
    essence && parts.all(utf8)
}

fn not_json() -> Problem {
    let detail = "send the body with the header `Content-Type: application/json`";
    Problem::new(ProblemKind::UnsupportedMediaType, detail)
}

fn too_large(max: usize) -> Problem {
    Problem::new(ProblemKind::BodyTooLarge, format!("the body must have at most {max} bytes"))
        .with("max_bytes", max)
}
