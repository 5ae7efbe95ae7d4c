//! Routes of kinds: list, show, configure, pause, resume.

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::KindName;
use jobqueue_core::kind_settings::MAX_KINDS;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::{KindChanged, KindRecord};

use crate::acting::Acting;
use crate::extract::{JsonBody, KindPath, Query};
use crate::keys::{GrantedPage, first, limits};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::kind::{KindBody, KindView, KindsView};
use crate::wire::name::KindText;
use crate::wire::queue::CreateBody;

/// Kinds by name, with their settings.
#[utoipa::path(get, path = "/v1/kinds", operation_id = "list_kinds", tag = "kinds",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of kinds in the page, 1 to 1000; default 1000"),
        ("cursor" = Option<KindText>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = KindsView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<KindsView>, Problem> {
    limits::all_queues(caller.grant(), "kinds in all queues")?;
    let after = query.one::<KindName>("cursor").map_err(|_| {
        let detail = "use the `next_cursor` of an earlier page, or omit the cursor for the first page";
        Problem::new(ProblemKind::InvalidCursor, detail)
    })?;
    let limit = query.number("limit", MAX_PAGE, (1, MAX_PAGE))?;
    let read = |after: Option<KindName>, limit| {
        store.call(move |store| async move {
            Ok(first(store.kinds().list(after.as_ref(), limit + 1).await?, limit))
        })
    };
    let page = GrantedPage { after, limit, is_all: caller.grant().has_all_kinds() };
    let is_granted = |record: &KindRecord| caller.grant().has_kind(&record.name);
    let (kinds, next) = page.of_granted(read, is_granted, |record| record.name.clone()).await?;
    let next_cursor = next.map(|name| name.to_string());
    Ok(Json(KindsView { kinds: kinds.into_iter().map(KindView::from).collect(), next_cursor }))
}

/// One kind.
#[utoipa::path(get, path = "/v1/kinds/{name}", operation_id = "get_kind", tag = "kinds", params(("name" = KindText, Path, description = "The kind")),
    responses((status = 200, description = "The kind", body = KindView), (status = 404, description = "No such kind")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    KindPath(name): KindPath,
) -> Result<Json<KindView>, Problem> {
    read(&store, name).await
}

/// Change the settings of a kind.
///
/// They hold for jobs that do not say otherwise, also for those that wait already, from their next lease on. An absent field stays as it is; `null` restores
/// the default. `"create": true` creates the kind if it does not exist.
#[utoipa::path(patch, path = "/v1/kinds/{name}", operation_id = "configure_kind", tag = "kinds", params(("name" = KindText, Path, description = "The kind")),
    request_body = KindBody, responses((status = 200, description = "The kind", body = KindView), (status = 404, description = "No such kind"),
    (status = 409, description = "1000 kinds have settings")))]
pub(crate) async fn configure(
    store: Acting,
    KindPath(name): KindPath,
    body: JsonBody<KindBody>,
) -> Result<Json<KindView>, Problem> {
    let change = body.value.change().map_err(|errors| Problem::fields(&errors))?;
    create(&store, &name, body.value.create).await?;
    let kind = name.clone();
    let changed =
        store.call(move |store| async move { store.kinds().configure(&kind, change).await }).await?;
    bounded(changed, "have settings; set another one back to its defaults first")?;
    read(&store, name).await
}

/// Pause a kind: none of its jobs is started, in any queue.
///
/// Running jobs continue, and jobs can still be submitted. `"create": true` creates the kind if it does not exist.
#[utoipa::path(post, path = "/v1/kinds/{name}/pause", operation_id = "pause_kind", tag = "kinds", params(("name" = KindText, Path, description = "The kind")),
    request_body = CreateBody, responses((status = 200, description = "The kind", body = KindView), (status = 404, description = "No such kind"),
    (status = 409, description = "1000 kinds are paused")))]
pub(crate) async fn pause(
    store: Acting,
    KindPath(name): KindPath,
    body: JsonBody<CreateBody>,
) -> Result<Json<KindView>, Problem> {
    create(&store, &name, body.value.create).await?;
    let kind = name.clone();
    let changed = store.call(move |store| async move { store.kinds().pause(&kind).await }).await?;
    bounded(changed, "are paused; pause a queue, or resume another kind first")?;
    read(&store, name).await
}

/// Resume a paused kind.
///
/// `"create": true` creates the kind if it does not exist.
#[utoipa::path(post, path = "/v1/kinds/{name}/resume", operation_id = "resume_kind", tag = "kinds", params(("name" = KindText, Path, description = "The kind")),
    request_body = CreateBody, responses((status = 200, description = "The kind", body = KindView), (status = 404, description = "No such kind")))]
pub(crate) async fn resume(
    store: Acting,
    KindPath(name): KindPath,
    body: JsonBody<CreateBody>,
) -> Result<Json<KindView>, Problem> {
    create(&store, &name, body.value.create).await?;
    let kind = name.clone();
    store.call(move |store| async move { store.kinds().resume(&kind).await }).await?;
    read(&store, name).await
}

/// Creates the kind if the request says so.
async fn create(store: &Acting, name: &KindName, wanted: bool) -> Result<(), Problem> {
    if !wanted {
        return Ok(());
    }
    let name = name.clone();
    store.call(move |store| async move { store.kinds().create(&name).await }).await
}

fn bounded(changed: KindChanged, what: &str) -> Result<(), Problem> {
    match changed {
        // an unknown kind is not found by the read that follows
        KindChanged::Done | KindChanged::Unknown => Ok(()),
        KindChanged::TooMany => {
            Err(Problem::new(ProblemKind::LimitReached, format!("{MAX_KINDS} kinds {what}")))
        }
    }
}

async fn read(store: &StoreAccess, name: KindName) -> Result<Json<KindView>, Problem> {
    let found = store.call(move |store| async move { store.kinds().get(&name).await }).await?;
    let missing = || {
        Problem::new(
            ProblemKind::NotFound,
            "no kind has this name; a kind is created by its first job, or by a setting with `\"create\": true`",
        )
    };
    found.map(|record| Json(record.into())).ok_or_else(missing)
}
