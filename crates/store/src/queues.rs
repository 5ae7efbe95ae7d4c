//! Queues: what operators see and set. A queue exists since its first job or its first setting, and never goes away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::QueueName;

use crate::again::on_collision;
use crate::connect::Store;
use crate::error::StoreError;
use crate::row::{from_ms, to_count, to_ms};

/// A queue, counted at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its name.
    pub name: QueueName,
    /// Since when no job of it is leased; `None` if it flows.
    pub paused_at: Option<DateTime<Utc>>,
    /// Its own retention of completed jobs; `None` is the reaper's default.
    pub completed_retention: Option<Duration>,
    /// Its own retention of failed and cancelled jobs.
    pub failed_retention: Option<Duration>,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Runnable jobs.
    pub queued: u64,
    /// Leased jobs.
    pub running: u64,
}

/// What an operator sets on a queue. `None` leaves a setting as it is, `Some(None)` sets it back to the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueSettings {
    /// Retention of completed jobs.
    pub completed_retention: Option<Option<Duration>>,
    /// Retention of failed and cancelled jobs.
    pub failed_retention: Option<Option<Duration>>,
}

impl Store {
    /// All queues by name, or the one asked for.
    pub async fn queues(&self, only: Option<&QueueName>) -> Result<Vec<QueueRecord>, StoreError> {
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.queues
            WITH by_lane AS MATERIALIZED (SELECT lane, count(*) AS jobs FROM jobqueue.scheduled GROUP BY lane)
            SELECT q.name, q.paused_at, (extract(epoch FROM q.completed_retention) * 1000)::bigint AS completed_ms,
                   (extract(epoch FROM q.failed_retention) * 1000)::bigint AS failed_ms,
                   (SELECT coalesce(sum(s.jobs), 0)::bigint FROM jobqueue.lane l JOIN by_lane s ON s.lane = l.id
                    WHERE l.queue_id = q.id) AS "scheduled!",
                   (SELECT count(*) FROM jobqueue.lane l JOIN jobqueue.ready r ON r.lane = l.id
                    WHERE l.queue_id = q.id) AS "queued!",
                   (SELECT coalesce(sum(bit_count(e.open::bit(64))), 0)::bigint FROM jobqueue.lease e
                    WHERE e.queue_id = q.id) AS "running!"
            FROM jobqueue.queue q WHERE $1::text IS NULL OR q.name = $1 ORDER BY q.name"#,
            only.map(QueueName::as_str),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let record = |name, row: (_, Option<i64>, Option<i64>, i64, i64, i64)| QueueRecord {
            name,
            paused_at: row.0,
            completed_retention: row.1.map(from_ms),
            failed_retention: row.2.map(from_ms),
            scheduled: to_count(row.3),
            queued: to_count(row.4),
            running: to_count(row.5),
        };
        Ok(rows
            .into_iter()
            .filter_map(|r| {
                let name = r.name.parse().ok()?;
                Some(record(
                    name,
                    (r.paused_at, r.completed_ms, r.failed_ms, r.scheduled, r.queued, r.running),
                ))
            })
            .collect())
    }

    /// Stops (or lets flow again) the leasing of a queue, known or new. What runs goes on. Idempotent.
    pub async fn pause_queue(&self, queue: &QueueName, paused: bool) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.queue.pause
            INSERT INTO jobqueue.queue AS q (name, paused_at) VALUES ($1, CASE WHEN $2 THEN jobqueue.now() END)
            ON CONFLICT (name) DO UPDATE SET paused_at = CASE WHEN $2 THEN coalesce(q.paused_at, jobqueue.now()) END",
            queue.as_str(),
            paused,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Changes settings of a queue, known or new.
    pub async fn configure_queue(
        &self,
        queue: &QueueName,
        settings: QueueSettings,
    ) -> Result<(), StoreError> {
        let ms = |setting: Option<Option<Duration>>| setting.flatten().map(to_ms);
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.queue.configure
            INSERT INTO jobqueue.queue AS q (name, completed_retention, failed_retention)
            VALUES ($1, $3::bigint * interval '1 ms', $5::bigint * interval '1 ms')
            ON CONFLICT (name) DO UPDATE SET
                completed_retention = CASE WHEN $2 THEN excluded.completed_retention ELSE q.completed_retention END,
                failed_retention = CASE WHEN $4 THEN excluded.failed_retention ELSE q.failed_retention END",
            queue.as_str(),
            settings.completed_retention.is_some(),
            ms(settings.completed_retention),
            settings.failed_retention.is_some(),
            ms(settings.failed_retention),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Forgets up to `limit` waiting (queued and scheduled) jobs of a queue; answers how many, for the caller to go on while
    /// that is `limit`. What runs or is final stays.
    pub async fn purge_queue(&self, queue: &QueueName, limit: u32) -> Result<u32, StoreError> {
        on_collision(|| self.purge_queue_once(queue, limit)).await
    }

    async fn purge_queue_once(&self, queue: &QueueName, limit: u32) -> Result<u32, StoreError> {
        let mut unit = self.one().await?;
        let gone = sqlx::query_scalar!(
            r#"-- store.queue.purge
            WITH lanes AS MATERIALIZED (
                SELECT l.id, l.queue_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE q.name = $1),
            queued AS MATERIALIZED (
                SELECT r.ctid AS at, r.job_id FROM jobqueue.ready r WHERE r.lane = ANY (ARRAY(SELECT id FROM lanes))
                ORDER BY r.lane, r.job_id LIMIT $2 FOR UPDATE SKIP LOCKED),
            later AS MATERIALIZED (
                SELECT s.job_id FROM jobqueue.scheduled s WHERE s.lane = ANY (ARRAY(SELECT id FROM lanes))
                ORDER BY s.job_id LIMIT greatest($2 - (SELECT count(*) FROM queued), 0) FOR UPDATE SKIP LOCKED),
            doomed AS MATERIALIZED (SELECT job_id FROM queued UNION ALL SELECT job_id FROM later),
            r AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM queued))),
            s AS (DELETE FROM jobqueue.scheduled WHERE job_id = ANY (ARRAY(SELECT job_id FROM later))),
            c AS (DELETE FROM jobqueue.unique_claim WHERE job_id = ANY (ARRAY(SELECT job_id FROM doomed))),
            e AS (DELETE FROM jobqueue.expiry WHERE job_id = ANY (ARRAY(SELECT job_id FROM doomed))),
            a AS (DELETE FROM jobqueue.attempt WHERE job_id = ANY (ARRAY(SELECT job_id FROM doomed))),
            p AS (DELETE FROM jobqueue.report WHERE job_id = ANY (ARRAY(SELECT job_id FROM doomed))),
            b AS (DELETE FROM jobqueue.body WHERE id = ANY (ARRAY(SELECT job_id FROM doomed))),
            t AS (INSERT INTO jobqueue.tally (queue_id, pruned)
                  SELECT min(l.queue_id), (SELECT count(*) FROM doomed)::int FROM lanes l HAVING count(*) > 0)
            SELECT count(*)::int AS "gone!" FROM doomed"#,
            queue.as_str(),
            i64::from(limit),
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(u32::try_from(gone).unwrap_or(0))
    }
}
