//! The OpenAPI document, generated from the routes. Owns the parts that are the same for all routes: keys, problems and
//! idempotency keys.

mod conditions;
mod examples;

use std::io::Write as _;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::problem::ProblemKind;
use crate::routes::{
    api_keys, audit, dead_letters, health, job_routes, jobs, kinds, leases, metrics, openapi, queues,
    schedules, stats, stream, workers,
};
use crate::scope::Access;
use crate::table::{ENQUEUES, Route, table};
use crate::wire::name::{KeyIdText, RouteText, ScheduleText};
use crate::wire::problem::ProblemView;
use crate::wire::stream::{
    GroupEvent, JobDeletedEvent, JobStatusEvent, LogEvent, ProgressEvent, QueueEvent, UnavailableEvent,
    WorkerEvent,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "jobqueue",
        description = "Submit jobs, read their status and results, and run them in any language.\n\nEvery error response is an \
                       RFC 9457 problem with a stable `type`. Unknown fields and parameters are refused. Timestamps are \
                       RFC 3339 by the database's clock; durations are in seconds.",
    ),
    paths(
        jobs::enqueue::enqueue, jobs::batch::batch, jobs::list::list, jobs::show::show, jobs::cancel::cancel,
        jobs::retry::retry, jobs::promote::promote, jobs::history::attempts, jobs::history::events, jobs::explain::explain, jobs::stream::stream,
        jobs::count::count, jobs::edit::edit, jobs::delete::delete, jobs::bulk::cancel, jobs::bulk::delete,
        jobs::bulk::retry, jobs::bulk::promote, queues::list, queues::show, queues::configure, queues::delete::delete,
        queues::pause, queues::resume, queues::purge, kinds::list, kinds::show, kinds::configure, kinds::pause, kinds::resume, leases::acquire::acquire, leases::heartbeat::heartbeat,
        leases::settle::settle, schedules::list, schedules::show, schedules::set::put, schedules::set::patch,
        schedules::set::delete, schedules::act::pause, schedules::act::resume, schedules::act::run,
        schedules::preview::stored, schedules::preview::unsaved, schedules::ticks::ticks, schedules::explain::explain, job_routes::list, job_routes::show, job_routes::put, job_routes::patch::patch,
        job_routes::delete, job_routes::test, workers::list, workers::show,
        dead_letters::list, dead_letters::show, dead_letters::groups, dead_letters::group_detail, dead_letters::purge,
        dead_letters::retry::retry, dead_letters::redrives::start, dead_letters::redrives::list, dead_letters::redrives::show,
        dead_letters::redrives::stop,
        api_keys::create, api_keys::list, api_keys::show, api_keys::patch, api_keys::rotate, api_keys::revoke,
        workers::commands::send_all, workers::commands::send, workers::commands::list, audit::list, stats::stats, stream::stream, health::live, health::ready, health::detailed,
        metrics::metrics, openapi::document,
    ),
    components(schemas(
        ProblemView, ScheduleText, RouteText, KeyIdText, JobStatusEvent, JobDeletedEvent, ProgressEvent, LogEvent, UnavailableEvent, QueueEvent, WorkerEvent, GroupEvent
    )),
    modifiers(&KeysAndProblems),
    tags(
        (name = "jobs", description = "Submit jobs, read them and act on them"),
        (name = "queues", description = "Read queues and change their settings"),
        (name = "kinds", description = "Read kinds, pause them, and set defaults for their jobs"),
        (name = "schedules", description = "Enqueue jobs at given times"),
        (name = "routes", description = "Set defaults for jobs by their kind"),
        (name = "dead letters", description = "Jobs that are `failed`: search, group, retry, redrive, purge"),
        (name = "keys", description = "Create, limit, rotate and revoke API keys"),
        (name = "workers", description = "Run jobs in any language: lease, heartbeat, settle; and list all workers"),
        (name = "audit", description = "Who changed what"),
        (name = "operations", description = "Probes and metrics"),
    ),
)]
struct Document;

/// Writes the document to stdout. A closed pipe is not an error.
pub fn print() {
    let _gone = std::io::stdout().write_all(text().as_bytes());
}

/// The document as it is served and committed.
pub fn text() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds the key and the error responses of each route.
struct KeysAndProblems;

