//! The accept loop of every HTTP port: limits, backpressure, graceful shutdown. Owns sockets and their
//! deadlines; knows no routes and does not interpret requests.
//!
//! It replaces `axum::serve`, which has no header deadline, no idle limit and no connection limit. Malformed
//! HTTP is answered here, before any route, with the response of [`HttpLimits::refuse`]: 400, 431 for a
//! header over [`HttpLimits::max_header_bytes`], 408 for a header that arrived too slowly.
//!
//! **A handler is dropped when its client disconnects**, at any `.await`. A store call must not be dropped:
//! run it with [`Shutdown::spawn_contained`] and await the handle.

mod connection;
mod deadline;
mod descriptors;
mod limits;
mod open_connections;
mod refusal;
mod remainder;

use crate::shutdown::Shutdown;
use axum::Router;
use connection::{Connection, EndSignals};
use deadline::Activity;
pub use descriptors::affordable_connections;
pub use limits::HttpLimits;
use open_connections::OpenConnections;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after the system cannot accept a connection for lack of a resource (file descriptors, memory): a
/// loop without a pause would use the CPU that is needed to free it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `router` until the soft shutdown, then drains, and returns when the last connection has ended.
///
/// Each request carries its peer as an `axum::extract::ConnectInfo<SocketAddr>`. On the soft shutdown (after
/// [`HttpLimits::pre_stop_delay`]) the listener is closed, idle connections are closed, and requests in
/// flight are finished; the hard shutdown aborts them.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: Shutdown) {
    let lifetime = Lifetime { closing: shutdown.soft().clone(), abort: shutdown.hard().clone() };
    serve_for(listener, router, limits, lifetime).await;
}

/// The signals that stop a listener: `closing` begins its graceful shutdown, `abort` stops it at once.
pub(crate) struct Lifetime {
    pub(crate) closing: CancellationToken,
    pub(crate) abort: CancellationToken,
}

pub(crate) async fn serve_for(listener: TcpListener, router: Router, limits: HttpLimits, lifetime: Lifetime) {
    let connections = TaskTracker::new();
    let open_connections = OpenConnections::new(limits.max_connections);
    let stop = CancellationToken::new();
    let mut stopping = pin!(stopping(&lifetime, limits.pre_stop_delay));
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut stopping => break,
            accepted = accept(&listener, &open_connections) => accepted,
        };
        let activity = Activity::new();
        let slot = tokio::select! {
            biased;
            () = &mut stopping => break,
            slot = open_connections.acquire_slot(activity.clone()) => slot,
        };
        let signals = EndSignals {
            closing: lifetime.closing.clone(),
            stop: stop.clone(),
            abort: lifetime.abort.clone(),
            close_if_idle: slot.close_if_idle.clone(),
        };
        let tasks = connections.clone();
        let connection =
            Connection { stream, peer, router: router.clone(), limits, signals, tasks, activity };
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
        () = lifetime.abort.cancelled() => {}
        () = tokio::time::sleep(pre_stop_delay) => {}
    }
}

/// Accepts the next connection. If the process has no file descriptor left, idle connections are closed.
async fn accept(listener: &TcpListener, open_connections: &OpenConnections) -> (TcpStream, SocketAddr) {
    let mut failed_before = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // the client closed the connection while it was in the backlog
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                if !failed_before {
                    tracing::error!(%error, "connections cannot be accepted; retrying");
                }
                failed_before = true;
                open_connections.close_idle();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
