//! Queues: what operators see and set. A queue exists since its first job, or since a user created it, until it is deleted or expires.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::QueueName;

use crate::handles::Queues;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::row::{from_ms, to_count, to_ms};
use crate::verbs::audit::Change;

pub(crate) mod delete;

/// A queue, with its jobs counted by the call that returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its name.
    pub name: QueueName,
    /// When it was paused. `None` if it is not.
    pub paused_at: Option<DateTime<Utc>>,
    /// Its own retention of completed jobs; `None` is the reaper's default.
    pub completed_retention: Option<Duration>,
    /// Its own retention of failed and cancelled jobs.
    pub failed_retention: Option<Duration>,
    /// Above so many queued jobs it refuses submissions. `None`: never.
    pub max_queued: Option<u64>,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Runnable jobs.
    pub queued: u64,
    /// Leased jobs.
    pub running: u64,
}

/// Jobs of a queue that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many were counted.
    pub jobs: u64,
    /// Whether these are all.
    pub is_exact: bool,
    /// The time of the database: all that were counted were created before it.
    pub as_of: DateTime<Utc>,
}

/// What an operator sets on a queue. `None` leaves a setting as it is, `Some(None)` sets it back to the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueSettings {
    /// Retention of completed jobs.
    pub completed_retention: Option<Option<Duration>>,
    /// Retention of failed and cancelled jobs.
    pub failed_retention: Option<Option<Duration>>,
    /// Largest number of queued jobs after a submission.
    pub max_queued: Option<Option<u64>>,
}

/// A row of `queue`.
struct QueueRow {
    id: i32,
    name: String,
    paused_at: Option<DateTime<Utc>>,
    completed_ms: Option<i64>,
    failed_ms: Option<i64>,
    max_queued: Option<i64>,
}

