//! Reads the audit log.

use chrono::{DateTime, Utc};
use jobqueue_core::Json;
use uuid::Uuid;

use crate::handles::AuditLog;
use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// Which entries to read. `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The name of the caller, or the database user of a change in SQL.
    pub actor: Option<String>,
    /// The action, for example `queue.pause`. One that ends in `.` stands for all that begin so.
    pub action: Option<String>,
    /// The name or id of what was changed.
    pub target: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// At or after this timestamp.
    pub since: Option<DateTime<Utc>>,
    /// Before this timestamp.
    pub until: Option<DateTime<Utc>>,
}

/// A recorded change.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its id. Ids sort by time.
    pub id: Uuid,
    /// When it was made, by the clock of the database.
    pub at: DateTime<Utc>,
    /// The name of the caller of the API; of a change in SQL, the database user.
    pub actor: String,
    /// The API key of the caller, if it has an id.
    pub key_id: Option<String>,
    /// The request; `None`: a change in SQL.
    pub request_id: Option<String>,
    /// The user of the database session that made it.
    pub database_user: String,
    /// What was done, for example `queue.pause`.
    pub action: String,
    /// The name or id of what was changed; `None`: what the filter matched.
    pub target: Option<String>,
    /// Which jobs or workers were meant, if there may be several.
    pub filter: Option<Json>,
    /// How many were changed.
    pub affected: u64,
    /// The setting before the change.
    pub before: Option<Json>,
    /// The setting after the change.
    pub after: Option<Json>,
}

/// A row of `audit_log`.
struct AuditRow {
    id: Uuid,
    at: DateTime<Utc>,
    actor: String,
    key_id: Option<String>,
    request_id: Option<String>,
    database_user: String,
    action: String,
    target: Option<String>,
    filter: Option<String>,
    affected: i64,
    before: Option<String>,
    after: Option<String>,
}

impl AuditLog<'_> {
    /// Up to `limit` entries, newest first, those before `after`.
    pub async fn list(
        &self,
        filter: &AuditFilter,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut unit = self.0.begin().await?;
        Store::before_walk(&mut unit).await?;
        let (prefix, action) = match filter.action.as_deref() {
            Some(prefix) if prefix.ends_with('.') => (Some(prefix), None),
            action => (None, action),
        };
        let began = tokio::time::Instant::now();
        let rows = sqlx::query_as!(
            AuditRow,
            r#"-- store.audit.list
            SELECT id, jobqueue.created_at(id) AS "at!", actor, key_id, request_id, database_user, action, target, filter::text AS filter, affected,
                   before::text AS before, after::text AS after
            FROM jobqueue.audit_log
            WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR starts_with(action, $3))
              AND ($4::text IS NULL OR target = $4) AND ($5::text IS NULL OR request_id = $5)
              AND ($6::timestamptz IS NULL OR id >= jobqueue.id_floor($6)) AND ($7::timestamptz IS NULL OR id < jobqueue.id_floor($7))
              AND ($8::uuid IS NULL OR id < $8)
            ORDER BY id DESC LIMIT $9"#,
            filter.actor,
            action,
            prefix,
            filter.target,
            filter.request_id,
            filter.since,
            filter.until,
            after,
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await;
        let rows = match rows.map_err(StoreError::from) {
            Ok(rows) => rows,
            Err(error)
                if error.is_statement_timeout() && began.elapsed() >= crate::plumbing::time_limits::WALK =>
            {
                return Err(StoreError::TooBroad);
            }
            Err(error) => return Err(error),
        };
        unit.commit().await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        let json = |column: &'static str, text: Option<String>| {
            text.map(Json::from_stored).transpose().map_err(|error| StoreError::Corrupt {
                table: "audit_log",
                column,
                row: row.id.to_string(),
                what: error.to_string(),
            })
        };
        Ok(Self {
            filter: json("filter", row.filter)?,
            before: json("before", row.before)?,
            after: json("after", row.after)?,
            id: row.id,
            at: row.at,
            actor: row.actor,
            key_id: row.key_id,
            request_id: row.request_id,
            database_user: row.database_user,
            action: row.action,
            target: row.target,
            affected: to_count(row.affected),
        })
    }
}
