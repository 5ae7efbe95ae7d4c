//! Takes the census: counts the waiting and running jobs of each queue, adds the tallies to the totals, and chooses the queues that the
//! metrics name. Rows of queues without activity are not written.

use uuid::Uuid;

use super::front::Waiting;
use super::{CENSUS_LOCK, DELETED_QUEUES, NO_QUEUE};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::walk::joins;

/// How many jobs are in one place: waiting in a lane, or running in a queue.
struct Count {
    lane: Option<i32>,
    queue_id: Option<i32>,
    queued: i64,
    scheduled: i64,
    running: i64,
    /// Whether these jobs have had an attempt or a snooze before and returned to the lane.
    again: bool,
    /// The id of the first queued job, if the count included it.
    first: Option<Uuid>,
}

impl Count {
    /// The part of a lane that was counted, if it has queued jobs.
    fn waiting(&self) -> Option<Waiting> {
        let lane = self.lane.filter(|_| self.queued > 0)?;
        Some(Waiting { lane, first: self.first, again: self.again })
    }
}

impl Store {
    /// Counts and stores. Returns false if another process is doing it. The metrics name up to `named_queues` queues.
    pub async fn take_census(&self, named_queues: u32) -> Result<bool, StoreError> {
        let mut unit = self.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, CENSUS_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(false);
        }
        let is_far = self.is_front_far();
        joins(&mut unit, true, is_far).await?;
        let counts = Self::count(&mut unit, is_far).await?;
        joins(&mut unit, true, false).await?;
        Self::write(&mut unit, &counts).await?;
        joins(&mut unit, false, false).await?;
        let waiting: Vec<Waiting> = counts.iter().filter_map(Count::waiting).collect();
        self.read_front(&mut unit, &waiting).await?;
        joins(&mut unit, true, false).await?;
        let named_queues = i32::try_from(named_queues).unwrap_or(i32::MAX);
        Self::choose_named(&mut unit, named_queues).await?;
        Self::fold(&mut unit).await?;
        sqlx::query!(
            "-- store.census.state
            INSERT INTO jobqueue.census_state (taken_at, named_queues) VALUES (jobqueue.now(), $1)
            ON CONFLICT (id) DO UPDATE SET taken_at = excluded.taken_at, named_queues = excluded.named_queues",
            named_queues,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(true)
    }

