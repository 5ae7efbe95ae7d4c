//! Routes of dead letters: search, show, groups, retry, purge, redrive.

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{FieldError, KindName, QueueName};
use jobqueue_store::{DeadLetterFilter, GroupFilter, GroupOrder, Store};
use uuid::Uuid;

use crate::acting::Acting;
use crate::cursor::Cursors;
use crate::extract::path::uuid_of;
use crate::extract::{GroupPath, JobPath, JsonBody, Query};
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::routes::jobs::record::read;
use crate::store_access::StoreAccess;
use crate::wire::dead_letter::{
    DeadLetterDetailView, DeadLetterPurgeBody, DeadLetterView, DeadLettersView, GroupDetailView, GroupView,
    GroupsView, LetterPurgeView, SEARCHABLE, is_searchable,
};
use crate::wire::name::{KindText, QueueText, TagFilterText};

pub(crate) mod redrives;
pub(crate) mod retry;

/// The query parameters of a page of dead letters.
pub(crate) const PARAMETERS: &[&str] = &[
    "group",
    "queue",
    "kind",
    "tag",
    "error_type",
    "text",
    "failed_after",
    "failed_before",
    "limit",
    "cursor",
];
/// The query parameters of a page of groups.
pub(crate) const GROUPS: &[&str] = &["queue", "kind", "error_type", "text", "sort", "limit", "cursor"];
const DEFAULT_PAGE: u32 = 50;

/// Search dead letters, newest failure first.
///
/// A repeated parameter matches any of its values, except `tag`: a job must have all tags. A search that has to read many dead letters to find
/// few is refused after 5 s; add a group, a queue or a time.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "dead letters",
    params(
        ("group" = Option<Uuid>, Query, description = "Only dead letters of this group"),
        ("queue" = Option<Vec<QueueText>>, Query, description = "Only jobs of one of these queues"),
        ("kind" = Option<Vec<KindText>>, Query, description = "Only jobs of one of these kinds"),
        ("tag" = Option<Vec<TagFilterText>>, Query, description = "Only jobs with all of these tags"),
        ("error_type" = Option<Vec<TagFilterText>>, Query, description = "Only errors of one of these types"),
        ("text" = Option<String>, Query, min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", description = "Only errors with this in their message, in upper or lower case"),
        ("failed_after" = Option<String>, Query, format = DateTime, description = "Failed at or after (RFC 3339)"),
        ("failed_before" = Option<String>, Query, format = DateTime, description = "Failed before (RFC 3339)"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of dead letters in the page, 1 to 1000; default 50"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{54}$", description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = DeadLettersView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<DeadLettersView>, Problem> {
    let filter = DeadLetterFilter {
        group: group(&mut query)?,
        queues: query.all("queue")?,
        kinds: query.all("kind")?,
        tags: texts(&mut query, "tag")?,
        error_types: texts(&mut query, "error_type")?,
        text: text(&mut query)?,
        failed_after: query.timestamp("failed_after")?,
        failed_before: query.timestamp("failed_before")?,
    };
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<String>("cursor")?.map(|text| cursors.open_letter(&text)).transpose()?;
    let Some(filter) = limits::dead_letters(&store, caller.grant(), filter).await? else {
        return Ok(Json(DeadLettersView { dead_letters: vec![], next_cursor: None }));
    };
    let page = move |store: Store| async move { store.dead_letters().list(&filter, after, limit).await };
    let (letters, more) = store.call(page).await?;
    let last = letters.last().filter(|_| more);
    let next_cursor = last.map(|last| cursors.seal_letter((last.failed_at, last.id)));
    Ok(Json(DeadLettersView {
        dead_letters: letters.into_iter().map(DeadLetterView::from).collect(),
        next_cursor,
    }))
}

/// One dead letter, with its job.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", operation_id = "get_dead_letter", tag = "dead letters",
    params(("id" = Uuid, Path, description = "The job")),
    responses((status = 200, description = "The dead letter", body = DeadLetterDetailView), (status = 404, description = "The job is no dead letter")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    JobPath(id): JobPath,
) -> Result<Json<DeadLetterDetailView>, Problem> {
    let letter = store.call(move |store| async move { store.dead_letters().get(id).await }).await?;
    let Some(letter) = letter else {
        let by = store.call(move |store| async move { store.dead_letters().replaced_by(id).await }).await?;
        return Err(match by {
            Some(by) => Problem::new(
                ProblemKind::NotFound,
                "it was retried with another payload, as the job `job_id`",
            )
            .with("job_id", by.to_string()),
            None => Problem::new(ProblemKind::NotFound, "no dead letter has this id"),
        });
    };
    let job = read(&store, id).await?;
    Ok(Json(DeadLetterDetailView { group: letter.fingerprint, failed_at: letter.failed_at, job: job.into() }))
}

/// List groups of dead letters.
///
/// A group is the failed jobs of one kind with the same error. The reaper counts them about every second, so the answer takes the same time for
/// ten dead letters and for millions. Counts change, so a group can be on two pages or on none.
#[utoipa::path(get, path = "/v1/dead-letters/groups", operation_id = "list_dead_letter_groups", tag = "dead letters",
    params(
        ("queue" = Option<QueueText>, Query, description = "Only groups with dead letters in this queue. The counts are those of the queue"),
        ("kind" = Option<KindText>, Query, description = "Only groups of this kind"),
        ("error_type" = Option<TagFilterText>, Query, description = "Only groups with this error type"),
        ("text" = Option<String>, Query, min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", description = "Only groups with this in their message, in upper or lower case"),
        ("sort" = Option<String>, Query, pattern = "^(count|last_failed_at)$", description = "`count` (default): the largest first; `last_failed_at`: the newest failure first"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of groups in the page, 1 to 1000; default 50"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{54}$", description = "`next_cursor` of the previous page, with the same `sort`"),
    ),
    responses((status = 200, description = "A page", body = GroupsView)))]
pub(crate) async fn groups(
    State(store): State<StoreAccess>,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<GroupsView>, Problem> {
    let filter = GroupFilter {
        queue: query.one::<QueueName>("queue")?,
        kind: query.one::<KindName>("kind")?,
        error_type: texts(&mut query, "error_type").and_then(|mut types| match types.len() {
            0 | 1 => Ok(types.pop()),
            _ => Err(Problem::parameter("error_type", "must be given at most once")),
        })?,
        text: text(&mut query)?,
    };
    limits::one_queue_and_kind(caller.grant(), filter.queue.as_ref(), filter.kind.as_ref())?;
    limits::messages(caller.grant(), filter.text.as_deref())?;
    let order = match query.one::<String>("sort")?.as_deref() {
        None | Some("count") => GroupOrder::Count,
        Some("last_failed_at") => GroupOrder::LastFailedAt,
        Some(_) => return Err(Problem::parameter("sort", "must be count or last_failed_at")),
    };
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<String>("cursor")?.map(|text| cursors.open_group(order, &text)).transpose()?;
    let page =
        move |store: Store| async move { store.dead_letters().groups(&filter, order, after, limit).await };
    let (groups, more) = store.call(page).await?;
    let next_cursor =
        groups.last().filter(|_| more).map(|last| cursors.seal_group(order, last.position(order)));
    Ok(Json(GroupsView { groups: groups.into_iter().map(GroupView::from).collect(), next_cursor }))
}

/// One group, with its queues and its newest dead letters.
#[utoipa::path(get, path = "/v1/dead-letters/groups/{group}", operation_id = "get_dead_letter_group", tag = "dead letters",
    params(("group" = Uuid, Path, description = "The group")),
    responses((status = 200, description = "The group", body = GroupDetailView), (status = 404, description = "The group has no dead letters")))]
pub(crate) async fn group_detail(
    State(store): State<StoreAccess>,
    GroupPath(group): GroupPath,
) -> Result<Json<GroupDetailView>, Problem> {
    let found = store.call(move |store| async move { store.dead_letters().group(group).await }).await?;
    let missing = || {
        Problem::new(ProblemKind::NotFound, "no dead letters are in this group, or they are not counted yet")
    };
    Ok(Json(found.ok_or_else(missing)?.into()))
}

/// Delete dead letters with their jobs.
///
/// One request deletes up to 1000; repeat it while `more` is `true`.
#[utoipa::path(post, path = "/v1/dead-letters/purge", operation_id = "purge_dead_letters", tag = "dead letters", request_body = DeadLetterPurgeBody,
    responses((status = 200, description = "The result", body = LetterPurgeView)))]
