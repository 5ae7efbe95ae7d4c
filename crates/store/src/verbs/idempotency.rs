//! Idempotency keys. A repeated key with the same request gets the stored answer. With another request it is
//! refused.
//!
//! A submission writes the key's row in the transaction of its effect, so the row exists exactly if the
//! effect does. Every other request claims the key before its effect and stores the answer after it
//! ([`Store::claim_key`]). A repeated key is answered after a small write is committed. With a synchronous
//! standby the answer therefore waits until the standby has the effect too.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use jobqueue_core::unique::digest;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_ms;

/// A client's idempotency key and a fingerprint of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    pub(crate) key: Uuid,
    pub(crate) fingerprint: Uuid,
}

impl Idempotency {
    /// `scope` separates the keys of different callers and routes. `request` is the body as it was sent.
    pub fn new(scope: &str, key: &str, request: &str) -> Self {
        Self { key: digest(&["idempotency", scope, key]), fingerprint: digest(&[request]) }
    }
}

/// The result of claiming a key for a submission.
#[derive(Debug)]
pub(crate) enum Claimed<A> {
    /// The key was free and is ours now. Carry the request out and [`record`] its answer.
    Fresh,
    /// The same request was served before.
    Again(A),
    /// The key belongs to another request.
    Reused,
}

/// Claims the keys, in the order that all transactions use. Waits for another transaction that holds one of
/// them.
pub(crate) async fn claim<A: DeserializeOwned>(
    unit: &mut Unit,
    wanted: &[Idempotency],
) -> Result<HashMap<Uuid, Claimed<A>>, StoreError> {
    let mut open: Vec<Idempotency> = wanted.to_vec();
    open.sort_by_key(|idempotency| idempotency.key);
    let mut claimed = HashMap::new();
    // a key can be deleted between the failed insert and the read of its answer: then insert again
    while !open.is_empty() {
        claim_once(unit, &open, &mut claimed).await?;
        open.retain(|idempotency| !claimed.contains_key(&idempotency.key));
    }
    Ok(claimed)
}

async fn claim_once<A: DeserializeOwned>(
    unit: &mut Unit,
    keys: &[Idempotency],
    claimed: &mut HashMap<Uuid, Claimed<A>>,
) -> Result<(), StoreError> {
    let (ids, prints): (Vec<Uuid>, Vec<Uuid>) = keys.iter().map(|i| (i.key, i.fingerprint)).unzip();
    let fresh = sqlx::query_scalar!(
        "-- store.idempotency.claim
        INSERT INTO jobqueue.idempotency (key, fingerprint, answer, created_at)
        SELECT key, fingerprint, 'null', jobqueue.now() FROM unnest($1::uuid[], $2::uuid[]) AS i (key, fingerprint)
        ON CONFLICT DO NOTHING RETURNING key",
        &ids,
        &prints,
    )
    .fetch_all(&mut **unit)
    .await?;
    claimed.extend(fresh.into_iter().map(|key| (key, Claimed::Fresh)));
    let known: Vec<Uuid> = ids.into_iter().filter(|key| !claimed.contains_key(key)).collect();
    if known.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        r#"-- store.idempotency.again
        UPDATE jobqueue.idempotency SET created_at = created_at WHERE key = ANY ($1)
        RETURNING key, fingerprint, answer::text AS "answer!""#,
        &known,
    )
    .fetch_all(&mut **unit)
    .await?;
    for row in rows {
        let same = keys.iter().any(|i| i.key == row.key && i.fingerprint == row.fingerprint);
        let state = match serde_json::from_str(&row.answer) {
            Ok(answer) if same => Claimed::Again(answer),
            _ => Claimed::Reused,
        };
        claimed.insert(row.key, state);
    }
    Ok(())
}

/// Stores the answers of requests whose keys were fresh.
pub(crate) async fn record<A: Serialize>(unit: &mut Unit, answers: &[(Uuid, A)]) -> Result<(), StoreError> {
    let keys: Vec<Uuid> = answers.iter().map(|(key, _)| *key).collect();
    let texts: Vec<String> = answers
        .iter()
        .map(|(_, answer)| serde_json::to_string(answer).unwrap_or_else(|_| "null".to_owned()))
        .collect();
    sqlx::query!(
        "-- store.idempotency.record
        UPDATE jobqueue.idempotency i SET answer = a.answer::json
        FROM unnest($1::uuid[], $2::text[]) AS a (key, answer) WHERE i.key = a.key",
        &keys,
        &texts,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// Frees keys of requests that had no effect.
pub(crate) async fn forget(unit: &mut Unit, keys: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM jobqueue.idempotency WHERE key = ANY ($1)", keys).execute(&mut **unit).await?;
    Ok(())
}

/// The claim of a key whose request is being carried out, and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyClaim {
    key: Uuid,
    since: DateTime<Utc>,
}

/// The state of a key when a request with it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The key was free: carry the request out, then store its answer or free the key.
    Ours(KeyClaim),
    /// The same request was carried out before. This is its stored answer, as JSON.
    Answered(String),
    /// The same request is being carried out, or its result is not known yet.
    UnderWay,
    /// The key belongs to another request.
    Reused,
}

impl Store {
    /// Claims a key for a request that cannot store it in the transaction of its effect. A claim without an
    /// answer is void after two minutes, four times the longest request. A repeated request is then carried
    /// out.
    pub async fn claim_key(&self, idempotency: Idempotency) -> Result<KeyState, StoreError> {
        let Idempotency { key, fingerprint } = idempotency;
        let mut unit = self.one().await?;
        let ours = sqlx::query_scalar!(
            "-- store.idempotency.claim_key
            INSERT INTO jobqueue.idempotency AS i (key, fingerprint, answer, created_at, void_at)
            VALUES ($1, $2, 'null', jobqueue.now(), jobqueue.now() + interval '2 minutes')
            ON CONFLICT (key) DO UPDATE
                SET answer = excluded.answer, created_at = excluded.created_at, void_at = excluded.void_at
            WHERE i.fingerprint = excluded.fingerprint AND i.void_at < excluded.created_at
            RETURNING created_at",
            key,
            fingerprint,
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        if let Some(since) = ours {
            return Ok(KeyState::Ours(KeyClaim { key, since }));
        }
        let mut unit = self.one().await?;
        let held = sqlx::query!(
            r#"-- store.idempotency.answer_of
            UPDATE jobqueue.idempotency SET created_at = created_at WHERE key = $1
            RETURNING fingerprint, answer::text AS "answer!""#,
            key,
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(match held {
            Some(held) if held.fingerprint != fingerprint => KeyState::Reused,
            Some(held) if held.answer != "null" => KeyState::Answered(held.answer),
            // `None`: it was freed between the two statements, so a repeated request can claim it
            Some(_) | None => KeyState::UnderWay,
        })
    }

    /// Stores a request's answer as JSON, unless its claim has become void. It is kept for `valid`, or with
    /// `None` as long as keys are kept.
    pub async fn keep_answer(
        &self,
        claim: KeyClaim,
        answer: &str,
        valid: Option<Duration>,
    ) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.idempotency.keep_answer
            UPDATE jobqueue.idempotency
            SET answer = $3::text::json, void_at = jobqueue.now() + $4::bigint * interval '1 ms'
            WHERE key = $1 AND created_at = $2",
            claim.key,
            claim.since,
            answer,
            valid.map(to_ms),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Frees the key of a request that had no effect.
    pub async fn free_key(&self, claim: KeyClaim) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.idempotency.free_key
            DELETE FROM jobqueue.idempotency WHERE key = $1 AND created_at = $2",
            claim.key,
            claim.since,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }
}
