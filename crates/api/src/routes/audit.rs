//! GET /v1/audit.

use axum::Json;
use axum::extract::State;
use jobqueue_core::JobId;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::{AuditFilter, Store};

use crate::cursor::Cursors;
use crate::extract::Query;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::audit::{AuditEntryView, AuditView};

/// The query parameters.
pub(crate) const PARAMETERS: &[&str] =
    &["actor", "action", "target", "request_id", "since", "until", "limit", "cursor"];
const DEFAULT_PAGE: u32 = 100;

/// Who changed what, newest first.
///
/// Every change by a person or a key has an entry, which was written in the transaction of the change. Submissions, and what workers do, have none.
/// A bulk action has an entry for each of its transactions, with the same `request_id`.
#[utoipa::path(get, path = "/v1/audit", operation_id = "list_audit", tag = "audit",
    params(
        ("actor" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only changes of this caller, or of this database user in SQL"),
        ("action" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only this action, for example `queue.pause`; `queue.` means all that begin so"),
        ("target" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only changes of what has this name or id"),
        ("request_id" = Option<String>, Query, pattern = r"^[^\u0000]*$", description = "Only changes of this request"),
        ("since" = Option<String>, Query, format = DateTime, description = "Made at or after (RFC 3339)"),
        ("until" = Option<String>, Query, format = DateTime, description = "Made before (RFC 3339)"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of entries in the page, 1 to 1000; default 100"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{43}$", description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = AuditView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    State(cursors): State<Cursors>,
    mut query: Query,
) -> Result<Json<AuditView>, Problem> {
    let filter = AuditFilter {
        actor: text(&mut query, "actor")?,
        action: text(&mut query, "action")?,
        target: text(&mut query, "target")?,
        request_id: text(&mut query, "request_id")?,
        since: query.timestamp("since")?,
        until: query.timestamp("until")?,
    };
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<String>("cursor")?.map(|text| cursors.open(&text)).transpose()?;
    let after = after.map(JobId::as_uuid);
    let page = move |store: Store| async move { store.audit_log().list(&filter, after, limit + 1).await };
    let mut entries = store.call(page).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > most;
    entries.truncate(most);
    let last = entries.last().filter(|_| more);
    let next_cursor = last.map(|last| cursors.seal(JobId::from_uuid(last.id)));
    Ok(Json(AuditView { entries: entries.into_iter().map(AuditEntryView::from).collect(), next_cursor }))
}

fn text(query: &mut Query, name: &'static str) -> Result<Option<String>, Problem> {
    let text = query.one::<String>(name)?;
    if text.as_ref().is_some_and(|text| text.contains('\0')) {
        return Err(Problem::parameter(name, "must not contain U+0000"));
    }
    Ok(text)
}
