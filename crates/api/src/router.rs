//! The router: the routes of the table with their middleware, and the pages `/docs` and `/ui`. Owns the order of the middleware.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRef as _, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tower_http::csrf::CsrfLayer;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::census::CensusReader;
use crate::keys::{Keyring, Reach, RouteGuard};
use crate::middleware::accepts;
use crate::middleware::auth::{self, Gate};
use crate::middleware::observe::{Observer, observe};
use crate::middleware::replay::{KeyedRequests, replay};
use crate::middleware::request_id;
use crate::openapi;
use crate::problem::{self, Problem, ProblemKind};
use crate::routes::metrics;
use crate::routes::openapi::DocumentText;
use crate::scope::Access;
use crate::state::ApiState;
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::table::{ENQUEUES, OPENAPI_PATH, Route, of_the_dashboard, table};

/// The additional routes of the admin port: the metrics of all queues, which stay available when the public port has no free
/// connections. The admin port runs until the end of the drain, which waits for the last `ApiState`, so it keeps none.
pub(crate) fn admin_routes(state: &ApiState) -> Router {
    let state = state.downgrade();
    let cluster = async move || {
        let response = match state() {
            Some(state) => metrics::metrics(State(CensusReader::from_ref(&state))).await.into_response(),
            None => Problem::new(ProblemKind::Unavailable, "this process is shutting down").into_response(),
        };
        problem::finish(response, request_id::fresh().to_str().unwrap_or("unknown"))
    };
    Router::new().route("/metrics/cluster", get(cluster))
}

/// The content security policy of the page `/docs`: only its own files are loaded.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Sets the title and the content security policy of the page `/docs`.
async fn page(response: Response) -> Response {
    let (mut parts, mut body) = response.into_parts();
    parts.headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    let is_html = |value: &HeaderValue| value.as_bytes().starts_with(b"text/html");
    if parts.headers.get(CONTENT_TYPE).is_some_and(is_html) {
        parts.headers.remove(CONTENT_LENGTH);
        // the page is in memory, so its size is limited
        let html = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let html = String::from_utf8_lossy(&html);
        body = Body::from(html.replace("<title>Swagger UI</title>", "<title>jobqueue API</title>"));
    }
    Response::from_parts(parts, body)
}

/// The API, for the accept loop, a test or a program that embeds it.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    let keyed = KeyedRequests::from_ref(&state);
    for Route { method, path, access, accepts, handler } in table().into_iter().chain(of_the_dashboard()) {
        let handler = if method == "POST" && access != Access::Public && !ENQUEUES.contains(&path) {
            handler.route_layer(from_fn_with_state(keyed.clone(), replay))
        } else {
            handler
        };
        let handler = if path == OPENAPI_PATH {
            handler.layer(Extension(DocumentText(openapi::text)))
        } else {
            handler
        };
        let handler = handler.route_layer(from_fn_with_state(accepts, accepts::check));
        let handler = match access {
            Access::Public => handler,
            Access::Needs(scope) => {
                let guard = RouteGuard {
                    reach: Reach::of(path),
                    store: StoreAccess::from_ref(&state),
                    submissions: Submissions::from_ref(&state),
                };
                let gate = Gate { keys: Keyring::from_ref(&state), scope, guard };
                handler.route_layer(from_fn_with_state(gate, auth::require))
            }
        };
        router = router.route(path, handler);
    }
    router
        .merge(
            Router::from(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
                .layer(map_response(page)),
        )
        .merge(jobqueue_dashboard::router())
        .fallback(async || {
            Problem::new(ProblemKind::NotFound, "no route has this path; `/docs` lists all routes")
        })
        .layer(CsrfLayer::new().with_rejection_response(|_| {
            let detail = "a browser sent this request for a page of another site; call the API from a server, or from the dashboard";
            Problem::new(ProblemKind::Forbidden, detail).into_response()
        }))
        .layer(from_fn_with_state(Observer::from_ref(&state), observe))
        .with_state(state)
}
