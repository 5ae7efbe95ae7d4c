//! API keys: what users change, and when a key was used. The row of `api_key_version` is locked first, so changes happen one after the other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::api_key::MAX_KEYS;
use jobqueue_core::{ApiKeyDraft, KeyId, KeyName, KeyText};

use crate::handles::ApiKeys;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::api_keys::ApiKeyRecord;

/// A new key.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its text, of which the hash is stored.
    pub text: KeyText,
    /// Its name.
    pub name: KeyName,
    /// What it may do.
    pub spec: ApiKeyDraft,
    /// From when on it is not accepted.
    pub expires_at: Option<DateTime<Utc>>,
    /// The caller that creates it.
    pub created_by: String,
}

/// What a user changes on a key. `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyEdit {
    /// The version that was read. Another version is refused.
    pub version: i64,
    /// Its name.
    pub name: Option<KeyName>,
    /// What it may do.
    pub spec: Option<ApiKeyDraft>,
    /// From when on it is not accepted; `Some(None)`: never.
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiKeyChange {
    /// It was made.
    Done(Box<ApiKeyRecord>),
    /// No key that is not revoked has this id.
    Unknown,
    /// The key has another version.
    Outdated,
    /// Another key that is not revoked has this name.
    NameTaken,
    /// As many keys exist as may.
    Full,
    /// The text before the last rotation is still accepted.
    Overlapping,
}

