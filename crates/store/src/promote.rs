//! promote: scheduled jobs whose time has come, or that an operator wants now, become runnable.

use jobqueue_core::{JobId, QueueName};
use uuid::Uuid;

use crate::again::on_collision;
use crate::connect::Store;
use crate::error::StoreError;
use crate::row::to_count;

/// What a promotion moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// How many jobs.
    pub jobs: u64,
    /// Into which queues, for waking their workers.
    pub queues: Vec<QueueName>,
}

impl Store {
    /// Moves up to `limit` due jobs. Safe in many processes at once: each takes what the others have not locked.
    pub async fn promote_due(&self, limit: u32) -> Result<Promotion, StoreError> {
        on_collision(|| self.promote_due_once(limit)).await
    }

    async fn promote_due_once(&self, limit: u32) -> Result<Promotion, StoreError> {
        let mut unit = self.one().await?;
        let row = sqlx::query!(
            r#"-- store.promote
            WITH due AS MATERIALIZED (
                SELECT ctid AS at, job_id, lane, kind, attempt FROM jobqueue.scheduled
                WHERE run_at <= jobqueue.now() ORDER BY run_at, job_id LIMIT $1 FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM jobqueue.scheduled WHERE ctid = ANY (ARRAY(SELECT at FROM due))),
            ready AS (
                INSERT INTO jobqueue.ready (job_id, lane, kind, attempt) SELECT job_id, lane, kind, attempt FROM due)
            SELECT count(*) AS "jobs!", ARRAY(SELECT DISTINCT jobqueue.queue_of(lane) FROM (SELECT DISTINCT lane FROM due) d) AS "queues!"
            FROM due"#,
            i64::from(limit),
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        let queues = row.queues.into_iter().filter_map(|name| name.parse().ok()).collect();
        Ok(Promotion { jobs: to_count(row.jobs), queues })
    }

    /// Moves these jobs now. Answers which of them were scheduled.
    pub async fn promote(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        on_collision(|| self.promote_once(ids)).await
    }

    async fn promote_once(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        let moved = sqlx::query_scalar!(
            "-- store.promote.these
            WITH due AS MATERIALIZED (
                SELECT job_id, lane, kind, attempt FROM jobqueue.scheduled WHERE job_id = ANY ($1) ORDER BY job_id FOR UPDATE),
            gone AS (DELETE FROM jobqueue.scheduled WHERE job_id = ANY (ARRAY(SELECT job_id FROM due)))
            INSERT INTO jobqueue.ready (job_id, lane, kind, attempt) SELECT job_id, lane, kind, attempt FROM due
            RETURNING job_id",
            &wanted,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(moved.into_iter().map(JobId::from_uuid).collect())
    }
}
