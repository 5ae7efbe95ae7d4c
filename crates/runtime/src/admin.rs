//! The admin port of a process: `/metrics`, `/health`, `/ready`. Owns its routes and the process metrics; never a
//! metric of the domain (the registry is passed in) and never the reason why a process is ready (a closure is).
//!
//! It outlives the soft shutdown: probes and scrapes are answered until the last task has ended, so that a long drain
//! is neither invisible nor taken for a hang.

mod readiness;

use crate::build_info;
use crate::http::{HttpLimits, Lifetime, serve_for};
use crate::shutdown::Shutdown;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get};
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::{Check, Readiness, Report, Status};

/// Probes and scrapers are few; a flood of anything else must not take the descriptors of the service.
const MAX_CONNECTIONS: usize = 64;

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Everything in it is exported at `/metrics`.
    pub registry: Registry,
    /// Decides `/ready`.
    pub readiness: Readiness,
}

/// Opens the admin port and serves it in the background until the process has drained. Returns the bound address, which
/// it also logs (port 0 picks a free one).
///
/// # Errors
/// The address cannot be bound: it is taken, or not one of this machine.
pub async fn serve(addr: SocketAddr, admin: Admin, shutdown: &Shutdown) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    tracing::info!(admin.addr = %bound, "admin port listening: /metrics, /health, /ready");
    let limits = HttpLimits { max_connections: MAX_CONNECTIONS, ..HttpLimits::default() };
    let lifetime = Lifetime { closing: shutdown.drained().clone(), cut: CancellationToken::new() };
    let router = router(admin, shutdown);
    shutdown.spawn_background(serve_for(listener, router, limits, lifetime));
    Ok(bound)
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

/// Alive as long as the event loop answers: a database that is away is no reason to restart this process.
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
