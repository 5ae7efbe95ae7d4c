//! The JSON body of a request: bounded in size, time and memory, then parsed strictly.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Room;
use super::strict::parse;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// Time for a whole body.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// What an oversized body may have beyond its limit and still be read to its end, so that its sender hears the answer
/// instead of a broken connection.
const DRAIN_BYTES: usize = 8 * 1024 * 1024;
/// A payload of 1 MiB and all other fields of its job.
const SINGLE_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Bodies that hold many of something.
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A type that comes as a request body.
pub(crate) trait Wire: DeserializeOwned {
    /// Largest body.
    const MAX_BYTES: usize = SINGLE_BYTES;

    /// What an absent body stands for; `None` if there must be one.
    fn absent() -> Option<Self> {
        None
    }
}

/// A parsed body, its text, and the memory that it takes.
#[derive(Debug)]
pub(crate) struct JsonBody<T> {
    /// The parsed form.
    pub(crate) value: T,
    /// As it was sent; the fingerprint of an idempotent request.
    pub(crate) text: String,
    /// Keep it as long as the value.
    pub(crate) room: Room,
}

impl<T: Wire> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let (text, room) = read(&parts.headers, body, T::MAX_BYTES, state).await?;
        let absent = text.is_empty() && !parts.headers.contains_key(CONTENT_TYPE);
        if let Some(value) = T::absent().filter(|_| absent) {
            return Ok(Self { value, text, room });
        }
        if !is_json(&parts.headers) {
            let detail = "send the body with the header `Content-Type: application/json`";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        if text.starts_with('\u{feff}') {
            return Err(Problem::new(
                Kind::InvalidJson,
                "the body begins with a byte order mark; send it without",
            ));
        }
        Ok(Self { value: parse(&text)?, text, room })
    }
}

/// A body of at most `max` bytes as text, and the memory that it takes.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    state: &ApiState,
) -> Result<(String, Room), Problem> {
    if declares(headers).is_some_and(|length| length > max) {
        drain(body).await;
        return Err(too_large(max));
    }
    let slow = |_| Problem::new(Kind::RequestTimeout, "the body must arrive within 30 s");
    let (bytes, room) = timeout(READ_WITHIN, collect(body, max, state)).await.map_err(slow)??;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(Kind::InvalidJson, "the body is not valid UTF-8, which JSON must be"))?;
    Ok((text, room))
}

/// Takes memory from the common budget as bytes come, so that slow senders hold no more than they have sent.
async fn collect(mut body: Body, max: usize, state: &ApiState) -> Result<(Vec<u8>, Room), Problem> {
    let (mut bytes, mut room) = (Vec::new(), Room::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Kind::BadRequest, "the body broke off"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if bytes.len() + chunk.len() > max {
            drain(body).await;
            return Err(too_large(max));
        }
        let wanted = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        room.grow(state.bodies.clone().try_acquire_many_owned(wanted).map_err(|_| {
            state.metrics.rejected("body_memory");
            Problem::new(Kind::TooBusy, "too many large requests at once; send it again")
        })?);
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, room))
}

/// Reads what is still to come, within reason, and forgets it.
async fn drain(mut body: Body) {
    let all = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DRAIN_BYTES {
                break;
            }
        }
    };
    // A slow sender of too much has had its chance.
    let _late = timeout(Duration::from_secs(5), all).await;
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

fn too_large(max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("the body must have at most {max} bytes")).with("max_bytes", max)
}
