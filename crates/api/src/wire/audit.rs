//! Entries of the audit log.

use chrono::{DateTime, Utc};
use jobqueue_core::Json;
use jobqueue_store::AuditEntry;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Newest first.
    pub(crate) entries: Vec<AuditEntryView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A change by a person or a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditEntryView {
    /// Id of the entry. Ids sort by time.
    id: Uuid,
    /// When it was made, by the clock of the database server.
    at: DateTime<Utc>,
    /// The name of the caller of the API. For a change in SQL, the database user.
    actor: String,
    /// `api`, or `sql` for a change that was made in SQL.
    #[schema(value_type = AuditVia)]
    via: &'static str,
    /// The id of the API key; `null` for the root key and for a change in SQL.
    key_id: Option<String>,
    /// The request, as in its header `X-Request-Id` and in the log; `null` for a change in SQL.
    request_id: Option<String>,
    /// The user of the database session that made the change.
    database_user: String,
    /// What was done, for example `queue.pause`.
    action: String,
    /// The name or id of what was changed; `null`: what `filter` matched.
    target: Option<String>,
    /// Which jobs or workers were meant, if there may be several.
    #[schema(value_type = Option<Object>)]
    filter: Option<Json>,
    /// How many jobs, workers or settings were changed.
    affected: u64,
    /// The setting before the change, without secrets; `null` if there was none, or if no setting was changed.
    #[schema(value_type = Option<Object>)]
    before: Option<Json>,
    /// The setting after the change.
    #[schema(value_type = Option<Object>)]
    after: Option<Json>,
}

/// How a change was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes two words")]
pub(crate) enum AuditVia {
    /// By a request to the API.
    Api,
    /// In SQL.
    Sql,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            via: if entry.request_id.is_some() { "api" } else { "sql" },
            key_id: entry.key_id,
            request_id: entry.request_id,
            database_user: entry.database_user,
            action: entry.action,
            target: entry.target,
            filter: entry.filter,
            affected: entry.affected,
            before: entry.before,
            after: entry.after,
        }
    }
}
