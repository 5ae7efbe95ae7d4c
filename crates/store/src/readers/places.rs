//! Reads the queues and kinds of jobs, and the names of all queues and kinds, to compare them with what an API key grants.

use jobqueue_core::{JobId, KindName, QueueName};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;

impl Store {
    /// The queue and the kind of each of these jobs that exists.
    pub async fn queues_and_kinds(
        &self,
        ids: &[JobId],
    ) -> Result<Vec<(JobId, QueueName, KindName)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            "-- store.queues_and_kinds
            SELECT id, lane, kind FROM jobqueue.body WHERE id = ANY ($1) AND id BETWEEN $2 AND $3",
            &ids,
            ids.iter().min(),
            ids.iter().max(),
        )
        .fetch_all(&mut *unit)
        .await?;
        let names = self.names(&mut unit, rows.iter().map(|row| (row.lane, row.kind))).await?;
        unit.commit().await?;
        let places = rows.into_iter().filter_map(|row| {
            let (lane, kind) = (names.lanes.get(&row.lane)?, names.kinds.get(&row.kind)?);
            Some((JobId::from_uuid(row.id), lane.queue.clone(), kind.clone()))
        });
        Ok(places.collect())
    }

    /// The names of up to `limit` queues, also of deleted ones, whose jobs remain for a while.
    pub async fn queue_names(&self, limit: u32) -> Result<Vec<QueueName>, StoreError> {
        let mut unit = self.one().await?;
        let names = sqlx::query_scalar!(
            "-- store.queue_names\nSELECT name FROM jobqueue.queue LIMIT $1",
            i64::from(limit)
        );
        let names = names.fetch_all(&mut *unit).await?;
        unit.commit().await?;
        Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The names of up to `limit` kinds.
    pub async fn kind_names(&self, limit: u32) -> Result<Vec<KindName>, StoreError> {
        let mut unit = self.one().await?;
        let names = sqlx::query_scalar!(
            "-- store.kind_names\nSELECT name FROM jobqueue.kind LIMIT $1",
            i64::from(limit)
        );
        let names = names.fetch_all(&mut *unit).await?;
        unit.commit().await?;
        Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }
}
