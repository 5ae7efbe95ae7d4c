//! census: counts what waits and runs, so that nobody else has to; folds the appended tallies into totals.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::row::{from_ms, to_count};
use front::Waiting;

pub(crate) mod front;

/// Of several reapers one counts.
const CENSUS_LOCK: i64 = 0x6a71_0002;

/// The state of all queues: cluster truth, the same from every process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    /// One entry a queue, by name.
    pub queues: Vec<QueueCensus>,
    /// Workers that do not count as dead.
    pub workers: u64,
}

/// Numbers of one queue. The totals are exact to the last commit; the depths are as old as `taken_at`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueCensus {
    /// Queue name.
    pub queue: String,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Runnable.
    pub queued: u64,
    /// Leased.
    pub running: u64,
    /// Since when the longest-waiting runnable job waits, as far as the front of each priority tells: about twenty jobs that were
    /// submitted first. Jobs that were delayed or snoozed can make it too young or too old.
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
    /// Attempts that ran and ended, ever, whatever came of them.
    pub attempts: u64,
    /// How long those ran, together.
    pub run: Duration,
    /// Jobs that become runnable in a second, on average of the last minutes.
    pub arrivals_per_second: f64,
    /// How long an attempt runs, on the same average; `None` before one has ended.
    pub mean_run: Option<Duration>,
    /// Nobody may lease from it.
    pub paused: bool,
    /// Jobs that a worker of this queue runs at once, on average of those alive; `None` without one.
    pub slots: Option<f64>,
}