pub(crate) async fn purge(
    store: Acting,
    Extension(caller): Extension<Caller>,
    body: JsonBody<DeadLetterPurgeBody>,
) -> Result<Json<LetterPurgeView>, Problem> {
    let (limit, dry_run) = (body.value.limit(), body.value.dry_run);
    let (filter, limit) =
        both(body.value.filter.check(), limit).map_err(|errors| Problem::fields(&errors))?;
    let Some(filter) = limits::dead_letters(&store, caller.grant(), filter).await? else {
        return Ok(Json(LetterPurgeView {
            dry_run,
            matched: 0,
            deleted: 0,
            ids: vec![],
            as_of: None,
            more: false,
        }));
    };
    let as_of = if dry_run { store.call(|store| async move { store.time().await }).await? } else { None };
    let store = store.by_filter(&filter);
    let one_more = u32::try_from(limit + 1).map_err(|_| Problem::internal())?;
    let find = move |store: Store| async move { store.dead_letters().find(&filter, one_more).await };
    let mut ids = store.call(find).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let matched = ids.len();
    let shown = if dry_run { ids.iter().map(|id| id.as_uuid()).collect() } else { vec![] };
    let deleted = if dry_run || ids.is_empty() {
        0
    } else {
        store.call(move |store| async move { store.dead_letters().purge(&ids).await }).await?
    };
    Ok(Json(LetterPurgeView { dry_run, matched, deleted, ids: shown, as_of, more }))
}

/// Both values, or the errors of both.
fn both<A, B>(a: Result<A, Vec<FieldError>>, b: Result<B, FieldError>) -> Result<(A, B), Vec<FieldError>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().flatten().chain(b.err()).collect()),
    }
}

fn group(query: &mut Query) -> Result<Option<Uuid>, Problem> {
    let Some(text) = query.one::<String>("group")? else { return Ok(None) };
    let refuse = || Problem::parameter("group", "must be a hyphenated UUID in lower case");
    uuid_of(&text).map(Some).ok_or_else(refuse)
}

fn text(query: &mut Query) -> Result<Option<String>, Problem> {
    let text = query.one::<String>("text")?;
    if text.as_deref().is_some_and(|text| !is_searchable(text)) {
        return Err(Problem::parameter("text", SEARCHABLE));
    }
    Ok(text)
}

fn texts(query: &mut Query, name: &'static str) -> Result<Vec<String>, Problem> {
    let texts: Vec<String> = query.all(name)?;
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(Problem::parameter(name, "must not contain U+0000"));
    }
    Ok(texts)
}
