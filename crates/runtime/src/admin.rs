//! The admin port of a process: `/metrics`, `/health`, `/ready`. Owns its routes and the process metrics. The
//! domain's metrics are passed in as a registry, and readiness as a closure.
//!
//! It outlives the soft shutdown: probes and scrapes are answered until the last task has ended, so a long
//! drain stays visible and is not mistaken for a hang.

mod readiness;

use crate::build_info;
use crate::http::{HttpLimits, Lifetime, serve_for};
use crate::listen;
use crate::shutdown::Shutdown;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get};
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::{Check, Readiness, ReadinessReport, ReadinessStatus};

/// Probes and scrapers are few. The bound keeps other clients from using up the descriptors of the service.
pub const MAX_CONNECTIONS: usize = 64;

/// What the admin port serves.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The metrics that `/metrics` exports.
    pub registry: Registry,
    /// Decides `/ready`.
    pub readiness: Readiness,
}

/// Without an address, the first free one of these ports is used. A container always gets the first one;
/// several processes on one host get different ones.
const DEFAULT_PORTS: RangeInclusive<u16> = 9090..=9109;

/// Opens the admin port and serves it in the background until the process has drained. Returns the bound address, which
/// it also logs (port 0 picks a free one). Without an address it picks one, see [`AdminArgs`](crate::AdminArgs).
///
/// # Errors
/// The address cannot be bound: it is in use, or not one of this host.
pub fn serve(
    addr: impl Into<Option<SocketAddr>>,
    admin: Admin,
    shutdown: &Shutdown,
) -> io::Result<SocketAddr> {
    serve_with(addr, admin, Router::new(), shutdown)
}

/// The same with more routes than the three of every process.
///
/// # Errors
/// The address cannot be bound.
pub fn serve_with(
    addr: impl Into<Option<SocketAddr>>,
    admin: Admin,
    more: Router,
    shutdown: &Shutdown,
) -> io::Result<SocketAddr> {
    let listener = match addr.into() {
        Some(addr) => listen(addr, "ADMIN_ADDR")?,
        None => listen_on_default()?,
    };
    let bound = listener.local_addr()?;
    tracing::info!(admin.addr = %bound, "admin port listening: /metrics, /health, /ready");
    let limits = HttpLimits { max_connections: MAX_CONNECTIONS, ..HttpLimits::default() };
    let lifetime = Lifetime { closing: shutdown.drained().clone(), abort: CancellationToken::new() };
    let router = router(admin, shutdown).merge(more);
    shutdown.spawn_background(serve_for(listener, router, limits, lifetime));
    Ok(bound)
}

fn listen_on_default() -> io::Result<TcpListener> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for port in DEFAULT_PORTS {
        match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), "ADMIN_ADDR") {
            Ok(listener) if port == *DEFAULT_PORTS.start() => return Ok(listener),
            Ok(listener) => {
                tracing::warn!(
                    admin.port = port,
                    "another process uses the default admin port 9090, so this one uses {port}; set ADMIN_ADDR to choose it"
                );
                return Ok(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The three routes, for a service that serves them on its main port as well.
pub fn router(admin: Admin, shutdown: &Shutdown) -> Router {
    let add = |router: Router<Shown>, (path, method)| router.route(path, method);
    table().into_iter().fold(Router::new(), add).with_state((admin, shutdown.clone()))
}

/// The paths of [`router`].
pub fn paths() -> [&'static str; 3] {
    table().map(|(path, _)| path)
}

fn table() -> [(&'static str, MethodRouter<Shown>); 3] {
    [("/metrics", get(metrics)), ("/health", get(health)), ("/ready", get(ready))]
}

type Shown = (Admin, Shutdown);
type AdminState = State<Shown>;

/// The registry in the text format of Prometheus, for a service that has its own `/metrics` route.
pub fn render_metrics(registry: &Registry) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn metrics(State((admin, _)): AdminState) -> Response {
    render_metrics(&admin.registry)
}

/// Responds as long as the event loop runs: an unreachable database is no reason to restart this process.
async fn health() -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(serde_json::json!({ "status": "alive" })))
        .into_response()
}

async fn ready(State((admin, shutdown)): AdminState) -> Response {
    admin.readiness.report(&shutdown).await.into_response()
}

/// Registers what every process exports about itself: `process_*` (CPU, memory, descriptors; on Linux) and
/// `jobqueue_build_info{version, revision}`, which is 1. Registering twice in one registry (three services in one
/// process) is no error.
///
/// # Errors
/// The registry holds another metric of one of these names.
pub fn register_process_metrics(registry: &Registry) -> prometheus::Result<()> {
    let options = Opts::new("jobqueue_build_info", "The build of this process; always 1")
        .const_label("version", build_info::VERSION)
        .const_label("revision", build_info::REVISION);
    let build = IntGauge::with_opts(options)?;
    build.set(1);
    once(registry.register(Box::new(build)))?;
    #[cfg(target_os = "linux")]
    once(registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())))?;
    Ok(())
}

fn once(registered: prometheus::Result<()>) -> prometheus::Result<()> {
    match registered {
        Err(prometheus::Error::AlreadyReg) => Ok(()),
        other => other,
    }
}
