//! Reads API keys. Hashes are read only for the keys that a process keeps in memory.

use std::time::Instant;

use chrono::{DateTime, Utc};
use jobqueue_core::api_key::MAX_KEYS;
use jobqueue_core::{ApiKeyDraft, KeyId, KeyName};

use crate::handles::ApiKeys;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// A stored key, without its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeyRecord {
    /// The public part of its text.
    pub id: KeyId,
    /// Its name. No two keys that are not revoked have the same.
    pub name: KeyName,
    /// Counts what users change, from 1.
    pub version: i64,
    /// What it may do.
    pub spec: ApiKeyDraft,
    /// From when on it is not accepted; `None`: it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Until when the key before the last rotation is accepted.
    pub previous_until: Option<DateTime<Utc>>,
    /// When it was last used, exact to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The caller that created it.
    pub created_by: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a user last changed it.
    pub changed_at: DateTime<Utc>,
}

/// A key that is not revoked, for the memory of a process.
#[derive(Clone, PartialEq)]
pub struct LiveKey {
    /// The public part of its text.
    pub id: KeyId,
    /// Its name.
    pub name: KeyName,
    /// Counts what users change.
    pub version: i64,
    /// What it may do.
    pub spec: ApiKeyDraft,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// The same of the key before the last rotation, and until when that one is accepted.
    pub previous: Option<([u8; 32], DateTime<Utc>)>,
    /// From when on it is not accepted.
    pub expires_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for LiveKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveKey")
            .field("id", &self.id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a check of the keys found.
#[derive(Debug)]
pub struct KeyNews {
    /// Counts the changes of keys.
    pub version: i64,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// A time before the statement was sent.
    pub checked_at: Instant,
    /// All keys that are not revoked, if the version differs from the one that the caller knows.
    pub keys: Option<Vec<LiveKey>>,
}

/// A row of `api_key`.
pub(crate) struct ApiKeyRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) spec: String,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    pub(crate) previous_until: Option<DateTime<Utc>>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) changed_at: DateTime<Utc>,
}

impl TryFrom<ApiKeyRow> for ApiKeyRecord {
    type Error = StoreError;

    fn try_from(row: ApiKeyRow) -> Result<Self, StoreError> {
        let of_row = row.id.clone();
        let corrupt = |column, what: String| StoreError::Corrupt {
            table: "api_key",
            column,
            row: of_row.clone(),
            what,
        };
        Ok(Self {
            id: row.id.parse().map_err(|()| corrupt("id", "is not the id of a key".to_owned()))?,
            name: KeyName::try_from(row.name).map_err(|error| corrupt("name", error.to_string()))?,
            version: row.version,
            spec: serde_json::from_str(&row.spec).map_err(|error| corrupt("spec", error.to_string()))?,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            previous_until: row.previous_until,
            last_used_at: row.last_used_at,
            created_by: row.created_by,
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
    }
}

impl ApiKeys<'_> {
    /// One key, also a revoked one.
    pub async fn get(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let record = Self::read(&mut unit, id).await?;
        unit.commit().await?;
        Ok(record)
    }

    /// Up to `limit` keys by name, those after `after`, and whether there are more.
    pub async fn list(
        &self,
        revoked: bool,
        after: Option<&(KeyName, KeyId)>,
        limit: u32,
    ) -> Result<(Vec<ApiKeyRecord>, bool), StoreError> {
        let mut unit = self.0.one().await?;
        let mut rows = sqlx::query_as!(
            ApiKeyRow,
            r#"-- store.api_keys
            SELECT id, name, version, spec::text AS "spec!", expires_at, revoked_at, previous_until, last_used_at, created_by, created_at, changed_at
            FROM jobqueue.api_key
            WHERE (name, id) > ($1, $2) AND (revoked_at IS NOT NULL) = $3
            ORDER BY name, id LIMIT $4::bigint + 1"#,
            after.map_or("", |(name, _)| name.as_str()),
            after.map_or("", |(_, id)| id.as_str()),
            revoked,
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows.into_iter().map(ApiKeyRecord::try_from).collect::<Result<_, _>>()?, more))
    }

    /// Checks whether the keys in memory are outdated, and if so reads all. One statement. `known` is the version in memory.
    pub async fn newest(&self, known: Option<i64>) -> Result<KeyNews, StoreError> {
        let mut unit = self.0.one().await?;
        let checked_at = Instant::now();
        let rows = sqlx::query!(
            r#"-- store.api_keys.newest
            SELECT v.version, jobqueue.now() - now() + clock_timestamp() AS "now!", k.id AS "id?", k.name AS "name?", k.version AS "key_version?",
                   k.spec::text AS spec, k.hash AS "hash?", k.previous_hash, k.previous_until, k.expires_at
            FROM jobqueue.api_key_version v
            LEFT JOIN jobqueue.api_key k ON v.version IS DISTINCT FROM $1::bigint AND k.revoked_at IS NULL
            LIMIT $2"#,
            known,
            MAX_KEYS + 1000,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let Some((version, now)) = rows.first().map(|row| (row.version, row.now)) else {
            let what = "the row is missing".to_owned();
            return Err(StoreError::Corrupt {
                table: "api_key_version",
                column: "*",
                row: String::new(),
                what,
            });
        };
        let keys = (known != Some(version)).then(|| {
            let read = rows.into_iter().filter_map(|row| {
                let id = row.id?;
                let read = || {
                    Some(LiveKey {
                        id: id.parse::<KeyId>().ok()?,
                        name: row.name?.parse::<KeyName>().ok()?,
                        version: row.key_version?,
                        spec: serde_json::from_str::<ApiKeyDraft>(&row.spec?).ok()?,
                        hash: <[u8; 32]>::try_from(row.hash?).ok()?,
                        previous: row
                            .previous_hash
                            .and_then(|hash| <[u8; 32]>::try_from(hash).ok())
                            .zip(row.previous_until),
                        expires_at: row.expires_at,
                    })
                };
                let key = read();
                if key.is_none() {
                    tracing::warn!(
                        api_key.id = id,
                        "an API key was made invalid by hand, and is not accepted"
                    );
                }
                key
            });
            read.collect()
        });
        Ok(KeyNews { version, now, checked_at, keys })
    }

    /// One key, in the caller's transaction.
    pub(crate) async fn read(unit: &mut Unit, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let row = sqlx::query_as!(
            ApiKeyRow,
            r#"-- store.api_key
            SELECT id, name, version, spec::text AS "spec!", expires_at, revoked_at, previous_until, last_used_at, created_by, created_at, changed_at
            FROM jobqueue.api_key WHERE id = $1"#,
            id.as_str(),
        )
        .fetch_optional(&mut **unit)
        .await?;
        row.map(ApiKeyRecord::try_from).transpose()
    }
}
