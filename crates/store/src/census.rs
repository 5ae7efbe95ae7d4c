//! census: counts what waits and runs, so that nobody else has to; folds the appended tallies into totals.

use chrono::{DateTime, Utc};

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::to_count;

/// Of several reapers one counts.
const CENSUS_LOCK: i64 = 0x6a71_0002;

/// The state of all queues: cluster truth, the same from every process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// One entry a queue, by name.
    pub queues: Vec<QueueCensus>,
    /// Workers that do not count as dead.
    pub workers: u64,
}

/// Numbers of one queue. The totals are exact to the last commit; the depths are as old as `taken_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCensus {
    /// Queue name.
    pub queue: String,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Runnable.
    pub queued: u64,
    /// Leased.
    pub running: u64,
    /// Since when the longest-waiting runnable job waits, as far as the front of each priority tells.
    pub oldest_at: Option<DateTime<Utc>>,
    /// When the depths were counted; `None` before the first census.
    pub taken_at: Option<DateTime<Utc>>,
    /// The database's clock at this reading.
    pub now: DateTime<Utc>,
    /// Jobs submitted, ever.
    pub created: u64,
    /// Jobs completed, ever.
    pub completed: u64,
    /// Jobs failed for good, ever; a retried dead letter can count again.
    pub failed: u64,
    /// Jobs cancelled, ever.
    pub cancelled: u64,
    /// Attempts that were retried, by policy or by an operator.
    pub retried: u64,
    /// Jobs handed to workers, ever.
    pub leased: u64,
    /// Attempts lost with their worker or lease.
    pub lost: u64,
    /// Jobs forgotten by retention or purge.
    pub pruned: u64,
}

impl Store {
    /// Counts and stores; false if another process is at it.
    pub async fn take_census(&self) -> Result<bool, StoreError> {
        let mut unit = self.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, CENSUS_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(false);
        }
        // the only statement that reads whole tables: here a plan that scans is right
        sqlx::query!("SET LOCAL enable_seqscan = on").execute(&mut *unit).await?;
        sqlx::query!("SET LOCAL enable_hashjoin = on").execute(&mut *unit).await?;
        sqlx::query!(
            "-- store.census
            INSERT INTO jobqueue.census (queue_id, scheduled, queued, running, oldest_at, taken_at)
            SELECT q.id, coalesce(s.n, 0), coalesce(r.n, 0), coalesce(l.n, 0), front.since, jobqueue.now()
            FROM jobqueue.queue q
            LEFT JOIN (SELECT lane.queue_id, sum(c.n) AS n
                       FROM (SELECT lane, count(*) AS n FROM jobqueue.ready GROUP BY lane) c
                       JOIN jobqueue.lane ON lane.id = c.lane GROUP BY lane.queue_id) r ON r.queue_id = q.id
            LEFT JOIN (SELECT lane.queue_id, sum(c.n) AS n
                       FROM (SELECT lane, count(*) AS n FROM jobqueue.scheduled GROUP BY lane) c
                       JOIN jobqueue.lane ON lane.id = c.lane GROUP BY lane.queue_id) s ON s.queue_id = q.id
            LEFT JOIN (SELECT queue_id, sum(bit_count(open::bit(64))) AS n FROM jobqueue.lease GROUP BY queue_id) l
                   ON l.queue_id = q.id
            LEFT JOIN LATERAL (
                SELECT min(greatest(jobqueue.created_at(f.job_id), b.run_at,
                                    (SELECT max(a.finished_at) FROM jobqueue.attempt a
                                     WHERE f.attempt > 0 AND a.job_id = f.job_id))) AS since
                FROM jobqueue.lane n
                CROSS JOIN LATERAL (SELECT job_id, attempt FROM jobqueue.ready w WHERE w.lane = n.id
                                    ORDER BY job_id LIMIT 20) f
                JOIN jobqueue.body b ON b.id = f.job_id
                WHERE n.queue_id = q.id) front ON r.n > 0
            ON CONFLICT (queue_id) DO UPDATE SET scheduled = excluded.scheduled, queued = excluded.queued,
                running = excluded.running, oldest_at = excluded.oldest_at, taken_at = excluded.taken_at"
        )
        .execute(&mut *unit)
        .await?;
        sqlx::query!(
            "-- store.census.fold
            WITH gone AS (DELETE FROM jobqueue.tally RETURNING *)
            INSERT INTO jobqueue.counter AS c (queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned)
            SELECT queue_id, sum(created), sum(completed), sum(failed), sum(cancelled), sum(retried), sum(leased), sum(lost),
                   sum(pruned) FROM gone GROUP BY queue_id
            ON CONFLICT (queue_id) DO UPDATE SET
                created = c.created + excluded.created, completed = c.completed + excluded.completed,
                failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled,
                retried = c.retried + excluded.retried, leased = c.leased + excluded.leased,
                lost = c.lost + excluded.lost, pruned = c.pruned + excluded.pruned"
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(true)
    }

    /// Reads the last census and the totals; cheap enough for every scrape.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let mut unit = self.begin().await?;
        let rows = sqlx::query!(
            r#"-- store.census.read
            SELECT q.name, c.scheduled AS "scheduled?", c.queued AS "queued?", c.running AS "running?", c.oldest_at,
                   c.taken_at AS "taken_at?", jobqueue.now() AS "now!",
                   coalesce(t.created, 0)::bigint AS "created!", coalesce(t.completed, 0)::bigint AS "completed!",
                   coalesce(t.failed, 0)::bigint AS "failed!", coalesce(t.cancelled, 0)::bigint AS "cancelled!",
                   coalesce(t.retried, 0)::bigint AS "retried!", coalesce(t.leased, 0)::bigint AS "leased!",
                   coalesce(t.lost, 0)::bigint AS "lost!", coalesce(t.pruned, 0)::bigint AS "pruned!"
            FROM jobqueue.queue q
            LEFT JOIN jobqueue.census c ON c.queue_id = q.id
            LEFT JOIN (SELECT queue_id, sum(created) AS created, sum(completed) AS completed, sum(failed) AS failed,
                              sum(cancelled) AS cancelled, sum(retried) AS retried, sum(leased) AS leased, sum(lost) AS lost,
                              sum(pruned) AS pruned
                       FROM (SELECT * FROM jobqueue.tally UNION ALL SELECT * FROM jobqueue.counter) u GROUP BY queue_id) t
                   ON t.queue_id = q.id
            ORDER BY q.name"#
        )
        .fetch_all(&mut *unit)
        .await?;
        let workers = sqlx::query_scalar!(
            r#"SELECT count(*) AS "n!" FROM jobqueue.worker WHERE beat_at > jobqueue.now() - stale_ms * interval '1 ms'"#
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        let queues = rows.into_iter().map(|row| QueueCensus {
            queue: row.name,
            scheduled: to_count(row.scheduled.unwrap_or(0)),
            queued: to_count(row.queued.unwrap_or(0)),
            running: to_count(row.running.unwrap_or(0)),
            oldest_at: row.oldest_at,
            taken_at: row.taken_at,
            now: row.now,
            created: to_count(row.created),
            completed: to_count(row.completed),
            failed: to_count(row.failed),
            cancelled: to_count(row.cancelled),
            retried: to_count(row.retried),
            leased: to_count(row.leased),
            lost: to_count(row.lost),
            pruned: to_count(row.pruned),
        });
        Ok(Census { queues: queues.collect(), workers: to_count(workers) })
    }
}
