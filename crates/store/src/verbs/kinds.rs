//! Kinds: what operators see and set. A kind exists since its first job, or since a user created it, until nothing has used it for a long time
//! (`upkeep/kinds.rs`).

use chrono::{DateTime, Utc};
use jobqueue_core::kind_settings::MAX_KINDS;
use jobqueue_core::{KindName, KindSettings, RetryPolicy};

use crate::handles::Kinds;
use crate::plumbing::error::StoreError;

/// A kind and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct KindRecord {
    /// Its name.
    pub name: KindName,
    /// When it was paused. `None` if it is not.
    pub paused_at: Option<DateTime<Utc>>,
    /// Defaults of its jobs.
    pub settings: KindSettings,
}

/// What an operator sets on a kind. `None` leaves a setting as it is, `Some(None)` sets it back to the default.
#[derive(Clone, Debug, Default)]
pub struct KindChange {
    /// Time limit of one attempt, in milliseconds.
    pub timeout_ms: Option<Option<u64>>,
    /// When a failed attempt is retried.
    pub retry: Option<Option<RetryPolicy>>,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindChanged {
    /// It was made.
    Done,
    /// No job ever had this kind, and no user created it; or it was deleted because nothing used it.
    Unknown,
    /// [`MAX_KINDS`] others are paused already, or have settings.
    TooMany,
}

/// A row of `kind`.
struct KindRow {
    name: String,
    paused_at: Option<DateTime<Utc>>,
    timeout_ms: Option<i64>,
    retry: Option<String>,
}

impl KindRow {
    /// A name or policy that a user made unreadable by hand is left out.
    fn record(self) -> Option<KindRecord> {
        let settings = KindSettings {
            timeout_ms: self.timeout_ms.and_then(|ms| u64::try_from(ms).ok()),
            retry: self.retry.and_then(|text| serde_json::from_str(&text).ok()),
        };
        Some(KindRecord { name: self.name.parse().ok()?, paused_at: self.paused_at, settings })
    }
}

impl Kinds<'_> {
    /// Up to `limit` kinds by name, those after `after`.
    pub async fn list(&self, after: Option<&KindName>, limit: u32) -> Result<Vec<KindRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let rows = sqlx::query_as!(
            KindRow,
            r#"-- store.kinds.list
            SELECT name AS "name!", paused_at, timeout_ms, retry::text FROM jobqueue.present_kind
            WHERE name COLLATE "C" > $1 ORDER BY name COLLATE "C" LIMIT $2"#,
            after.map_or("", KindName::as_str),
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(rows.into_iter().filter_map(KindRow::record).collect())
    }

    /// One kind.
    pub async fn get(&self, name: &KindName) -> Result<Option<KindRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let row = sqlx::query_as!(
            KindRow,
            r#"-- store.kind
            SELECT name AS "name!", paused_at, timeout_ms, retry::text FROM jobqueue.present_kind WHERE name = $1"#,
            name.as_str(),
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(row.and_then(KindRow::record))
    }

    /// Makes a kind that does not exist yet, so that it can be paused or configured before its first job. Idempotent. One that exists counts as
    /// used now, so that it does not expire soon, even if it is being deleted at the same time.
    pub async fn create(&self, name: &KindName) -> Result<(), StoreError> {
        self.0.kind(name).await?;
        let mut unit = self.0.one().await?;
        sqlx::query!(
            "-- store.kind.restore
            UPDATE jobqueue.kind SET deleted_at = NULL, used_at = jobqueue.now()
            WHERE name = $1 AND (deleted_at IS NOT NULL OR used_at < jobqueue.now() - interval '1 hour')",
            name.as_str(),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Stops leasing jobs of a kind. Running jobs continue.
    pub async fn pause(&self, name: &KindName) -> Result<KindChanged, StoreError> {
        let mut unit = self.0.one().await?;
        let changed = sqlx::query_scalar!(
            r#"-- store.kind.pause
            UPDATE jobqueue.kind k SET paused_at = coalesce(k.paused_at, jobqueue.now())
            WHERE k.id = (SELECT p.id FROM jobqueue.present_kind p WHERE p.name = $1)
              AND (k.paused_at IS NOT NULL OR (SELECT count(*) FROM jobqueue.kind o WHERE o.paused_at IS NOT NULL) < $2)
            RETURNING k.id"#,
            name.as_str(),
            i64::from(MAX_KINDS),
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        self.changed(name, changed.is_some()).await
    }

    /// Leases jobs of a paused kind again.
    pub async fn resume(&self, name: &KindName) -> Result<KindChanged, StoreError> {
        let mut unit = self.0.one().await?;
        let changed = sqlx::query!(
            "-- store.kind.resume
            UPDATE jobqueue.kind SET paused_at = NULL, used_at = jobqueue.now()
            WHERE id = (SELECT p.id FROM jobqueue.present_kind p WHERE p.name = $1)",
            name.as_str(),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        self.0.wake_all().await;
        self.changed(name, changed.rows_affected() > 0).await
    }

    /// Changes settings of a kind.
    pub async fn configure(&self, name: &KindName, change: KindChange) -> Result<KindChanged, StoreError> {
        let mut unit = self.0.one().await?;
        let timeout = change.timeout_ms.flatten().map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        let retry = change.retry.as_ref().and_then(Option::as_ref).map(serde_json::to_string);
        let retry =
            retry.transpose().map_err(|error| StoreError::Defect(sqlx::Error::Encode(error.into())))?;
        let changed = sqlx::query_scalar!(
            r#"-- store.kind.configure
            UPDATE jobqueue.kind k SET timeout_ms = CASE WHEN $2 THEN $3 ELSE k.timeout_ms END,
                                       retry = CASE WHEN $4 THEN $5::text::json ELSE k.retry END, used_at = jobqueue.now()
            WHERE k.id = (SELECT p.id FROM jobqueue.present_kind p WHERE p.name = $1)
              AND (k.timeout_ms IS NOT NULL OR k.retry IS NOT NULL OR $3::bigint IS NULL AND $5::text IS NULL
                   OR (SELECT count(*) FROM jobqueue.kind o WHERE o.timeout_ms IS NOT NULL OR o.retry IS NOT NULL) < $6)
            RETURNING k.id"#,
            name.as_str(),
            change.timeout_ms.is_some(),
            timeout,
            change.retry.is_some(),
            retry,
            i64::from(MAX_KINDS),
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        self.changed(name, changed.is_some()).await
    }

    async fn changed(&self, name: &KindName, done: bool) -> Result<KindChanged, StoreError> {
        Ok(match done {
            true => KindChanged::Done,
            false if self.get(name).await?.is_some() => KindChanged::TooMany,
            false => KindChanged::Unknown,
        })
    }
}
