//! The table of all routes, each with who may call it and what its requests may carry. A path that is not in it does
//! not exist.

use axum::routing::{MethodRouter, delete, get, patch, post, put};

use crate::extract::Wire;
use crate::middleware::accepts::Accepts;
use crate::routes::{
    api_keys, audit, dead_letters, health, job_routes, jobs, kinds, leases, metrics, openapi, queues,
    schedules, session, stats, stream, workers,
};
use crate::scope::{Access, Scope};
use crate::state::ApiState;
use crate::wire::api_key::{ApiKeyBody, ApiKeyPatch, RotateBody};
use crate::wire::batch::BatchBody;
use crate::wire::bulk::BulkBody;
use crate::wire::dead_letter::{DeadLetterPurgeBody, DeadLetterRetryBody};
use crate::wire::edit::EditBody;
use crate::wire::job::EnqueueBody;
use crate::wire::kind::KindBody;
use crate::wire::lease::{AcquireBody, HeartbeatBody};
use crate::wire::queue::{CreateBody, PurgeBody, QueueBody};
use crate::wire::redrive::RedriveBody;
use crate::wire::route::{RouteBody, RoutePatch};
use crate::wire::schedule::{ScheduleBody, SchedulePatch};
use crate::wire::session::SessionBody;
use crate::wire::settle::SettleBody;
use crate::wire::worker_command::{BulkCommandBody, CommandBody};

/// One route.
#[derive(Debug)]
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// The query parameters and the body that it accepts.
    pub accepts: Accepts,
    pub(crate) handler: MethodRouter<ApiState>,
}

fn route(method: &'static str, path: &'static str, access: Access, handler: MethodRouter<ApiState>) -> Route {
    Route { method, path, access, accepts: Accepts::default(), handler }
}

impl Route {
    /// The route takes these query parameters.
    fn query(mut self, names: &'static [&'static str]) -> Self {
        self.accepts.query = names;
        self
    }

    /// The route takes a JSON body of this type.
    fn body<T: Wire>(mut self) -> Self {
        self.accepts.body_bytes = Some(T::MAX_BYTES);
        self.accepts.body_optional = T::absent().is_some();
        self
    }
}

/// All routes except the pages `/docs` and `/ui`.
pub fn table() -> Vec<Route> {
    let (read, write, admin, worker) = (
        Access::Needs(Scope::Read),
        Access::Needs(Scope::Write),
        Access::Needs(Scope::Admin),
        Access::Needs(Scope::Worker),
    );
    let mut table = vec![
        route("POST", "/v1/jobs", write, post(jobs::enqueue::enqueue)).body::<EnqueueBody>(),
        route("GET", "/v1/jobs", read, get(jobs::list::list)).query(jobs::list::PARAMETERS),
        route("POST", "/v1/jobs/batch", write, post(jobs::batch::batch)).body::<BatchBody>(),
        route("POST", "/v1/jobs/cancel", admin, post(jobs::bulk::cancel)).body::<BulkBody>(),
        route("POST", "/v1/jobs/retry", admin, post(jobs::bulk::retry)).body::<BulkBody>(),
        route("POST", "/v1/jobs/promote", admin, post(jobs::bulk::promote)).body::<BulkBody>(),
        route("POST", "/v1/jobs/delete", admin, post(jobs::bulk::delete)).body::<BulkBody>(),
        route("GET", "/v1/jobs/count", read, get(jobs::count::count)).query(jobs::count::PARAMETERS),
        route("GET", "/v1/jobs/{id}", read, get(jobs::show::show)).query(&["wait"]),
        route("PATCH", "/v1/jobs/{id}", write, patch(jobs::edit::edit)).body::<EditBody>(),
        route("DELETE", "/v1/jobs/{id}", admin, delete(jobs::delete::delete)),
        route("POST", "/v1/jobs/{id}/cancel", write, post(jobs::cancel::cancel)),
        route("POST", "/v1/jobs/{id}/retry", write, post(jobs::retry::retry)),
        route("POST", "/v1/jobs/{id}/promote", write, post(jobs::promote::promote)),
        route("GET", "/v1/jobs/{id}/attempts", read, get(jobs::history::attempts)),
        route("GET", "/v1/jobs/{id}/events", read, get(jobs::history::events)),
        route("GET", "/v1/jobs/{id}/explain", read, get(jobs::explain::explain)),
        route("GET", "/v1/jobs/{id}/stream", read, get(jobs::stream::stream)),
        route("GET", "/v1/stream", read, get(stream::stream)),
        route("POST", "/v1/leases", worker, post(leases::acquire::acquire)).body::<AcquireBody>(),
        route("POST", "/v1/leases/heartbeat", worker, post(leases::heartbeat::heartbeat))
            .body::<HeartbeatBody>(),
        route("POST", "/v1/leases/settle", worker, post(leases::settle::settle)).body::<SettleBody>(),
        route("GET", "/v1/workers", read, get(workers::list)).query(queues::PAGE),
        route("GET", "/v1/workers/{worker_id}", read, get(workers::show)),
        route("POST", "/v1/workers/commands", admin, post(workers::commands::send_all))
            .body::<BulkCommandBody>(),
        route("POST", "/v1/workers/{worker_id}/commands", admin, post(workers::commands::send))
            .body::<CommandBody>(),
        route("GET", "/v1/workers/{worker_id}/commands", read, get(workers::commands::list)),
        route("GET", "/v1/audit", admin, get(audit::list)).query(audit::PARAMETERS),
        route("GET", "/v1/stats", read, get(stats::stats)).query(stats::PARAMETERS),
    ];
    table.extend(of_queues_and_kinds());
    table.extend(of_schedules());
    table.extend(of_routes());
    table.extend(of_dead_letters());
    table.extend(of_api_keys());
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
        route("GET", OPENAPI_PATH, Access::Public, get(openapi::document)),
    ]);
    table
}