impl Store {
    /// Counts and stores; false if another process is at it.
    pub async fn take_census(&self) -> Result<bool, StoreError> {
        let mut unit = self.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, CENSUS_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(false);
        }
        let is_far = self.front.is_far();
        scans(&mut unit, true, is_far).await?;
        let waiting = sqlx::query_as!(
            Waiting,
            r#"-- store.census
            WITH ready AS MATERIALIZED (
                SELECT lane, part, count(*) AS n, (min(ARRAY[job_id]) FILTER (WHERE $1))[1] AS first
                FROM (SELECT lane, job_id,
                             -- ids are random at their end: the first ones of these parts are among the first ones of all
                             CASE WHEN $1 THEN CASE WHEN attempt > 0 THEN 8 ELSE 0 END + (uuid_hash(job_id) & 7) END AS part
                      FROM jobqueue.ready) r
                GROUP BY lane, part),
            census AS (
                INSERT INTO jobqueue.census (queue_id, scheduled, queued, running, taken_at)
                SELECT q.id, coalesce(s.n, 0), coalesce(r.n, 0), coalesce(l.n, 0), jobqueue.now()
                FROM jobqueue.queue q
                LEFT JOIN (SELECT lane.queue_id, sum(c.n) AS n
                           FROM ready c JOIN jobqueue.lane ON lane.id = c.lane GROUP BY lane.queue_id) r ON r.queue_id = q.id
                LEFT JOIN (SELECT lane.queue_id, sum(c.n) AS n
                           FROM (SELECT lane, count(*) AS n FROM jobqueue.scheduled GROUP BY lane) c
                           JOIN jobqueue.lane ON lane.id = c.lane GROUP BY lane.queue_id) s ON s.queue_id = q.id
                LEFT JOIN (SELECT queue_id, sum(bit_count(open::bit(64))) AS n FROM jobqueue.lease GROUP BY queue_id) l
                       ON l.queue_id = q.id
                ON CONFLICT (queue_id) DO UPDATE SET scheduled = excluded.scheduled, queued = excluded.queued,
                    running = excluded.running, oldest_at = NULL, taken_at = excluded.taken_at)
            SELECT lane AS "lane!", first, coalesce(part >= 8, false) AS "again!" FROM ready"#,
            is_far,
        )
        .fetch_all(&mut *unit)
        .await?;
        scans(&mut unit, false, false).await?;
        self.front.look(&mut unit, &waiting).await?;
        Self::fold(&mut unit).await?;
        unit.commit().await?;
        Ok(true)
    }

    /// Folds the tallies into the totals, and into what is usual in a second: a moving average that forgets two thirds within
    /// a minute. What became runnable is what was leased and what there is more of. Averages stay away from numbers so small that
    /// Postgres refuses to multiply them; how long an attempt runs is remembered from before.
    async fn fold(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query!(
            "-- store.census.fold
            WITH gone AS (DELETE FROM jobqueue.tally RETURNING *),
            new AS (
                SELECT queue_id, sum(created) AS created, sum(completed) AS completed, sum(failed) AS failed,
                       sum(cancelled) AS cancelled, sum(retried) AS retried, sum(leased) AS leased, sum(lost) AS lost,
                       sum(pruned) AS pruned, sum(attempts) AS attempts, sum(run_ms)::bigint AS run_ms
                FROM gone GROUP BY queue_id),
            total AS (
                INSERT INTO jobqueue.counter AS c
                       (queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, attempts, run_ms)
                SELECT queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, attempts, run_ms FROM new
                ON CONFLICT (queue_id) DO UPDATE SET
                    created = c.created + excluded.created, completed = c.completed + excluded.completed,
                    failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled,
                    retried = c.retried + excluded.retried, leased = c.leased + excluded.leased,
                    lost = c.lost + excluded.lost, pruned = c.pruned + excluded.pruned,
                    attempts = c.attempts + excluded.attempts, run_ms = c.run_ms + excluded.run_ms)
            UPDATE jobqueue.census c SET
                rates_at = c.taken_at, rates_queued = c.queued,
                arrivals = CASE WHEN w.arrived = 0 AND c.arrivals < 1e-6 THEN 0
                                ELSE c.arrivals + w.weight * (w.arrived / w.seconds - c.arrivals) END,
                attempts = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 THEN c.attempts
                                ELSE c.attempts + w.weight * (w.attempts / w.seconds - c.attempts) END,
                run_ms = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 OR w.run_ms = 0 AND c.run_ms < 1e-6 THEN c.run_ms
                              ELSE c.run_ms + w.weight * (w.run_ms / w.seconds - c.run_ms) END
            FROM (SELECT s.queue_id, s.seconds,
                         CASE WHEN s.known THEN 1 - exp(-least(s.seconds, 600) / 60) ELSE 0 END AS weight,
                         greatest(coalesce(n.leased, 0) + s.grown, 0)::float8 AS arrived,
                         coalesce(n.attempts, 0)::float8 AS attempts, coalesce(n.run_ms, 0)::float8 AS run_ms
                  FROM (SELECT queue_id, rates_at IS NOT NULL AS known, queued - rates_queued AS grown,
                               greatest(extract(epoch FROM taken_at - rates_at)::float8, 1) AS seconds
                        FROM jobqueue.census) s
                  LEFT JOIN new n ON n.queue_id = s.queue_id) w
            WHERE c.queue_id = w.queue_id"
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    /// Reads the last census and the totals; cheap enough for every scrape.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let mut unit = self.begin().await?;
        let rows = sqlx::query!(
            r#"-- store.census.read
            SELECT q.name, q.paused_at IS NOT NULL AS "paused!", c.scheduled AS "scheduled?", c.queued AS "queued?", c.running AS "running?", c.oldest_at,
                   c.taken_at AS "taken_at?", jobqueue.now() AS "now!",
                   coalesce(t.created, 0)::bigint AS "created!", coalesce(t.completed, 0)::bigint AS "completed!",
                   coalesce(t.failed, 0)::bigint AS "failed!", coalesce(t.cancelled, 0)::bigint AS "cancelled!",
                   coalesce(t.retried, 0)::bigint AS "retried!", coalesce(t.leased, 0)::bigint AS "leased!",
                   coalesce(t.lost, 0)::bigint AS "lost!", coalesce(t.pruned, 0)::bigint AS "pruned!",
                   coalesce(t.attempts, 0)::bigint AS "attempts!", coalesce(t.run_ms, 0)::bigint AS "run_ms!",
                   c.arrivals AS "arrivals?", CASE WHEN c.attempts > 0 THEN c.run_ms / c.attempts END AS mean_run_ms,
                   (SELECT avg(w.slots)::float8 FROM jobqueue.worker w WHERE w.queues @> ARRAY[q.name] AND NOT w.draining
                       AND w.beat_at > jobqueue.now() - w.stale_ms * interval '1 ms') AS slots
            FROM jobqueue.queue q
            LEFT JOIN jobqueue.census c ON c.queue_id = q.id
            LEFT JOIN (SELECT queue_id, sum(created) AS created, sum(completed) AS completed, sum(failed) AS failed,
                              sum(cancelled) AS cancelled, sum(retried) AS retried, sum(leased) AS leased, sum(lost) AS lost,
                              sum(pruned) AS pruned, sum(attempts) AS attempts, sum(run_ms) AS run_ms
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
            attempts: to_count(row.attempts),
            run: from_ms(row.run_ms),
            arrivals_per_second: row.arrivals.unwrap_or(0.0),
            mean_run: row.mean_run_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
            paused: row.paused,
            slots: row.slots,
        });
        Ok(Census { queues: queues.collect(), workers: to_count(workers) })
    }
}

/// Lets the planner read whole tables in the rest of this transaction, for the only statement that does, or forbids it again, as
/// sessions have it. Among many dead an index must not be read instead: with statistics that saw an empty table it looks like one page.
/// A plan that is kept would not hear of any of it.
async fn scans(unit: &mut Unit, whole: bool, among_dead: bool) -> Result<(), StoreError> {
    sqlx::query!(
        "-- store.census.scans
        SELECT set_config(setting, CASE WHEN chosen THEN one ELSE other END, true) AS now
        FROM (VALUES ('enable_seqscan', $1::boolean, 'on', 'off'), ('enable_hashjoin', $1, 'on', 'off'),
                     ('enable_indexscan', $2::boolean, 'off', 'on'), ('enable_indexonlyscan', $2, 'off', 'on'),
                     ('plan_cache_mode', $1, 'force_custom_plan', 'force_generic_plan')) s (setting, chosen, one, other)",
        whole,
        among_dead,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(())
}
