//! The accept loop of every HTTP port: limits, backpressure, graceful end. Owns sockets and their deadlines; never a
//! route, never a request's meaning.
//!
//! It stands in for `axum::serve`, which has no header deadline, no idle limit and no connection cap. Malformed HTTP is
//! answered here, before any route, in the words of [`HttpLimits::refuse`]: 400, 431 for a header over
//! [`HttpLimits::max_header_bytes`], 408 for one that came too slowly.
//!
//! **A handler is dropped when its client disconnects**, at whichever `.await` it stands. A store call must not be cut
//! there: run it with [`Shutdown::spawn_contained`] and await the handle.

mod connection;
mod deadline;
mod refusal;

use crate::shutdown::Shutdown;
use axum::Router;
use axum::http::{Response, StatusCode};
use connection::{Connection, Ending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after the system refuses a connection for want of something (file descriptors, memory): an accept loop that
/// spins then takes the CPU that would free it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What one listener grants its clients.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// From the first byte of a request (or the connect) to the end of its header; then the connection is closed, after a
    /// 408 if the header had begun.
    pub header_read: Duration,
    /// How long a keep-alive connection may stay silent. Keep it above the idle limit of the load balancer in front, or
    /// that one sends requests into closing connections.
    pub idle: Duration,
    /// How long a client may refuse to take the bytes of an answer.
    pub write_stall: Duration,
    /// Request line and headers together; more is answered with 431. Bytes.
    pub max_header_bytes: usize,
    /// Open connections. When they are used up, further ones wait in the backlog of the system: nobody is refused.
    pub max_connections: usize,
    /// How long to go on accepting after the soft shutdown began, so that a load balancer learns about it first.
    /// Answers carry `Connection: close` meanwhile.
    pub pre_stop_delay: Duration,
    /// What to answer with this status to bytes that never became a request. Length, date and `Connection: close` are
    /// added.
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

/// Serves `router` until the soft shutdown, then drains, and returns when the last connection has ended.
///
/// Each request carries its peer as an `axum::extract::ConnectInfo<SocketAddr>`. On the soft shutdown (after
/// [`HttpLimits::pre_stop_delay`]) the listener is closed, idle connections are closed, and requests in flight are
/// finished; the hard shutdown cuts them.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: Shutdown) {
    let lifetime = Lifetime { closing: shutdown.soft().clone(), cut: shutdown.hard().clone() };
    serve_for(listener, router, limits, lifetime).await;
}

/// When a listener goes: `closing` begins its graceful end, `cut` ends it at once.
pub(crate) struct Lifetime {
    pub(crate) closing: CancellationToken,
    pub(crate) cut: CancellationToken,
}

pub(crate) async fn serve_for(listener: TcpListener, router: Router, limits: HttpLimits, lifetime: Lifetime) {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let stop = CancellationToken::new();
    let mut stopping = pin!(stopping(&lifetime, limits.pre_stop_delay));
    loop {
        // The slot comes first: without one the connection stays in the backlog and costs us nothing.
        let slot = tokio::select! {
            biased;
            () = &mut stopping => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut stopping => break,
            accepted = accept(&listener) => accepted,
        };
        let ending =
            Ending { closing: lifetime.closing.clone(), stop: stop.clone(), cut: lifetime.cut.clone() };
        let connection = Connection { stream, peer, router: router.clone(), limits, ending };
        connections.spawn(async move {
            let _slot = slot;
            connection.run().await;
        });
    }
    drop(listener);
    stop.cancel();
    connections.close();
    connections.wait().await;
}

async fn stopping(lifetime: &Lifetime, pre_stop_delay: Duration) {
    lifetime.closing.cancelled().await;
    tokio::select! {
        () = lifetime.cut.cancelled() => {}
        () = tokio::time::sleep(pre_stop_delay) => {}
    }
}

/// The next connection, whatever it takes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut refused = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client gave up while it waited in the backlog: its own affair.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                if !refused {
                    tracing::error!(%error, "connections cannot be accepted, trying again until it works");
                }
                refused = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
