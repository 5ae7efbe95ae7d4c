//! Reads bodies by id. The body of a running or final job never changes, so it can be read after the snapshot of the row that refers to it.

use std::collections::HashMap;

use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::{BodyRow, StoredBody};

impl Store {
    /// The bodies of these ids that exist, with the names of their queues and kinds.
    pub(crate) async fn body_rows(
        &self,
        unit: &mut Unit,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, BodyRow>, StoreError> {
        let bodies = sqlx::query_as!(
            StoredBody,
            r#"-- store.bodies
            SELECT id, lane, kind, max_attempts, payload::text AS "payload!", retry::text AS retry, timeout_ms, soft_timeout_ms,
                   run_at, expires_at, unique_key, tags, metadata::text AS metadata, traceparent,
                   on_end IS NOT NULL AS "announced!",
                   CASE WHEN expires_at IS NULL THEN false ELSE expires_at <= (SELECT jobqueue.now()) END AS "overdue!",
                   (SELECT jobqueue.now()) AS "now!"
            -- the bounds are for the days that are left out
            FROM jobqueue.body WHERE id = ANY ($1) AND id BETWEEN $2 AND $3"#,
            ids,
            ids.iter().min(),
            ids.iter().max(),
        )
        .fetch_all(&mut **unit)
        .await?;
        let names = self.names(unit, bodies.iter().map(|body| (body.lane, body.kind))).await?;
        Ok(bodies.into_iter().filter_map(|body| Some((body.id, body.named(&names)?))).collect())
    }
}