impl Queues<'_> {
    /// Up to `limit` queues by name, those after `after`.
    pub async fn list(&self, after: Option<&QueueName>, limit: u32) -> Result<Vec<QueueRecord>, StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        let rows = sqlx::query_as!(
            QueueRow,
            r#"-- store.queues
            SELECT id AS "id!", name AS "name!", paused_at, (extract(epoch FROM completed_retention) * 1000)::bigint AS completed_ms,
                   (extract(epoch FROM failed_retention) * 1000)::bigint AS failed_ms, max_queued
            FROM jobqueue.present_queue WHERE name COLLATE "C" > $1 ORDER BY name COLLATE "C" LIMIT $2"#,
            after.map_or("", QueueName::as_str),
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        let queues = Self::with_depths(&mut unit, rows).await?;
        unit.commit().await?;
        Ok(queues)
    }

    /// One queue.
    pub async fn get(&self, name: &QueueName) -> Result<Option<QueueRecord>, StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        let row = sqlx::query_as!(
            QueueRow,
            r#"-- store.queue
            SELECT id AS "id!", name AS "name!", paused_at, (extract(epoch FROM completed_retention) * 1000)::bigint AS completed_ms,
                   (extract(epoch FROM failed_retention) * 1000)::bigint AS failed_ms, max_queued
            FROM jobqueue.present_queue WHERE name = $1"#,
            name.as_str(),
        )
        .fetch_optional(&mut *unit)
        .await?;
        let queue = Self::with_depths(&mut unit, row.into_iter().collect()).await?.pop();
        unit.commit().await?;
        Ok(queue)
    }

    /// The jobs that a purge of the queue deletes: all that wait, blocked ones too. Counts up to `limit`. `None` if the queue does not exist.
    pub async fn waiting(&self, name: &QueueName, limit: u32) -> Result<Option<Waiting>, StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        // the clocks of the API servers, which give ids their time, may be a little ahead
        let row = sqlx::query!(
            r#"-- store.queue.waiting
            WITH lanes AS MATERIALIZED (SELECT l.id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE q.name = $1),
            found AS MATERIALIZED (
                (SELECT r.job_id FROM jobqueue.ready r WHERE r.lane = ANY (ARRAY(SELECT id FROM lanes)) LIMIT $2)
                UNION ALL
                (SELECT s.job_id FROM jobqueue.scheduled s WHERE s.lane = ANY (ARRAY(SELECT id FROM lanes)) LIMIT $2))
            SELECT (SELECT count(*) FROM found) AS "jobs!",
                   greatest(jobqueue.now(), (SELECT jobqueue.created_at(job_id) FROM found ORDER BY job_id DESC LIMIT 1) + interval '1 ms') AS "as_of!"
            FROM jobqueue.present_queue WHERE name = $1"#,
            name.as_str(),
            i64::from(limit) + 1,
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        let limit = u64::from(limit);
        Ok(row.map(|row| {
            let jobs = to_count(row.jobs);
            Waiting { jobs: jobs.min(limit), is_exact: jobs <= limit, as_of: row.as_of }
        }))
    }

    /// Counts the jobs of these queues. Each part is looked up by numbers and put together here, so no plan depends on statistics.
    async fn with_depths(unit: &mut Unit, rows: Vec<QueueRow>) -> Result<Vec<QueueRecord>, StoreError> {
        let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
        let lanes = sqlx::query!(
            r#"-- store.queues.queued
            SELECT l.id, l.queue_id, (SELECT count(*) FROM jobqueue.ready r WHERE r.lane = l.id) AS "queued!"
            FROM jobqueue.lane l WHERE l.queue_id = ANY ($1)"#,
            &ids,
        )
        .fetch_all(&mut **unit)
        .await?;
        let numbers: Vec<i32> = lanes.iter().map(|lane| lane.id).collect();
        let scheduled = sqlx::query!(
            r#"-- store.queues.scheduled
            SELECT lane, count(*) AS "jobs!" FROM jobqueue.scheduled WHERE lane = ANY ($1) AND pending IS NULL GROUP BY lane"#,
            &numbers,
        )
        .fetch_all(&mut **unit)
        .await?;
        let running = sqlx::query!(
            r#"-- store.queues.running
            SELECT queue_id, sum(bit_count(open::bit(64)))::bigint AS "jobs!" FROM jobqueue.lease
            WHERE queue_id = ANY ($1) GROUP BY queue_id"#,
            &ids,
        )
        .fetch_all(&mut **unit)
        .await?;
        let mut depths: HashMap<i32, [u64; 3]> = HashMap::new();
        let queue_of: HashMap<i32, i32> = lanes.iter().map(|lane| (lane.id, lane.queue_id)).collect();
        for lane in lanes {
            depths.entry(lane.queue_id).or_default()[0] += to_count(lane.queued);
        }
        for (queue, jobs) in scheduled.iter().filter_map(|s| Some((queue_of.get(&s.lane)?, s.jobs))) {
            depths.entry(*queue).or_default()[1] += to_count(jobs);
        }
        for row in running {
            depths.entry(row.queue_id).or_default()[2] += to_count(row.jobs);
        }
        let record = |row: QueueRow| {
            let [queued, scheduled, running] = depths.get(&row.id).copied().unwrap_or_default();
            Some(QueueRecord {
                name: row.name.parse().ok()?,
                paused_at: row.paused_at,
                completed_retention: row.completed_ms.map(from_ms),
                failed_retention: row.failed_ms.map(from_ms),
                max_queued: row.max_queued.map(to_count),
                scheduled,
                queued,
                running,
            })
        };
        Ok(rows.into_iter().filter_map(record).collect())
    }

    /// Makes a queue that does not exist yet, so that it can be paused or configured before its first job. Idempotent.
    pub async fn create(&self, queue: &QueueName) -> Result<(), StoreError> {
        let mut unit = self.0.one().await?;
        sqlx::query!(
            "-- store.queue.create
            INSERT INTO jobqueue.queue AS q (name) VALUES ($1)
            ON CONFLICT (name) DO UPDATE SET deleted_at = NULL, changed_at = excluded.changed_at WHERE q.deleted_at IS NOT NULL",
            queue.as_str(),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Stops leasing jobs of a queue. Running jobs continue. Returns whether the queue exists.
    pub async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        self.set_paused(queue, true).await
    }

    /// Leases jobs of a paused queue again. Returns whether the queue exists.
    pub async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        self.set_paused(queue, false).await
    }

    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, StoreError> {
        let mut unit = self.0.one().await?;
        let changed = sqlx::query!(
            "-- store.queue.pause
            UPDATE jobqueue.queue SET deleted_at = NULL, changed_at = jobqueue.now(),
                paused_at = CASE WHEN $2 THEN coalesce(paused_at, jobqueue.now()) END
            WHERE id = (SELECT id FROM jobqueue.present_queue WHERE name = $1)",
            queue.as_str(),
            paused,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Changes settings of a queue. Returns whether the queue exists.
    pub async fn configure(&self, queue: &QueueName, settings: QueueSettings) -> Result<bool, StoreError> {
        let ms = |setting: Option<Option<Duration>>| setting.flatten().map(to_ms);
        let mut unit = self.0.one().await?;
        let changed = sqlx::query!(
            "-- store.queue.configure
            UPDATE jobqueue.queue SET deleted_at = NULL, changed_at = jobqueue.now(),
                completed_retention = CASE WHEN $2 THEN $3::bigint * interval '1 ms' ELSE completed_retention END,
                failed_retention = CASE WHEN $4 THEN $5::bigint * interval '1 ms' ELSE failed_retention END,
                max_queued = CASE WHEN $6 THEN $7 ELSE max_queued END
            WHERE id = (SELECT id FROM jobqueue.present_queue WHERE name = $1)",
            queue.as_str(),
            settings.completed_retention.is_some(),
            ms(settings.completed_retention),
            settings.failed_retention.is_some(),
            ms(settings.failed_retention),
            settings.max_queued.is_some(),
            settings.max_queued.flatten().map(|most| i64::try_from(most).unwrap_or(i64::MAX)),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Deletes up to `limit` waiting (queued, scheduled and blocked) jobs of a queue that were created before a time. Returns how many. The
    /// caller repeats the call while that is `limit`. Running and final jobs stay.
    pub async fn purge(
        &self,
        queue: &QueueName,
        created_before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<u32, StoreError> {
        retry_on_conflict(|| self.purge_once(queue, created_before, limit)).await
    }

    async fn purge_once(
        &self,
        queue: &QueueName,
        created_before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<u32, StoreError> {
        let mut unit = self.0.one().await?;
        let gone = sqlx::query_scalar!(
            r#"-- store.queue.purge
            WITH lanes AS MATERIALIZED (
                SELECT l.id, l.queue_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE q.name = $1),
            bound AS MATERIALIZED (SELECT coalesce(jobqueue.id_floor($3), 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS id),
            queued AS MATERIALIZED (
                SELECT r.job_id FROM jobqueue.ready r
                WHERE r.lane = ANY (ARRAY(SELECT id FROM lanes)) AND r.job_id < (SELECT id FROM bound)
                ORDER BY r.lane, r.job_id LIMIT $2 FOR UPDATE SKIP LOCKED),
            later AS MATERIALIZED (
                SELECT s.job_id FROM jobqueue.scheduled s
                WHERE s.lane = ANY (ARRAY(SELECT id FROM lanes)) AND s.job_id < (SELECT id FROM bound)
                ORDER BY s.job_id LIMIT greatest($2 - (SELECT count(*) FROM queued), 0) FOR UPDATE SKIP LOCKED),
            waiting AS MATERIALIZED (SELECT job_id FROM queued UNION ALL SELECT job_id FROM later),
            t AS (INSERT INTO jobqueue.tally (queue_id, pruned)
                  SELECT min(l.queue_id), (SELECT count(*) FROM waiting)::int FROM lanes l HAVING count(*) > 0)
            SELECT jobqueue.forget(ARRAY(SELECT job_id FROM waiting)) AS "gone!""#,
            queue.as_str(),
            i64::from(limit),
            created_before,
        )
        .fetch_one(&mut *unit)
        .await?;
        let gone = u32::try_from(gone).unwrap_or(0);
        let count = usize::try_from(gone).unwrap_or(usize::MAX);
        self.0.audit(&mut unit, Change::of("queue.purge", count).to(queue)).await?;
        unit.commit().await?;
        Ok(gone)
    }
}
