//! What an answer means for the job. Owns the mapping of status codes and the bound on bodies; an answer is as untrusted
//! as any input.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::{ClientErrors, failed, json};
use crate::handler::{HandlerError, HandlerResult};

/// Bytes of a refusing answer that the failure's message shows.
const EXCERPT_BYTES: usize = 1024;
/// The shortest and the longest that an answer may put its job off: it costs no attempt, so it must cost time.
const SNOOZE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24));

/// 2xx is done; 429 and 503 with `Retry-After` mean later, at no cost; 5xx and everything temporary means again; the rest
/// is the policy's.
pub(super) async fn outcome(
    mut response: Response,
    most: usize,
    client_errors: ClientErrors,
) -> HandlerResult {
    let status = response.status();
    if status.is_success() {
        return match body(&mut response, most).await? {
            Some(body) => Ok(json(body)),
            None => Err(HandlerError::discard(
                "response_too_large",
                format!("the answer has more than {most} bytes"),
            )),
        };
    }
    let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if later && let Some(delay) = retry_after(response.headers()) {
        return Err(HandlerError::Snooze(delay));
    }
    let kind = format!("http_{}", status.as_u16());
    let message = message(status, &mut response).await;
    let temporary = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    Err(if temporary || client_errors == ClientErrors::Retry {
        HandlerError::retry(kind, message)
    } else {
        HandlerError::discard(kind, message)
    })
}

/// The body, or `None` if it is larger than `most`; it is never held.
async fn body(response: &mut Response, most: usize) -> Result<Option<Vec<u8>>, HandlerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

async fn message(status: StatusCode, response: &mut Response) -> String {
    let mut excerpt = Vec::new();
    // best effort: the status alone says enough
    while excerpt.len() < EXCERPT_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        let room = EXCERPT_BYTES - excerpt.len();
        excerpt.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    let excerpt = String::from_utf8_lossy(&excerpt);
    format!("the endpoint answered {status}{hint}: {}", excerpt.trim())
}

/// `Retry-After` as seconds or as a date, which is compared with the answer's own `Date`.
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
