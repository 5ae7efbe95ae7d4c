//! Webhooks for the ends of jobs. Only jobs with `on_end` use this module.

use std::collections::HashMap;

use jobqueue_core::JobId;
use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

/// Where the job of a webhook sends it, and what signs it.
pub struct WebhookTarget {
    /// The URL.
    pub url: String,
    /// One or more `whsec_…`, separated by a space.
    pub secret: String,
}

impl std::fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookTarget").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Enqueues the webhooks of these jobs, in the transaction that has ended them. Those without `on_end` are skipped.
pub(crate) async fn announce(unit: &mut Unit, mut ended: Vec<Uuid>) -> Result<(), StoreError> {
    if ended.is_empty() {
        return Ok(());
    }
    ended.sort_unstable();
    sqlx::query!("-- store.webhook.announce\nSELECT jobqueue.announce_ends($1)", &ended)
        .execute(&mut **unit)
        .await?;
    Ok(())
}

/// The URLs of the webhooks of these jobs.
pub(crate) async fn urls(unit: &mut Unit, ids: Vec<Uuid>) -> Result<HashMap<Uuid, String>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        "-- store.webhook.urls
        SELECT id, on_end->>'url' AS url FROM jobqueue.body WHERE id = ANY ($1)",
        &ids,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id, row.url?))).collect())
}

impl Store {
    /// The target of a job that delivers a webhook. `None` if the database did not make the job for that.
    pub async fn webhook_target(&self, delivery: JobId) -> Result<Option<WebhookTarget>, StoreError> {
        let mut unit = self.one().await?;
        let row = sqlx::query!(
            "-- store.webhook.target
            SELECT metadata->>'url' AS url, on_end_secret AS secret FROM jobqueue.body WHERE id = $1 AND on_end IS NULL",
            delivery.as_uuid(),
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(row.and_then(|row| Some(WebhookTarget { url: row.url?, secret: row.secret? })))
    }
}
