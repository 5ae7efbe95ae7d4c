//! promote: makes scheduled jobs runnable, when their `run_at` has passed or an operator asks for it.

use jobqueue_core::{JobId, QueueName};
use uuid::Uuid;

use crate::handles::Jobs;
use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::row::to_count;
use crate::verbs::audit::Change;

/// Maximum number of tries for jobs that are edited meanwhile.
const TRIES: u32 = 10;

/// The result of a promotion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// Number of jobs that became runnable.
    pub jobs: u64,
    /// Queues of these jobs, to wake their workers.
    pub queues: Vec<QueueName>,
}

impl Jobs<'_> {
    /// Promotes these jobs now. Returns those that were scheduled.
    pub async fn promote(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        let mut moved = retry_on_conflict(|| self.0.promote_once(ids, false)).await?;
        for _ in 0..TRIES {
            let left: Vec<JobId> = ids.iter().copied().filter(|id| !moved.contains(id)).collect();
            // an edit gives a job a new row, which a statement that began before does not see
            if left.is_empty() || !self.0.any_scheduled(&left).await? {
                break;
            }
            moved.extend(retry_on_conflict(|| self.0.promote_once(&left, true)).await?);
        }
        Ok(moved)
    }
}

impl Store {
    /// Promotes up to `limit` due jobs that wait for no other job. Several processes may call this at the same time: each skips rows
    /// that another has locked.
    pub async fn promote_due(&self, limit: u32) -> Result<Promotion, StoreError> {
        retry_on_conflict(|| self.promote_due_once(limit)).await
    }

    async fn promote_due_once(&self, limit: u32) -> Result<Promotion, StoreError> {
        let mut unit = self.one().await?;
        let row = sqlx::query!(
            r#"-- store.promote
            WITH due AS MATERIALIZED (
                SELECT ctid AS at, job_id, lane, kind, attempt FROM jobqueue.scheduled
                WHERE run_at <= jobqueue.now() AND pending IS NULL ORDER BY run_at, job_id LIMIT $1 FOR UPDATE SKIP LOCKED),
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

    /// `again`: edits came in between before, so they have to wait now.
    async fn promote_once(&self, ids: &[JobId], again: bool) -> Result<Vec<JobId>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = if again { self.begin().await? } else { self.one().await? };
        if again {
            Self::hold_off_edits(&mut unit, ids).await?;
        }
        let moved = sqlx::query_scalar!(
            "-- store.promote.these
            WITH due AS MATERIALIZED (
                SELECT job_id, lane, kind, attempt FROM jobqueue.scheduled
                WHERE job_id = ANY ($1) AND pending IS NULL ORDER BY job_id FOR UPDATE),
            gone AS (DELETE FROM jobqueue.scheduled WHERE job_id = ANY (ARRAY(SELECT job_id FROM due)))
            INSERT INTO jobqueue.ready (job_id, lane, kind, attempt) SELECT job_id, lane, kind, attempt FROM due
            RETURNING job_id",
            &wanted,
        )
        .fetch_all(&mut *unit)
        .await?;
        let moved: Vec<JobId> = moved.into_iter().map(JobId::from_uuid).collect();
        self.audit(&mut unit, Change::of_jobs("jobs.promote", &moved)).await?;
        unit.commit().await?;
        Ok(moved)
    }

    async fn any_scheduled(&self, ids: &[JobId]) -> Result<bool, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        let any = sqlx::query_scalar!(
            r#"-- store.promote.left
            SELECT count(*) > 0 AS "any!" FROM jobqueue.scheduled WHERE job_id = ANY ($1) AND pending IS NULL"#,
            &wanted,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(any)
    }
}