impl ApiKeys<'_> {
    /// Stores a new key. Deletes the keys that were revoked more than 400 days ago.
    pub async fn create(&self, new: &NewApiKey) -> Result<ApiKeyChange, StoreError> {
        let spec = text_of(&new.spec)?;
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        sqlx::query!(
            "-- store.api_key.forget
            DELETE FROM jobqueue.api_key WHERE revoked_at < jobqueue.now() - interval '400 days'"
        )
        .execute(&mut *unit)
        .await?;
        let count = sqlx::query_scalar!(
            r#"-- store.api_key.count
            SELECT count(*) AS "count!" FROM jobqueue.api_key WHERE revoked_at IS NULL"#
        );
        if count.fetch_one(&mut *unit).await? >= MAX_KEYS {
            return Ok(ApiKeyChange::Full);
        }
        if Self::is_taken(&mut unit, &new.name, &new.id).await? {
            return Ok(ApiKeyChange::NameTaken);
        }
        sqlx::query!(
            "-- store.api_key.create
            INSERT INTO jobqueue.api_key (id, name, spec, hash, expires_at, created_by) VALUES ($1, $2, $3::text::json, $4, $5, $6)",
            new.id.as_str(),
            new.name.as_str(),
            spec,
            &new.text.hash()[..],
            new.expires_at,
            new.created_by,
        )
        .execute(&mut *unit)
        .await?;
        Self::changed(unit, &new.id).await
    }

    /// Changes a key.
    pub async fn edit(&self, id: &KeyId, edit: &ApiKeyEdit) -> Result<ApiKeyChange, StoreError> {
        let spec = edit.spec.as_ref().map(text_of).transpose()?;
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        let Some(current) = Self::read(&mut unit, id).await?.filter(|key| key.revoked_at.is_none()) else {
            return Ok(ApiKeyChange::Unknown);
        };
        if current.version != edit.version {
            return Ok(ApiKeyChange::Outdated);
        }
        if let Some(name) = &edit.name
            && Self::is_taken(&mut unit, name, id).await?
        {
            return Ok(ApiKeyChange::NameTaken);
        }
        sqlx::query!(
            "-- store.api_key.edit
            UPDATE jobqueue.api_key SET name = coalesce($2, name), spec = coalesce($3::text::json, spec),
                expires_at = CASE WHEN $4 THEN $5 ELSE expires_at END, version = version + 1, changed_at = jobqueue.now()
            WHERE id = $1",
            id.as_str(),
            edit.name.as_ref().map(KeyName::as_str),
            spec,
            edit.expires_at.is_some(),
            edit.expires_at.flatten(),
        )
        .execute(&mut *unit)
        .await?;
        Self::changed(unit, id).await
    }

    /// Replaces the secret of a key. The text before is accepted for `overlap` longer. While one from an earlier rotation is still accepted, only
    /// a rotation without an overlap is made, which ends both: a repeated request must not end the text that its client uses.
    pub async fn rotate(
        &self,
        id: &KeyId,
        text: &KeyText,
        overlap: Duration,
    ) -> Result<ApiKeyChange, StoreError> {
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        let found = sqlx::query!(
            "-- store.api_key.rotate
            UPDATE jobqueue.api_key SET hash = $2, previous_hash = hash, previous_until = jobqueue.now() + $3 * interval '1 second',
                version = version + 1, changed_at = jobqueue.now()
            WHERE id = $1 AND revoked_at IS NULL AND ($4 OR previous_until IS NULL OR previous_until <= jobqueue.now())",
            id.as_str(),
            &text.hash()[..],
            overlap.as_secs_f64(),
            overlap.is_zero(),
        )
        .execute(&mut *unit)
        .await?;
        if found.rows_affected() == 0 {
            let current = Self::read(&mut unit, id).await?.filter(|key| key.revoked_at.is_none());
            return Ok(current.map_or(ApiKeyChange::Unknown, |_| ApiKeyChange::Overlapping));
        }
        Self::changed(unit, id).await
    }

    /// Revokes a key. Its row stays for 400 days. A key that is revoked already stays as it is.
    pub async fn revoke(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        sqlx::query!(
            "-- store.api_key.revoke
            UPDATE jobqueue.api_key SET revoked_at = jobqueue.now(), version = version + 1, changed_at = jobqueue.now()
            WHERE id = $1 AND revoked_at IS NULL",
            id.as_str(),
        )
        .execute(&mut *unit)
        .await?;
        let record = Self::read(&mut unit, id).await?;
        unit.commit().await?;
        Ok(record)
    }

    /// Notes that these keys were used now. A key is written at most once a minute, whichever process says so, and one that another process
    /// writes now is left out.
    pub async fn used(&self, ids: &[KeyId]) -> Result<(), StoreError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut unit = self.0.one().await?;
        sqlx::query!(
            "-- store.api_key.used
            UPDATE jobqueue.api_key SET last_used_at = jobqueue.now() WHERE id IN (
                SELECT id FROM jobqueue.api_key
                WHERE id = ANY ($1) AND (last_used_at IS NULL OR last_used_at <= jobqueue.now() - interval '1 minute')
                FOR NO KEY UPDATE SKIP LOCKED)",
            &ids,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    async fn is_taken(unit: &mut Unit, name: &KeyName, except: &KeyId) -> Result<bool, StoreError> {
        let other = sqlx::query_scalar!(
            "-- store.api_key.named
            SELECT id FROM jobqueue.api_key WHERE name = $1 AND revoked_at IS NULL AND id <> $2",
            name.as_str(),
            except.as_str(),
        );
        Ok(other.fetch_optional(&mut **unit).await?.is_some())
    }

    async fn changed(mut unit: Unit, id: &KeyId) -> Result<ApiKeyChange, StoreError> {
        let record = Self::read(&mut unit, id).await?;
        unit.commit().await?;
        Ok(record.map_or(ApiKeyChange::Unknown, |record| ApiKeyChange::Done(Box::new(record))))
    }

    async fn lock(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut **unit).await?;
        sqlx::query!("-- store.api_key.lock\nSELECT version FROM jobqueue.api_key_version FOR UPDATE")
            .fetch_all(&mut **unit)
            .await?;
        Ok(())
    }
}

fn text_of(spec: &ApiKeyDraft) -> Result<String, StoreError> {
    serde_json::to_string(spec).map_err(|error| StoreError::Abandoned(error.to_string()))
}
