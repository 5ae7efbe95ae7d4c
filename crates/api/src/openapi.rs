//! The description of the API, made from the routes themselves. Owns what holds for all of them: keys and problems.

use std::io::Write as _;

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::router::{Access, ENQUEUES, table};
use crate::routes::{health, jobs, leases, metrics, openapi, queues, stats};
use crate::wire::problem::ProblemView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "jobqueue",
        description = "Submit jobs, read how they stand, and run them from any language.\n\nEvery refusal is an RFC 9457 \
                       problem with a stable `type`. Unknown fields and parameters are refused. Moments are RFC 3339 by \
                       the database's clock; spans are seconds.",
    ),
    paths(
        jobs::enqueue::enqueue, jobs::batch::batch, jobs::list::list, jobs::show::show, jobs::cancel::cancel,
        jobs::retry::retry, jobs::promote::promote, jobs::history::attempts, jobs::history::events, jobs::bulk::cancel,
        jobs::bulk::retry, jobs::bulk::promote, queues::list, queues::show, queues::configure, queues::pause,
        queues::resume, queues::purge, leases::acquire::acquire, leases::heartbeat::heartbeat, leases::settle::settle,
        stats::stats, health::live, health::ready, health::detailed, metrics::metrics, openapi::document,
    ),
    components(schemas(ProblemView)),
    modifiers(&KeysAndProblems),
    tags(
        (name = "jobs", description = "Submit, read, act"),
        (name = "queues", description = "See and set"),
        (name = "workers", description = "Run jobs from any language: lease, heartbeat, settle"),
        (name = "operations", description = "Probes and numbers"),
    ),
)]
struct Document;

/// Writes the document to stdout; a reader that goes away early is no error.
pub fn print() {
    let _gone = std::io::stdout().write_all(text().as_bytes());
}

/// The document as it is served and committed.
pub fn text() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Says of every route which key it needs and that it can be refused.
struct KeysAndProblems;

impl Modify for KeysAndProblems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The root key. A route's scope is in the description of its requirement."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        for route in table() {
            let Some(operation) =
                document.paths.paths.get_mut(route.path).and_then(|item| of(item, route.method))
            else {
                continue;
            };
            if let Access::Needs(scope) = route.access {
                operation.security = Some(vec![SecurityRequirement::new("key", [scope.as_str()])]);
            }
            refusals(operation);
            if route.method == "POST" {
                idempotency_key(operation, ENQUEUES.contains(&route.path));
            }
        }
    }
}

/// Every POST takes the header.
fn idempotency_key(operation: &mut Operation, with_effect: bool) {
    let mut description = "1 to 255 visible ASCII characters. The same key with the same body is answered as the first time, \
                           with the header `Idempotent-Replayed: true`; with another body it is refused (422). Kept for a \
                           day at least; a refused request leaves its key free."
        .to_owned();
    if !with_effect {
        description.push_str(
            " While the first request is being carried out, the key is in use (409). If nobody can say what became of it (5xx, \
             or the server died), it stays in use for two minutes (not for settle and heartbeat, which are fenced); then the request is carried out again.",
        );
    }
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build()))
        .build();
    operation.parameters.get_or_insert_default().push(parameter.into());
}

/// The operation of a method.
fn of<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PATCH" => item.patch.as_mut(),
        _ => None,
    }
}

/// Every refusal has the same shape, whether it is described or not.
fn refusals(operation: &mut Operation) {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let any =
        ResponseBuilder::new().description("Any refusal").content("application/problem+json", content());
    operation.responses.responses.insert("default".to_owned(), RefOr::T(any.build()));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with('4')
            && response.content.is_empty()
        {
            response.content.insert("application/problem+json".to_owned(), RefOr::T(content()));
        }
    }
}
