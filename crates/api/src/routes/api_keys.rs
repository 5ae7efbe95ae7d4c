//! API keys: create, list, show, change, rotate, revoke. A key never grants more than the caller who sets it has, and a caller sees only the
//! keys that it could have created.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use jobqueue_core::api_key::MAX_KEYS;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{ApiKeyDraft, FieldError, Grant, KeyId, KeyName, KeyText};
use jobqueue_store::{ApiKeyChange, ApiKeyRecord, NewApiKey, Store};

use crate::acting::Acting;
use crate::extract::{JsonBody, KeyPath, Query};
use crate::keys::{GrantedPage, Keyring};
use crate::middleware::auth::Caller;
use crate::middleware::replay::Keep;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::wire::api_key::{ApiKeyBody, ApiKeyPatch, ApiKeyView, ApiKeyWithText, ApiKeysView, RotateBody};

/// The query parameters of a page of keys.
pub(crate) const PAGE: &[&str] = &["revoked", "limit", "cursor"];
const DEFAULT_PAGE: u32 = 100;

/// Create a key.
///
/// The answer has its text in `key`. It is shown only once: only a hash is stored. Other API processes accept the key within two seconds. A
/// key that is created with another key has at most the scopes, queues, kinds and rate of that one, hides at least as much, and expires no
/// later. A repeated `Idempotency-Key` does not show the text again: the name is then taken (409).
#[utoipa::path(post, path = "/v1/api-keys", operation_id = "create_api_key", tag = "keys", request_body = ApiKeyBody,
    responses(
        (status = 201, description = "Created", body = ApiKeyWithText, headers(("Location" = String, description = "The key"))),
        (status = 403, description = "The key would grant more than the caller has"),
        (status = 409, description = "Another key has this name, or as many keys exist as may"),
    ))]
pub(crate) async fn create(
    store: Acting,
    State(keys): State<Keyring>,
    Extension(caller): Extension<Caller>,
    body: JsonBody<ApiKeyBody>,
) -> Result<Response, Problem> {
    let (name, spec, expires_at) = body.value.into_draft().map_err(|error| Problem::fields(&[error]))?;
    may_grant(&store, &caller, &spec, expires_at).await?;
    let id = KeyId::new(rand::random());
    let text = KeyText::new(&id, rand::random());
    let created_by = caller.identity().to_owned();
    let new = NewApiKey { id, text: text.clone(), name, spec, expires_at, created_by };
    let record =
        change(&store, &keys, move |store| async move { store.api_keys().create(&new).await }).await?;
    let location = HeaderValue::from_str(&format!("/v1/api-keys/{}", record.id));
    let mut response = once(StatusCode::CREATED, record, text);
    response.headers_mut().insert(LOCATION, location.map_err(|_| Problem::internal())?);
    Ok(response)
}

/// List keys by name.
///
/// Without their texts. A key lists only the keys that it could have created.
#[utoipa::path(get, path = "/v1/api-keys", operation_id = "list_api_keys", tag = "keys",
    params(
        ("revoked" = Option<bool>, Query, description = "`true`: only revoked keys, of the last 400 days; default `false`: only others"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of keys in the page, 1 to 1000; default 100"),
        ("cursor" = Option<String>, Query, pattern = r"^[A-Za-z0-9][A-Za-z0-9_.:-]*,[0-9a-f]{16}$", max_length = 145, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = ApiKeysView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<ApiKeysView>, Problem> {
    let revoked = query.one("revoked")?.unwrap_or(false);
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after =
        query.one::<String>("cursor")?.map(|cursor| place(&cursor).ok_or_else(invalid_cursor)).transpose()?;
    let read = |after: Option<(KeyName, KeyId)>, limit| {
        store.call(
            move |store: Store| async move { store.api_keys().list(revoked, after.as_ref(), limit).await },
        )
    };
    let of = |record: &ApiKeyRecord| (record.name.clone(), record.id.clone());
    let page = GrantedPage { after, limit, is_all: *caller.grant() == Grant::everything() };
    let (records, next) = page.of_granted(read, |record| is_below(caller.grant(), record), of).await?;
    let next_cursor = next.map(|(name, id)| format!("{name},{id}"));
    Ok(Json(ApiKeysView { api_keys: records.into_iter().map(ApiKeyView::from).collect(), next_cursor }))
}

/// One key, also a revoked one.
#[utoipa::path(get, path = "/v1/api-keys/{key_id}", operation_id = "get_api_key", tag = "keys",
    params(("key_id" = super::super::wire::name::KeyIdText, Path, description = "The id of the key")),
    responses((status = 200, description = "The key", body = ApiKeyView), (status = 404, description = "No such key")))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    KeyPath(id): KeyPath,
) -> Result<Json<ApiKeyView>, Problem> {
    Ok(Json(read(&store, &caller, &id).await?.into()))
}

/// Change a key: its name, what it may do, or its expiry.
///
/// Other API processes apply the change within two seconds.
#[utoipa::path(patch, path = "/v1/api-keys/{key_id}", operation_id = "patch_api_key", tag = "keys", request_body = ApiKeyPatch,
    params(("key_id" = super::super::wire::name::KeyIdText, Path, description = "The id of the key")),
    responses(
        (status = 200, description = "The key", body = ApiKeyView),
        (status = 403, description = "The key would grant more than the caller has"),
        (status = 404, description = "No such key, or it is revoked"),
        (status = 409, description = "Another key has this name"),
        (status = 412, description = "The key was changed at the same time"),
    ))]