/// The routes of queues and of kinds.
fn of_queues_and_kinds() -> [Route; 12] {
    let (read, admin) = (Access::Needs(Scope::Read), Access::Needs(Scope::Admin));
    [
        route("GET", "/v1/queues", read, get(queues::list)).query(queues::PAGE),
        route("GET", "/v1/queues/{name}", read, get(queues::show)),
        route("PATCH", "/v1/queues/{name}", admin, patch(queues::configure)).body::<QueueBody>(),
        route("DELETE", "/v1/queues/{name}", admin, delete(queues::delete::delete)).query(&["force"]),
        route("POST", "/v1/queues/{name}/pause", admin, post(queues::pause)).body::<CreateBody>(),
        route("POST", "/v1/queues/{name}/resume", admin, post(queues::resume)).body::<CreateBody>(),
        route("POST", "/v1/queues/{name}/purge", admin, post(queues::purge)).body::<PurgeBody>(),
        route("GET", "/v1/kinds", read, get(kinds::list)).query(queues::PAGE),
        route("GET", "/v1/kinds/{name}", read, get(kinds::show)),
        route("PATCH", "/v1/kinds/{name}", admin, patch(kinds::configure)).body::<KindBody>(),
        route("POST", "/v1/kinds/{name}/pause", admin, post(kinds::pause)).body::<CreateBody>(),
        route("POST", "/v1/kinds/{name}/resume", admin, post(kinds::resume)).body::<CreateBody>(),
    ]
}

/// The routes of schedules.
fn of_schedules() -> [Route; 12] {
    let (read, write, admin) =
        (Access::Needs(Scope::Read), Access::Needs(Scope::Write), Access::Needs(Scope::Admin));
    [
        route("GET", "/v1/schedules", read, get(schedules::list)).query(schedules::PAGE),
        route("POST", "/v1/schedules/preview", read, post(schedules::preview::unsaved))
            .query(schedules::preview::UNSAVED)
            .body::<ScheduleBody>(),
        route("GET", "/v1/schedules/{name}", read, get(schedules::show)),
        route("PUT", "/v1/schedules/{name}", admin, put(schedules::set::put)).body::<ScheduleBody>(),
        route("PATCH", "/v1/schedules/{name}", admin, patch(schedules::set::patch)).body::<SchedulePatch>(),
        route("DELETE", "/v1/schedules/{name}", admin, delete(schedules::set::delete)),
        route("POST", "/v1/schedules/{name}/pause", admin, post(schedules::act::pause)),
        route("POST", "/v1/schedules/{name}/resume", admin, post(schedules::act::resume)),
        route("POST", "/v1/schedules/{name}/run", write, post(schedules::act::run)),
        route("GET", "/v1/schedules/{name}/preview", read, get(schedules::preview::stored))
            .query(schedules::preview::PARAMETERS),
        route("GET", "/v1/schedules/{name}/explain", read, get(schedules::explain::explain)),
        route("GET", "/v1/schedules/{name}/ticks", read, get(schedules::ticks::ticks))
            .query(schedules::ticks::PARAMETERS),
    ]
}

