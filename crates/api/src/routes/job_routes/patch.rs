//! PATCH /v1/routes/{name}.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use jobqueue_core::RouteName;
use jobqueue_store::{Precondition, RouteChange};

use super::{changed, missing, refused};
use crate::acting::Acting;
use crate::extract::{Condition, JsonBody, RoutePath, parse};
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::routes::merge::until_applied;
use crate::submissions::Submissions;
use crate::wire::name::RouteText;
use crate::wire::route::{RouteBody, RoutePatch, RouteView};

/// Change some fields of a route.
///
/// The body is a JSON merge patch (RFC 7396): `null` removes a field, `retry` and `on_end` are merged, and any other value replaces the field. A
/// webhook keeps its secret unless the patch has another one. The result must be a valid route.
#[utoipa::path(patch, path = "/v1/routes/{name}", operation_id = "patch_route", tag = "routes", params(("name" = RouteText, Path, description = "The route")),
    request_body = RouteBody,
    responses(
        (status = 200, description = "The route", body = RouteView, headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "No such route"),
        (status = 412, description = "`If-Match` does not hold"),
    ))]
pub(crate) async fn patch(
    store: Acting,
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    (RoutePath(name), Condition(condition)): (RoutePath, Condition),
    body: JsonBody<RoutePatch>,
) -> Result<Response, Problem> {
    let merge = || merged(&store, (&submissions, &caller), &name, &condition, &body.value);
    changed(until_applied(&condition, RouteChange::Refused, merge).await?)
}

/// Merges the patch into the route as it is now, and replaces that version.
async fn merged(
    store: &Acting,
    (submissions, caller): (&Submissions, &Caller),
    name: &RouteName,
    condition: &Precondition,
    patch: &RoutePatch,
) -> Result<RouteChange, Problem> {
    let asked = name.clone();
    let current = store.call(move |store| async move { store.routes().get(&asked).await }).await?;
    let Some(current) = current else {
        let needs_one = matches!(condition, Precondition::Present | Precondition::Version(_));
        return Err(if needs_one { refused() } else { missing() });
    };
    let Some(only) = condition.of_version((current.id, current.version)) else {
        return Ok(RouteChange::Refused);
    };
    let spec = current.spec.merged(&patch.json).map_err(|_| Problem::internal())?;
    let draft = parse::<RouteBody>(spec.as_str())?.checked(name, &submissions.limits())?;
    limits::webhook(caller.grant(), draft.on_end.is_some())?;
    super::store(store, name.clone(), draft, only).await
}