impl Modify for KeysAndProblems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The root key, or a key of `/v1/api-keys`. The scope that a route needs is part of its security requirement.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem")
            && let Some(RefOr::T(Schema::Object(kind))) = problem.properties.get_mut("type")
        {
            kind.enum_values = Some(ProblemKind::ALL.iter().map(|kind| kind.urn().into()).collect());
        }
        if let Some(RefOr::T(Schema::OneOf(policies))) = components.schemas.get_mut("RetryPolicy") {
            for policy in &mut policies.items {
                if let RefOr::T(Schema::Object(policy)) = policy
                    && let Some(RefOr::T(Schema::Object(strategy))) = policy.properties.get_mut("strategy")
                {
                    strategy.description = Some("Selects this strategy.".to_owned());
                }
            }
        }
        for route in table() {
            let Some(operation) =
                document.paths.paths.get_mut(route.path).and_then(|item| of(item, route.method))
            else {
                continue;
            };
            if let Access::Needs(scope) = route.access {
                operation.security = Some(vec![SecurityRequirement::new("key", [scope.as_str()])]);
            }
            named_refusals(operation, &route);
            refusals(operation);
            example(operation);
            if let (Some(RefOr::T(body)), true) = (&mut operation.request_body, route.accepts.body_optional) {
                body.required = Some(Required::False);
            }
            if conditions::TAKEN_BY.contains(&(route.method, route.path)) {
                conditions::add(operation, route.method == "PUT");
            }
            if route.method == "POST" {
                idempotency_key(operation, ENQUEUES.contains(&route.path));
            }
        }
    }
}

/// The header that every POST accepts. A submission stores it in its own transaction (`in_transaction`).
fn idempotency_key(operation: &mut Operation, in_transaction: bool) {
    let mut description = "1 to 255 visible ASCII characters. A repeated request with the same key and body gets the first response, \
                           with the header `Idempotent-Replayed: true`; with a different body it is refused (422). Keys are kept \
                           for at least a day; a refused request does not use up its key."
        .to_owned();
    if !in_transaction {
        description.push_str(
            " While the first request runs, the key is in use (409). If its result is unknown (5xx, or the server stopped), the \
             key stays in use for two minutes; a request that is repeated after that is executed again. Settle and heartbeat \
             free the key at once, because their leases prevent a second effect.",
        );
    }
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).build(),
        ))
        .build();
    operation.parameters.get_or_insert_default().push(parameter.into());
}

/// The example body, which can be sent as it is.
fn example(operation: &mut Operation) {
    let example = operation.operation_id.as_deref().and_then(examples::of);
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(RefOr::T(content)) = body.content.get_mut("application/json")
    {
        content.example = example;
    }
}

/// The error responses that similar routes share, each with the headers that tell a client what to do.
fn named_refusals(operation: &mut Operation, route: &Route) {
    let mut add = |status: &str, description: &str, header: Option<(&str, &str)>| {
        let mut response = ResponseBuilder::new().description(description);
        if let Some((name, meaning)) = header {
            let schema = ObjectBuilder::new().schema_type(Type::String).build();
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(meaning)).build();
            response = response.header(name, header);
        }
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
    };
    add(
        "400",
        "Bad request: an unknown or invalid query parameter, an invalid path or header, or invalid JSON",
        None,
    );
    add(
        "503",
        "The database is unavailable, or this process is shutting down",
        Some(("Retry-After", "Seconds to wait")),
    );
    if let Access::Needs(_) = route.access {
        add("401", "No valid key", Some(("WWW-Authenticate", "The scheme: Bearer")));
        add(
            "403",
            "The key does not have the scope of this route, or does not include the queue or kind",
            None,
        );
        add("429", "Too many requests", Some(("Retry-After", "Seconds to wait")));
    }
    add("422", "Invalid body: see the errors, or a body on a route without one", None);
    if route.accepts.body_bytes.is_some() {
        add("413", "The body is too large", None);
        let accepted = ("Accept-Encoding", "The accepted content coding, if another one was sent");
        add("415", "The body is not application/json, or has a content coding", Some(accepted));
    }
}

/// The operation of a method.
fn of<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// Every error response is a problem, whether it is listed or not.
fn refusals(operation: &mut Operation) {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let any =
        ResponseBuilder::new().description("Any other error").content("application/problem+json", content());
    operation.responses.responses.insert("default".to_owned(), RefOr::T(any.build()));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && (status.starts_with('4') || status == "429" || status == "503")
            && response.content.is_empty()
        {
            response.content.insert("application/problem+json".to_owned(), RefOr::T(content()));
        }
    }
}