pub(crate) async fn patch(
    store: Acting,
    State(keys): State<Keyring>,
    Extension(caller): Extension<Caller>,
    KeyPath(id): KeyPath,
    body: JsonBody<ApiKeyPatch>,
) -> Result<Json<ApiKeyView>, Problem> {
    let before = read(&store, &caller, &id).await?;
    let edit = body.value.apply(&before).map_err(|error| Problem::fields(&[error]))?;
    let spec = edit.spec.as_ref().unwrap_or(&before.spec);
    may_grant(&store, &caller, spec, edit.expires_at.unwrap_or(before.expires_at)).await?;
    let edit = move |store: Store| async move { store.api_keys().edit(&id, &edit).await };
    Ok(Json(change(&store, &keys, edit).await?.into()))
}

/// Replace the secret of a key.
///
/// The answer has the new text in `key`. The text before is accepted for `overlap_seconds` longer. Until then another
/// rotation is refused, unless its `overlap_seconds` is 0: that ends all earlier texts at once.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/rotate", operation_id = "rotate_api_key", tag = "keys", request_body = RotateBody,
    params(("key_id" = super::super::wire::name::KeyIdText, Path, description = "The id of the key")),
    responses(
        (status = 200, description = "The key with its new text", body = ApiKeyWithText),
        (status = 403, description = "The key outlives the caller"),
        (status = 404, description = "No such key, or it is revoked"),
        (status = 409, description = "The text before the last rotation is still accepted"),
    ))]
pub(crate) async fn rotate(
    store: Acting,
    State(keys): State<Keyring>,
    Extension(caller): Extension<Caller>,
    KeyPath(id): KeyPath,
    body: JsonBody<RotateBody>,
) -> Result<Response, Problem> {
    let overlap = body.value.overlap().map_err(|error| Problem::fields(&[error]))?;
    let record = read(&store, &caller, &id).await?;
    // it learns the new text, so it could continue with it after its own end
    may_grant(&store, &caller, &record.spec, record.expires_at).await?;
    let text = KeyText::new(&id, rand::random());
    let new = text.clone();
    let rotate = move |store: Store| async move { store.api_keys().rotate(&id, &new, overlap).await };
    let record = change(&store, &keys, rotate).await?;
    Ok(once(StatusCode::OK, record, text))
}

/// Revoke a key.
///
/// This process refuses it at once, other API processes within two seconds. It cannot be undone. Keys that were created with it stay.
#[utoipa::path(delete, path = "/v1/api-keys/{key_id}", operation_id = "revoke_api_key", tag = "keys",
    params(("key_id" = super::super::wire::name::KeyIdText, Path, description = "The id of the key")),
    responses((status = 200, description = "The key, revoked now or before", body = ApiKeyView), (status = 404, description = "No such key")))]
