//! The table of all routes, each with who may call it. Owns that table and what lies around it; a path that is not in it
//! does not exist.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, patch, post};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::middleware::auth::{self, Gate};
use crate::middleware::observe::observe;
use crate::middleware::replay::replay;
use crate::problem::{Kind, Problem};
use crate::routes::{health, jobs, leases, metrics, openapi, queues, stats};
use crate::state::ApiState;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See jobs, queues and numbers.
    Read,
    /// Submit jobs, and act on single ones.
    Write,
    /// Act on queues and on many jobs at once.
    Admin,
    /// Lease jobs and settle them.
    Worker,
}

impl Scope {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Read, Self::Write, Self::Admin, Self::Worker];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Worker => "worker",
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody: probes, metrics, documentation.
    Public,
    /// Keys with this scope.
    Needs(Scope),
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// `GET`, `POST` or `PATCH`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    handler: MethodRouter<ApiState>,
}

fn route(method: &'static str, path: &'static str, access: Access, handler: MethodRouter<ApiState>) -> Route {
    Route { method, path, access, handler }
}

/// All routes but the page `/docs`.
pub fn table() -> Vec<Route> {
    let (read, write, admin, worker) = (
        Access::Needs(Scope::Read),
        Access::Needs(Scope::Write),
        Access::Needs(Scope::Admin),
        Access::Needs(Scope::Worker),
    );
    let mut table = vec![
        route("POST", "/v1/jobs", write, post(jobs::enqueue::enqueue)),
        route("GET", "/v1/jobs", read, get(jobs::list::list)),
        route("POST", "/v1/jobs/batch", write, post(jobs::batch::batch)),
        route("POST", "/v1/jobs/cancel", admin, post(jobs::bulk::cancel)),
        route("POST", "/v1/jobs/retry", admin, post(jobs::bulk::retry)),
        route("POST", "/v1/jobs/promote", admin, post(jobs::bulk::promote)),
        route("GET", "/v1/jobs/{id}", read, get(jobs::show::show)),
        route("POST", "/v1/jobs/{id}/cancel", write, post(jobs::cancel::cancel)),
        route("POST", "/v1/jobs/{id}/retry", write, post(jobs::retry::retry)),
        route("POST", "/v1/jobs/{id}/promote", write, post(jobs::promote::promote)),
        route("GET", "/v1/jobs/{id}/attempts", read, get(jobs::history::attempts)),
        route("GET", "/v1/jobs/{id}/events", read, get(jobs::history::events)),
        route("GET", "/v1/queues", read, get(queues::list)),
        route("GET", "/v1/queues/{name}", read, get(queues::show)),
        route("PATCH", "/v1/queues/{name}", admin, patch(queues::configure)),
        route("POST", "/v1/queues/{name}/pause", admin, post(queues::pause)),
        route("POST", "/v1/queues/{name}/resume", admin, post(queues::resume)),
        route("POST", "/v1/queues/{name}/purge", admin, post(queues::purge)),
        route("POST", "/v1/leases", worker, post(leases::acquire::acquire)),
        route("POST", "/v1/leases/heartbeat", worker, post(leases::heartbeat::heartbeat)),
        route("POST", "/v1/leases/settle", worker, post(leases::settle::settle)),
        route("GET", "/v1/stats", read, get(stats::stats)),
    ];
    table.extend([
        route("GET", "/health", Access::Public, get(health::live)),
        route("GET", "/health/", Access::Public, get(health::live)),
        route("GET", "/health/live", Access::Public, get(health::live)),
        route("GET", "/health/live/", Access::Public, get(health::live)),
        route("GET", "/health/startup", Access::Public, get(health::live)),
        route("GET", "/health/startup/", Access::Public, get(health::live)),
        route("GET", "/ready", Access::Public, get(health::ready)),
        route("GET", "/ready/", Access::Public, get(health::ready)),
        route("GET", "/health/ready", Access::Public, get(health::ready)),
        route("GET", "/health/ready/", Access::Public, get(health::ready)),
        route("GET", "/health/detailed", Access::Public, get(health::detailed)),
        route("GET", "/health/detailed/", Access::Public, get(health::detailed)),
        route("GET", "/metrics", Access::Public, get(metrics::metrics)),
        route("GET", "/metrics/", Access::Public, get(metrics::metrics)),
        route("GET", "/openapi.json", Access::Public, get(openapi::document)),
    ]);
    table
}

/// The routes that store their idempotency key in the transaction of their effect. For every other POST the middleware
/// remembers it.
pub(crate) const ENQUEUES: [&str; 2] = ["/v1/jobs", "/v1/jobs/batch"];

/// The whole API, for the accept loop, a test or a program that embeds it.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for Route { method, path, access, handler } in table() {
        let handler = if method == "POST" && !ENQUEUES.contains(&path) {
            handler.route_layer(from_fn_with_state(state.clone(), replay))
        } else {
            handler
        };
        let handler = match access {
            Access::Public => handler,
            Access::Needs(scope) => {
                let gate = Gate { state: state.clone(), scope };
                handler.route_layer(from_fn_with_state(gate, auth::require))
            }
        };
        router = router.route(path, handler);
    }
    router
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
        .fallback(async || Problem::new(Kind::NotFound, "there is no such path; `/docs` shows all"))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}