    /// Counts the jobs of each lane and the running ones of each queue.
    async fn count(unit: &mut Unit, tell_firsts: bool) -> Result<Vec<Count>, StoreError> {
        Ok(sqlx::query_as!(
            Count,
            r#"-- store.census
            SELECT lane, NULL::int AS queue_id, count(*) AS "queued!", 0::bigint AS "scheduled!", 0::bigint AS "running!",
                   coalesce(part >= 8, false) AS "again!", (min(ARRAY[job_id]) FILTER (WHERE $1))[1] AS first
            FROM (SELECT lane, job_id,
                         -- ids are random at their end: the first ones of these parts are among the first ones of all
                         CASE WHEN $1 THEN CASE WHEN attempt > 0 THEN 8 ELSE 0 END + (uuid_hash(job_id) & 7) END AS part
                  FROM jobqueue.ready) r
            GROUP BY lane, part
            UNION ALL
            SELECT lane, NULL, 0, count(*), 0, false, NULL FROM jobqueue.scheduled WHERE pending IS NULL GROUP BY lane
            UNION ALL
            SELECT NULL, queue_id, 0, 0, sum(bit_count(open::bit(64)))::bigint, false, NULL FROM jobqueue.lease GROUP BY queue_id"#,
            tell_firsts,
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// Writes the counts of all queues. The queue of a lane is looked up by key: a join would read the lanes of deleted queues too.
    async fn write(unit: &mut Unit, counts: &[Count]) -> Result<(), StoreError> {
        let of = |number: fn(&Count) -> i64| counts.iter().map(number).collect::<Vec<_>>();
        let lanes: Vec<Option<i32>> = counts.iter().map(|count| count.lane).collect();
        let queues: Vec<Option<i32>> = counts.iter().map(|count| count.queue_id).collect();
        sqlx::query!(
            "-- store.census.write
            WITH counted AS (
                SELECT q.id AS queue_id, coalesce(d.scheduled, 0) AS scheduled, coalesce(d.queued, 0) AS queued,
                       coalesce(d.running, 0) AS running
                FROM jobqueue.present_queue q
                LEFT JOIN (SELECT coalesce(i.queue_id, (SELECT l.queue_id FROM jobqueue.lane l WHERE l.id = i.lane)) AS queue_id,
                                  sum(i.queued) AS queued, sum(i.scheduled) AS scheduled, sum(i.running) AS running
                           FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[])
                             AS i (lane, queue_id, queued, scheduled, running) GROUP BY 1) d ON d.queue_id = q.id)
            INSERT INTO jobqueue.census (queue_id, scheduled, queued, running, taken_at)
            SELECT n.queue_id, n.scheduled, n.queued, n.running, jobqueue.now()
            FROM counted n LEFT JOIN jobqueue.census o ON o.queue_id = n.queue_id
            WHERE o.queue_id IS NULL OR o.scheduled <> n.scheduled OR o.queued <> n.queued OR o.running <> n.running
               OR n.queued = 0 AND o.oldest_at IS NOT NULL
            ON CONFLICT (queue_id) DO UPDATE SET scheduled = excluded.scheduled, queued = excluded.queued,
                running = excluded.running, taken_at = excluded.taken_at,
                oldest_at = CASE WHEN excluded.queued > 0 THEN census.oldest_at END",
            &lanes as _,
            &queues as _,
            &of(|count| count.queued),
            &of(|count| count.scheduled),
            &of(|count| count.running),
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    /// The queues with the most jobs that wait, run or went through within a minute. One that is named stays named until another has twice
    /// as many, so that series do not come and go.
    async fn choose_named(unit: &mut Unit, most: i32) -> Result<(), StoreError> {
        sqlx::query!(
            "-- store.census.named
            UPDATE jobqueue.census c SET named = r.named
            FROM (SELECT queue_id, row_number() OVER (
                      ORDER BY (queued + running + 60 * (arrivals + attempts)) * CASE WHEN named THEN 2 ELSE 1 END DESC,
                               named DESC, queue_id) <= $1 AS named
                  FROM jobqueue.census) r
            WHERE r.queue_id = c.queue_id AND c.named <> r.named",
            i64::from(most),
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    /// Adds the tallies to the totals, restores deleted queues that have got a job since, and updates the moving averages per second. After
    /// a minute, an old value has a weight of one third. Arrivals are the leased jobs plus the growth of the queue. Very small averages
    /// become zero, because Postgres raises an error when a product underflows. The mean duration of an attempt is kept while none ends.
    async fn fold(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query!(
            "-- store.census.fold
            WITH gone AS (DELETE FROM jobqueue.tally RETURNING *),
            new AS MATERIALIZED (
                SELECT queue_id, sum(created) AS created, sum(completed) AS completed, sum(failed) AS failed,
                       sum(cancelled) AS cancelled, sum(retried) AS retried, sum(leased) AS leased, sum(lost) AS lost,
                       sum(pruned) AS pruned, sum(snoozed) AS snoozed, sum(attempts) AS attempts, sum(run_ms)::bigint AS run_ms,
                       bool_or(created > 0 OR retried > 0 OR leased > 0) AS used
                FROM gone GROUP BY queue_id),
            deleted AS MATERIALIZED (
                SELECT id FROM jobqueue.queue WHERE id = ANY (ARRAY(SELECT queue_id FROM new)) AND deleted_at IS NOT NULL),
            restored AS (
                UPDATE jobqueue.queue SET deleted_at = NULL, changed_at = jobqueue.now()
                WHERE id = ANY (ARRAY(SELECT d.id FROM deleted d JOIN new n ON n.queue_id = d.id WHERE n.used))),
            total AS (
                INSERT INTO jobqueue.counter AS c
                       (queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms)
                SELECT CASE WHEN d.id IS NOT NULL AND NOT n.used THEN $2 ELSE n.queue_id END AS target, sum(n.created), sum(n.completed),
                       sum(n.failed), sum(n.cancelled), sum(n.retried), sum(n.leased), sum(n.lost), sum(n.pruned), sum(n.snoozed),
                       sum(n.attempts), sum(n.run_ms)
                FROM new n LEFT JOIN deleted d ON d.id = n.queue_id GROUP BY target
                UNION ALL
                SELECT $1, sum(n.created), sum(n.completed), sum(n.failed), sum(n.cancelled), sum(n.retried), sum(n.leased),
                       sum(n.lost), sum(n.pruned), sum(n.snoozed), sum(n.attempts), sum(n.run_ms)
                FROM new n JOIN jobqueue.census q ON q.queue_id = n.queue_id WHERE NOT q.named HAVING count(*) > 0
                ON CONFLICT (queue_id) DO UPDATE SET
                    created = c.created + excluded.created, completed = c.completed + excluded.completed,
                    failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled,
                    retried = c.retried + excluded.retried, leased = c.leased + excluded.leased,
                    lost = c.lost + excluded.lost, pruned = c.pruned + excluded.pruned, snoozed = c.snoozed + excluded.snoozed,
                    attempts = c.attempts + excluded.attempts, run_ms = c.run_ms + excluded.run_ms)
            UPDATE jobqueue.census c SET
                rates_at = jobqueue.now(), rates_queued = c.queued,
                active_at = CASE WHEN w.moved THEN jobqueue.now() ELSE c.active_at END,
                arrivals = CASE WHEN w.arrived = 0 AND c.arrivals < 1e-6 THEN 0
                                ELSE c.arrivals + w.weight * (w.arrived / w.seconds - c.arrivals) END,
                attempts = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 THEN c.attempts
                                ELSE c.attempts + w.weight * (w.attempts / w.seconds - c.attempts) END,
                run_ms = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 OR w.run_ms = 0 AND c.run_ms < 1e-6 THEN c.run_ms
                              ELSE c.run_ms + w.weight * (w.run_ms / w.seconds - c.run_ms) END
            FROM (SELECT s.queue_id, s.seconds, n.queue_id IS NOT NULL AS moved,
                         CASE WHEN s.known THEN 1 - exp(-least(s.seconds, 600) / 60) ELSE 0 END AS weight,
                         greatest(coalesce(n.leased, 0) + s.grown, 0)::float8 AS arrived,
                         coalesce(n.attempts, 0)::float8 AS attempts, coalesce(n.run_ms, 0)::float8 AS run_ms
                  FROM (SELECT queue_id, rates_at IS NOT NULL AS known, queued - rates_queued AS grown, arrivals, attempts,
                               greatest(extract(epoch FROM jobqueue.now()
                                   - coalesce((SELECT taken_at FROM jobqueue.census_state), rates_at))::float8, 1) AS seconds
                        FROM jobqueue.census) s
                  LEFT JOIN new n ON n.queue_id = s.queue_id
                  WHERE n.queue_id IS NOT NULL OR NOT s.known OR s.grown <> 0 OR s.arrivals >= 1e-6 OR s.attempts >= 1e-6) w
            WHERE c.queue_id = w.queue_id",
            NO_QUEUE,
            DELETED_QUEUES,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }
}