pub(crate) async fn revoke(
    store: Acting,
    State(keys): State<Keyring>,
    Extension(caller): Extension<Caller>,
    KeyPath(id): KeyPath,
) -> Result<Json<ApiKeyView>, Problem> {
    read(&store, &caller, &id).await?;
    let revoke = move |store: Store| async move {
        let revoked = store.api_keys().revoke(&id).await?;
        Ok(revoked.map_or(ApiKeyChange::Unknown, |record| ApiKeyChange::Done(Box::new(record))))
    };
    Ok(Json(change(&store, &keys, revoke).await?.into()))
}

/// Makes a change. This process applies it at once.
async fn change<F, Fut>(store: &Acting, keys: &Keyring, call: F) -> Result<ApiKeyRecord, Problem>
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = Result<ApiKeyChange, jobqueue_store::StoreError>> + Send + 'static,
{
    let record = match store.call(call).await? {
        ApiKeyChange::Done(record) => *record,
        ApiKeyChange::Unknown => return Err(missing()),
        ApiKeyChange::Outdated => {
            let detail = "the key was changed at the same time; read it again";
            return Err(Problem::new(ProblemKind::PreconditionFailed, detail));
        }
        ApiKeyChange::NameTaken => {
            let detail = "another key has this name; choose another one, or revoke that key first";
            return Err(Problem::new(ProblemKind::NameTaken, detail));
        }
        ApiKeyChange::Full => {
            let detail = format!("{MAX_KEYS} keys exist, which is the most; revoke one first");
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        ApiKeyChange::Overlapping => {
            let detail = "the key was rotated, and its text before that is still accepted: a key has at most two texts; wait until `previous_until`, or end both with `\"overlap_seconds\": 0`";
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
    };
    let keys = keys.clone();
    let applied = store.call(move |store| async move { keys.refresh(&store).await }).await;
    // the check of the next second applies it
    let _later = applied;
    Ok(record)
}

/// Refuses what is invalid, and more than the caller has.
async fn may_grant(
    store: &StoreAccess,
    caller: &Caller,
    spec: &ApiKeyDraft,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(), Problem> {
    let grant = spec.parse().map_err(|errors: Vec<FieldError>| Problem::fields(&errors))?;
    if !caller.grant().covers(&grant) {
        let detail = "a key cannot grant more than the key that sets it: fewer scopes, narrower patterns and a lower rate are possible, and more can be hidden";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    let Some(own) = caller.key_id().cloned() else { return Ok(()) };
    let own = store.call(move |store| async move { store.api_keys().get(&own).await }).await?;
    match own.and_then(|own| own.expires_at) {
        Some(end) if expires_at.is_none_or(|at| at > end) => {
            let detail = format!(
                "a key cannot expire later than the key that sets it: give an `expires_at` up to {end}"
            );
            Err(Problem::new(ProblemKind::Forbidden, detail))
        }
        _ => Ok(()),
    }
}

async fn read(store: &StoreAccess, caller: &Caller, id: &KeyId) -> Result<ApiKeyRecord, Problem> {
    let wanted = id.clone();
    let found = store.call(move |store| async move { store.api_keys().get(&wanted).await }).await?;
    found.filter(|record| is_below(caller.grant(), record)).ok_or_else(missing)
}

/// Whether a caller with this grant could have created the key.
fn is_below(grant: &Grant, record: &ApiKeyRecord) -> bool {
    match record.spec.parse() {
        Ok(theirs) => grant.covers(&theirs),
        // broken by hand: the root key must be able to revoke it
        Err(_) => *grant == Grant::everything(),
    }
}

/// The answer that shows the text. It is not kept for a repeated `Idempotency-Key`, because it would then be in the database.
fn once(code: StatusCode, record: ApiKeyRecord, key: KeyText) -> Response {
    let body = Json(ApiKeyWithText { view: record.into(), key });
    (code, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Extension(Keep::Nothing), body)
        .into_response()
}

fn place(cursor: &str) -> Option<(KeyName, KeyId)> {
    let (name, id) = cursor.split_once(',')?;
    Some((name.parse().ok()?, id.parse().ok()?))
}

fn missing() -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        "no key has this id, or it is revoked, or it grants more than the key of this request",
    )
}

fn invalid_cursor() -> Problem {
    let detail = "use the `next_cursor` of an earlier page, or omit the cursor for the first page";
    Problem::new(ProblemKind::InvalidCursor, detail)
}
