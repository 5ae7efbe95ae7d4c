//! What a response means for the job. Owns the mapping of status codes and the bound on bodies; responses are
//! untrusted input.

use std::time::Duration;

use chrono::DateTime;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use hyper::{Response, StatusCode};
use jobqueue_core::Json;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::handler::{HandlerError, HandlerResult, JobContext};

/// How many bytes of an error response the failure's message contains.
const EXCERPT_BYTES: usize = 1024;
/// The shortest and the longest delay that a response may request. A snooze costs no attempt, so it must take
/// time.
const SNOOZE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24));
/// Reading a body ends this long before the deadline of the attempt. With less than ten seconds left, it ends
/// one tenth of the remaining time before.
const BEFORE_DEADLINE: Duration = Duration::from_secs(1);

/// What a 3xx or 4xx means, except 408, 425 and 429.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum ClientErrors {
    #[default]
    Fail,
    Retry,
    /// Retry all but 410, which says that the endpoint wants nothing more. For webhooks; no configuration names it.
    #[serde(skip)]
    RetryUnlessGone,
}

/// A response body, as far as it was read.
struct Body {
    bytes: Vec<u8>,
    /// Why the rest was not read; `None` if the body is complete.
    cut: Option<String>,
}

/// 2xx completes the job. 429 and 503 with `Retry-After` snooze it, at no cost. Other 5xx and temporary
/// errors mean a retry. `client_errors` decides about the rest. Only the status counts: a body that is too
/// large or incomplete is dropped, and the job's log says so. Also returns whether the body was read to its
/// end.
pub(super) async fn outcome(
    response: &mut Response<Incoming>,
    context: &JobContext,
    most: usize,
    client_errors: ClientErrors,
) -> (HandlerResult, bool) {
    let status = response.status();
    let most = if status.is_success() { most } else { EXCERPT_BYTES };
    let body = body(response.body_mut(), most, context).await;
    let complete = body.cut.is_none();
    let outcome = if status.is_success() {
        Ok(delivered(body, context))
    } else {
        Err(refusal(status, response.headers(), &body, client_errors))
    };
    (outcome, complete)
}

/// The result of a delivery that the endpoint accepted.
fn delivered(body: Body, context: &JobContext) -> Option<Json> {
    let Some(reason) = body.cut else { return json(body.bytes) };
    tracing::warn!(reason, "the endpoint accepted the job; its response body is dropped");
    context.log(format!("(the endpoint accepted the job; its response body is dropped: {reason})"));
    None
}

fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &Body,
    client_errors: ClientErrors,
) -> HandlerError {
    let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if later && let Some(delay) = retry_after(headers) {
        return HandlerError::Snooze(delay);
    }
    let kind = format!("http_{}", status.as_u16());
    let message = message(status, &body.bytes);
    let temporary = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let is_retried = match client_errors {
        ClientErrors::Fail => false,
        ClientErrors::Retry => true,
        ClientErrors::RetryUnlessGone => status != StatusCode::GONE,
    };
    if temporary || is_retried {
        HandlerError::retry(kind, message)
    } else {
        HandlerError::discard(kind, message)
    }
}

/// Reads at most `most` bytes, and only while the attempt has time left and is not asked to stop.
async fn body(from: &mut Incoming, most: usize, context: &JobContext) -> Body {
    let mut bytes = Vec::new();
    let reading = async {
        if from.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Some(format!("it has more than {most} bytes"));
        }
        while let Some(frame) = from.frame().await {
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => return Some(format!("it is incomplete: {error}")),
            };
            let left_bytes = most - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(left_bytes)]);
            if data.len() > left_bytes {
                return Some(format!("it has more than {most} bytes"));
            }
        }
        None
    };
    let left = context.remaining();
    let until = Instant::now() + left - BEFORE_DEADLINE.min(left / 10);
    let cut = tokio::select! {
        read = timeout_at(until, reading) => read.unwrap_or_else(|_| Some("it did not end in time".to_owned())),
        reason = context.must_stop() => Some(format!("it did not end before the job was asked to stop: {reason:?}")),
    };
    Body { bytes, cut }
}

fn message(status: StatusCode, excerpt: &[u8]) -> String {
    let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    let excerpt = String::from_utf8_lossy(excerpt);
    format!("the endpoint answered {status}{hint}: {}", excerpt.trim())
}

/// The response body as JSON, if it is valid JSON.
fn json(body: Vec<u8>) -> Option<Json> {
    Json::parse(String::from_utf8(body).ok()?.trim().to_owned()).ok()
}

/// The delay in `Retry-After`: seconds, or a date, which is compared with the response's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let (shortest, longest) = SNOOZE;
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).clamp(shortest, longest));
    }
    let then = DateTime::parse_from_rfc2822(text).ok()?;
    let now = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some((then - now).to_std().unwrap_or_default().clamp(shortest, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let delay = |after: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
            retry_after(&headers).map(|delay| delay.as_secs())
        };
        assert_eq!(delay("120"), Some(120));
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(delay("0"), Some(1), "a second at least");
        assert_eq!(delay("Wed, 21 Oct 2015 07:00:00 GMT"), Some(1));
        assert_eq!(delay("99999999"), Some(86_400), "a day at most");
        for wrong in ["-1", "soon", "1.5"] {
            assert_eq!(delay(wrong), None, "{wrong}");
        }
    }
}
