//! Deletes queues: the one that an operator names, and those that nothing has used for long. The row and the number of a deleted queue
//! stay, so nothing that is cached becomes wrong, and a job that is submitted later restores the queue. Never touches a job.

use std::time::Duration;

use jobqueue_core::QueueName;

use crate::handles::{Queues, Upkeep};
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::census::{CENSUS_LOCK, DELETED_QUEUES};
use crate::readers::row::to_ms;

/// What a deletion found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueDeletion {
    /// The queue is deleted now.
    Now,
    /// It has jobs that wait or run, and stays.
    NotEmpty,
    /// There is no queue of this name.
    Unknown,
}

impl Queues<'_> {
    /// Deletes a queue that has no job that waits or runs. Its settings and totals are gone. Its final jobs stay until their retention
    /// ends, which is the default one from now on. Waits up to five seconds for the end of a census.
    pub async fn delete(&self, queue: &QueueName) -> Result<QueueDeletion, StoreError> {
        let mut unit = self.0.begin().await?;
        sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut *unit).await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", CENSUS_LOCK).execute(&mut *unit).await?;
        let found = sqlx::query_scalar!(
            r#"-- store.queue.present
            SELECT id AS "id!" FROM jobqueue.present_queue WHERE name = $1"#,
            queue.as_str(),
        )
        .fetch_optional(&mut *unit)
        .await?;
        let Some(id) = found else { return Ok(QueueDeletion::Unknown) };
        let deleted = delete_empty(&mut unit, &[id], true).await?;
        unit.commit().await?;
        Ok(if deleted > 0 { QueueDeletion::Now } else { QueueDeletion::NotEmpty })
    }
}

impl Upkeep<'_> {
    /// Deletes up to `limit` queues in which nothing has happened for `unused_for`: without any job, final ones included, without a
    /// setting, and not named by a live worker, a schedule, or a route as the queue of its jobs or of their webhooks. Returns how many. The caller calls it again while the result is `limit`. Does nothing
    /// while a census or another deletion is under way.
    pub async fn expire_queues(&self, unused_for: Duration, limit: u32) -> Result<u32, StoreError> {
        let mut unit = self.0.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, CENSUS_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(0);
        }
        // a queue that the census has not counted yet is left for later
        let unused = sqlx::query_scalar!(
            "-- store.queues.unused
            SELECT q.id FROM jobqueue.queue q
            WHERE q.deleted_at IS NULL AND q.changed_at <= jobqueue.now() - $1::bigint * interval '1 ms'
              AND q.paused_at IS NULL AND q.completed_retention IS NULL AND q.failed_retention IS NULL AND q.max_queued IS NULL
              AND (SELECT c.scheduled = 0 AND c.queued = 0 AND c.running = 0
                          AND (c.active_at IS NULL OR c.active_at <= jobqueue.now() - $1::bigint * interval '1 ms')
                   FROM jobqueue.census c WHERE c.queue_id = q.id)
              AND coalesce((SELECT n.created <= n.pruned FROM jobqueue.counter n WHERE n.queue_id = q.id), true)
              AND q.name NOT IN (SELECT unnest(w.queues) FROM jobqueue.live_worker w)
              AND q.name NOT IN (SELECT s.queue FROM jobqueue.schedule s)
              AND q.name NOT IN (SELECT r.spec->>'queue' FROM jobqueue.route r WHERE r.spec->>'queue' IS NOT NULL)
              AND q.name NOT IN (SELECT r.spec->'on_end'->>'queue' FROM jobqueue.route r WHERE r.spec->'on_end'->>'queue' IS NOT NULL)
            LIMIT $2",
            to_ms(unused_for),
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        let deleted = delete_empty(&mut unit, &unused, false).await?;
        unit.commit().await?;
        Ok(u32::try_from(deleted).unwrap_or(limit))
    }
}

/// Deletes those of these queues that are empty. The caller holds the lock of the census, which moves the same totals.
async fn delete_empty(unit: &mut Unit, ids: &[i32], look: bool) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let deleted = sqlx::query_file!("src/verbs/queues/delete.sql", ids, look, DELETED_QUEUES);
    Ok(deleted.execute(&mut **unit).await?.rows_affected())
}
