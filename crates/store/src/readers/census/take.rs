//! Takes the census: counts the waiting and running jobs of each queue, adds the tallies to the totals, and chooses the queues that the
//! metrics name. Rows of queues without activity are not written.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::drain::{self, Sums};
use super::front::Waiting;
use super::{CENSUS_LOCK, DELETED_QUEUES, NO_QUEUE};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::walk::joins;
use crate::upkeep::{kinds, statistics};

/// How often one census removes tallies. Each time takes the tallies of 5,000 batches.
const DRAIN_CALLS: u32 = 200;

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
        let mut used_kinds = HashSet::new();
        let sums = Self::drain_tallies(&mut unit, &mut used_kinds).await?;
        kinds::note_use(&mut unit, &Vec::from_iter(used_kinds)).await?;
        Self::fold(&mut unit, &sums).await?;
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

    /// Removes the tallies, adds them to the statistics, notes their kinds, and returns the sums of each queue. A reaper that was away for long leaves some for
    /// the next census.
    async fn drain_tallies(
        unit: &mut Unit,
        kinds: &mut HashSet<i32>,
    ) -> Result<HashMap<i32, Sums>, StoreError> {
        let mut sums = HashMap::new();
        for _ in 0..DRAIN_CALLS {
            let (numbers, is_full) = drain::drain(unit, &mut sums).await?;
            kinds.extend(numbers.keys().filter_map(|key| key.kind_id));
            if !numbers.is_empty() {
                joins(unit, false, false).await?;
                statistics::add(unit, &numbers).await?;
                joins(unit, true, false).await?;
            }
            if !is_full {
                break;
            }
        }
        Ok(sums)
    }

    /// Adds the sums of the tallies to the totals, restores deleted queues that have got a job since, and updates the moving averages per second. After
    /// a minute, an old value has a weight of one third. Arrivals are the leased jobs plus the growth of the queue. Very small averages
    /// become zero, because Postgres raises an error when a product underflows. The mean duration of an attempt is kept while none ends.
    async fn fold(unit: &mut Unit, sums: &HashMap<i32, Sums>) -> Result<(), StoreError> {
        let queues: Vec<i32> = sums.keys().copied().collect();
        let used: Vec<bool> = sums.values().map(Sums::is_used).collect();
        let of = |column: fn(&Sums) -> i64| -> Vec<i64> { sums.values().map(column).collect() };
        sqlx::query_file!(
            "src/readers/census/fold.sql",
            NO_QUEUE,
            DELETED_QUEUES,
            &queues,
            &used,
            &of(|sums| sums.created),
            &of(|sums| sums.completed),
            &of(|sums| sums.failed),
            &of(|sums| sums.cancelled),
            &of(|sums| sums.retried),
            &of(|sums| sums.leased),
            &of(|sums| sums.lost),
            &of(|sums| sums.pruned),
            &of(|sums| sums.snoozed),
            &of(|sums| sums.attempts),
            &of(|sums| sums.run_ms),
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }
}
