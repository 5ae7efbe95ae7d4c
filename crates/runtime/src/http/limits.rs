//! The limits of a listener and their defaults. Owns the values; enforces none of them.

use super::refusal;
use axum::http::{Response, StatusCode};
use std::time::Duration;

/// The limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Time from the first byte of a request (or from the connect) to the end of its header. After that the
    /// connection is closed, with a 408 response if the header had begun.
    pub header_read: Duration,
    /// How long a keep-alive connection may be idle. Set it above the idle timeout of a load balancer in
    /// front of the service; otherwise the load balancer sends requests on connections that are being closed.
    pub idle: Duration,
    /// How long a client may take to accept the next bytes of a response.
    pub write_stall: Duration,
    /// Maximum size of the request line and the headers together, in bytes. A larger header is answered with
    /// 431.
    pub max_header_bytes: usize,
    /// Maximum number of open connections. When it is reached and another client connects, the connections
    /// that have been idle longest (at least a second) are closed. While all of them are serving requests,
    /// further clients wait in the backlog of the operating system.
    pub max_connections: usize,
    /// How long to accept connections after the soft shutdown began, so that a load balancer can notice it
    /// first. During this time responses have `Connection: close`.
    pub pre_stop_delay: Duration,
    /// Builds the response with this status to bytes that are not a valid request. Length, date and
    /// `Connection: close` are added.
    pub refuse: fn(StatusCode) -> Response<String>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            write_stall: Duration::from_secs(30),
            max_header_bytes: 32 * 1024,
            max_connections: 4_096,
            pre_stop_delay: Duration::ZERO,
            refuse: refusal::plain,
        }
    }
}