/// The routes of routes.
fn of_routes() -> [Route; 6] {
    let (read, admin) = (Access::Needs(Scope::Read), Access::Needs(Scope::Admin));
    [
        route("GET", "/v1/routes", read, get(job_routes::list)).query(job_routes::PAGE),
        route("POST", "/v1/routes/test", read, post(job_routes::test)).body::<EnqueueBody>(),
        route("GET", "/v1/routes/{name}", read, get(job_routes::show)),
        route("PUT", "/v1/routes/{name}", admin, put(job_routes::put)).body::<RouteBody>(),
        route("PATCH", "/v1/routes/{name}", admin, patch(job_routes::patch::patch)).body::<RoutePatch>(),
        route("DELETE", "/v1/routes/{name}", admin, delete(job_routes::delete)),
    ]
}

/// The routes of dead letters.
fn of_dead_letters() -> [Route; 10] {
    let (read, write, admin) =
        (Access::Needs(Scope::Read), Access::Needs(Scope::Write), Access::Needs(Scope::Admin));
    [
        route("GET", "/v1/dead-letters", read, get(dead_letters::list)).query(dead_letters::PARAMETERS),
        route("GET", "/v1/dead-letters/groups", read, get(dead_letters::groups)).query(dead_letters::GROUPS),
        route("GET", "/v1/dead-letters/groups/{group}", read, get(dead_letters::group_detail)),
        route("POST", "/v1/dead-letters/purge", admin, post(dead_letters::purge))
            .body::<DeadLetterPurgeBody>(),
        route("GET", "/v1/dead-letters/redrives", read, get(dead_letters::redrives::list))
            .query(dead_letters::redrives::PAGE),
        route("POST", "/v1/dead-letters/redrives", admin, post(dead_letters::redrives::start))
            .body::<RedriveBody>(),
        route("GET", "/v1/dead-letters/redrives/{redrive_id}", read, get(dead_letters::redrives::show)),
        route(
            "POST",
            "/v1/dead-letters/redrives/{redrive_id}/stop",
            admin,
            post(dead_letters::redrives::stop),
        ),
        route("GET", "/v1/dead-letters/{id}", read, get(dead_letters::show)),
        route("POST", "/v1/dead-letters/{id}/retry", write, post(dead_letters::retry::retry))
            .body::<DeadLetterRetryBody>(),
    ]
}

/// The routes with which the dashboard signs in. They are part of the page, not of the API, so the API document does not have them.
pub(crate) fn of_the_dashboard() -> [Route; 3] {
    [
        route("GET", "/ui/session", Access::Public, get(session::show)),
        route("POST", "/ui/session", Access::Public, post(session::begin)).body::<SessionBody>(),
        route("DELETE", "/ui/session", Access::Public, delete(session::end)),
    ]
}

/// The routes of API keys.
fn of_api_keys() -> [Route; 6] {
    let admin = Access::Needs(Scope::Admin);
    [
        route("POST", "/v1/api-keys", admin, post(api_keys::create)).body::<ApiKeyBody>(),
        route("GET", "/v1/api-keys", admin, get(api_keys::list)).query(api_keys::PAGE),
        route("GET", "/v1/api-keys/{key_id}", admin, get(api_keys::show)),
        route("PATCH", "/v1/api-keys/{key_id}", admin, patch(api_keys::patch)).body::<ApiKeyPatch>(),
        route("DELETE", "/v1/api-keys/{key_id}", admin, delete(api_keys::revoke)),
        route("POST", "/v1/api-keys/{key_id}/rotate", admin, post(api_keys::rotate)).body::<RotateBody>(),
    ]
}

/// The path of the API document.
pub(crate) const OPENAPI_PATH: &str = "/openapi.json";

/// The routes that store the idempotency key in their own transaction. For every other POST the middleware `replay` stores
/// it.
pub(crate) const ENQUEUES: [&str; 2] = ["/v1/jobs", "/v1/jobs/batch"];
