//! Responses to bytes that are not a valid request: bad syntax, or a header that is too large or too slow.
//! Owns their encoding; their content comes from [`HttpLimits::refuse`](super::HttpLimits::refuse).

use axum::http::{Response, StatusCode};
use std::fmt::Write as _;
use std::time::SystemTime;

/// The response of a listener that sets no format: a sentence as plain text.
pub(super) fn plain(status: StatusCode) -> Response<String> {
    let mut response = Response::new(format!("{}\n", status.canonical_reason().unwrap_or("refused")));
    *response.status_mut() = status;
    response
}

#[expect(
    clippy::disallowed_methods,
    reason = "the header `date` has this machine's time, and nothing depends on it"
)]
/// The bytes of the whole response; the connection closes after it.
pub(super) fn encode(response: &Response<String>) -> Vec<u8> {
    let (status, body) = (response.status(), response.body());
    let mut head =
        format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        // our header values are ASCII; any other value is left out
        if let Ok(value) = value.to_str() {
            let _infallible = write!(head, "{name}: {value}\r\n");
        }
    }
    let (length, date) = (body.len(), httpdate::fmt_http_date(SystemTime::now()));
    let _infallible =
        write!(head, "content-length: {length}\r\nconnection: close\r\ndate: {date}\r\n\r\n{body}");
    head.into_bytes()
}

/// The status, if these bytes are hyper's own response to an invalid request: a head with nothing but a
/// status, a length and a date. Every response of a route has another header or a body.
pub(super) fn status_of_hyper(bytes: &[u8]) -> Option<StatusCode> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let bare =
        |line: &str| line == "content-length: 0" || line == "connection: close" || line.starts_with("date: ");
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    let closes = text.contains("\r\nconnection: close\r\n");
    (status.is_client_error() && closes && lines.all(bare)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_is_recognised_and_routes_are_not() {
        let hyper = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(status_of_hyper(hyper), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "",
        ] {
            assert_eq!(status_of_hyper(other.as_bytes()), None, "{other}");
        }
    }
}
