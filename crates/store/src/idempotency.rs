//! Idempotency keys: the same key with the same request is answered again, with another request it is refused.
//!
//! The key's row is written in the transaction of the effect, so it exists exactly when the effect does. A repeated key
//! commits a small write before it is answered: with a synchronous standby the answer then waits for it (reliability I1).

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use jobqueue_core::unique::digest;

use crate::connect::Unit;
use crate::error::StoreError;

/// A client's key for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    pub(crate) key: Uuid,
    pub(crate) fingerprint: Uuid,
}

impl Idempotency {
    /// `scope` keeps the keys of different callers and routes apart; `request` is the body as it was sent.
    pub fn new(scope: &str, key: &str, request: &str) -> Self {
        Self { key: digest(&["idempotency", scope, key]), fingerprint: digest(&[request]) }
    }
}

/// What is known about a key.
#[derive(Debug)]
pub(crate) enum Claimed<A> {
    /// It is ours now; the effect may go on and must [`record`] its answer.
    Fresh,
    /// The same request was served before.
    Again(A),
    /// The key belongs to another request.
    Reused,
}

/// Claims the keys, in one order everywhere. Waits for another transaction that holds one of them.
pub(crate) async fn claim<A: DeserializeOwned>(
    unit: &mut Unit,
    wanted: &[Idempotency],
) -> Result<HashMap<Uuid, Claimed<A>>, StoreError> {
    let mut keys: Vec<Idempotency> = wanted.to_vec();
    keys.sort_by_key(|idempotency| idempotency.key);
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
    let mut claimed: HashMap<Uuid, Claimed<A>> = fresh.into_iter().map(|key| (key, Claimed::Fresh)).collect();
    let known: Vec<Idempotency> = keys.into_iter().filter(|i| !claimed.contains_key(&i.key)).collect();
    if known.is_empty() {
        return Ok(claimed);
    }
    let known_ids: Vec<Uuid> = known.iter().map(|i| i.key).collect();
    let rows = sqlx::query!(
        r#"-- store.idempotency.again
        UPDATE jobqueue.idempotency SET created_at = created_at WHERE key = ANY ($1)
        RETURNING key, fingerprint, answer::text AS "answer!""#,
        &known_ids,
    )
    .fetch_all(&mut **unit)
    .await?;
    for row in rows {
        let same = known.iter().any(|i| i.key == row.key && i.fingerprint == row.fingerprint);
        let answer = serde_json::from_str(&row.answer);
        let state = match answer {
            Ok(answer) if same => Claimed::Again(answer),
            _ => Claimed::Reused,
        };
        claimed.insert(row.key, state);
    }
    Ok(claimed)
}

/// Stores what a fresh key's request is answered with.
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

/// Gives keys free whose request had no effect.
pub(crate) async fn forget(unit: &mut Unit, keys: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM jobqueue.idempotency WHERE key = ANY ($1)", keys).execute(&mut **unit).await?;
    Ok(())
}
