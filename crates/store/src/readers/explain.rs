//! Reads the facts from which `core::explain` says why a job does not run. Every statement is bounded: it reads the job by its id, at
//! most one row for each worker and lease, and a limited number of the jobs ahead.

use chrono::{DateTime, Utc};
use jobqueue_core::explain::{
    Facts, JobState, JobsAhead, LastAttempt, MAX_AHEAD, NextTick, ServingWorkers, WaitingTick,
};
use jobqueue_core::{Ended, JobId, JobRecord, KindName, NewJob, QueueName, ScheduleName, WorkerId};
use uuid::Uuid;

use crate::handles::Schedules;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::{corrupt, stored_failure, to_count};
use crate::readers::walk::joins;
use crate::readers::workers::KINDS_SHOWN;

/// Maximum number of jobs ahead that are read if only those of some kinds count.
const SCANNED: i64 = 20_000;

/// What one statement reads about the job, its queue and the database.
struct Surroundings {
    now: DateTime<Utc>,
    read_only: bool,
    paused_at: Option<DateTime<Utc>>,
    kind_paused_at: Option<DateTime<Utc>>,
    census_at: Option<DateTime<Utc>>,
    pending: Option<i32>,
    worker_name: Option<String>,
    last_ended: Option<String>,
    last_error: Option<String>,
}

/// The workers, and the kinds that they lease; `None` means all.
struct Workers {
    serving: ServingWorkers,
    kinds: Option<Vec<i32>>,
}

impl Store {
    /// The facts about a job in one snapshot; `None` if no job has this id.
    pub async fn explain_facts(&self, id: JobId) -> Result<Option<Facts>, StoreError> {
        let mut unit = self.begin_snapshot().await?;
        Self::before_walk(&mut unit).await?;
        let Some(record) = self.records(&mut unit, &[id]).await?.pop() else {
            unit.commit().await?;
            return Ok(None);
        };
        let (id, worker) = (id.as_uuid(), record.worker_id.map(WorkerId::as_uuid));
        let around = surroundings(&mut unit, (&record.job.queue, &record.job.kind), Some(id), worker).await?;
        // neither workers nor other jobs matter once it runs or has ended
        let (workers, ahead) = if record.status.is_waiting() {
            let job = &record.job;
            let workers = workers(&mut unit, &job.queue, &job.kind).await?;
            let place = (&job.queue, job.priority, job.id.as_uuid());
            let ahead = jobs_ahead(&mut unit, place, workers.kinds.as_deref()).await?;
            (workers.serving, ahead)
        } else {
            Default::default()
        };
        unit.commit().await?;
        facts(&record, around, workers, ahead).map(Some)
    }
}

impl Schedules<'_> {
    /// The facts about the next job of a schedule in one snapshot. `template` is the job as a tick would enqueue it now. `None` if no schedule
    /// has this name.
    pub async fn explain_facts(
        &self,
        name: &ScheduleName,
        template: &NewJob,
    ) -> Result<Option<Facts>, StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        Store::before_walk(&mut unit).await?;
        let Some(tick) = next_tick(&mut unit, name).await? else {
            unit.commit().await?;
            return Ok(None);
        };
        let (queue, kind) = (&template.queue, &template.kind);
        let around = surroundings(&mut unit, (queue, kind), None, None).await?;
        let workers = workers(&mut unit, queue, kind).await?;
        // it will be the youngest job of its lane
        let place = (queue, template.priority, Uuid::max());
        let ahead = jobs_ahead(&mut unit, place, workers.kinds.as_deref()).await?;
        unit.commit().await?;
        let state = JobState::Tick(tick);
        Ok(Some(around.facts((queue.clone(), kind.clone()), state, workers.serving, ahead)))
    }
}

/// The job of the tick before counts as ended also if it was deleted.
async fn next_tick(unit: &mut Unit, name: &ScheduleName) -> Result<Option<NextTick>, StoreError> {
    let row = sqlx::query!(
        r#"-- store.explain.schedule
        SELECT s.enabled, s.paused_at, s.error, s.fires_at, s.waiting_at, s.spec->>'overlap' AS overlap,
               CASE WHEN (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = s.last_job_id) IS NULL
                     AND (SELECT b.lane FROM jobqueue.body b WHERE b.id = s.last_job_id) IS NOT NULL THEN s.last_job_id END AS previous
        FROM jobqueue.schedule s WHERE s.name = $1"#,
        name.as_str(),
    )
    .fetch_optional(&mut **unit)
    .await?;
    Ok(row.map(|row| {
        let previous = row.previous.map(JobId::from_uuid);
        NextTick {
            schedule: name.clone(),
            error: row.error,
            enabled: row.enabled,
            paused_at: row.paused_at,
            fires_at: row.fires_at,
            waiting: row.waiting_at.map(|tick| WaitingTick { tick, previous }),
            skips_during: previous.filter(|_| row.overlap.as_deref() == Some("skip")),
        }
    }))
}

fn facts(
    record: &JobRecord,
    around: Surroundings,
    workers: ServingWorkers,
    ahead: JobsAhead,
) -> Result<Facts, StoreError> {
    let id = record.job.id;
    let last = match &around.last_ended {
        None => None,
        Some(word) => Some(LastAttempt {
            ended: Ended::from_word(word).ok_or_else(|| corrupt(id, "attempt", "ended", word))?,
            error: stored_failure(id, "attempt", around.last_error.clone())?.map(|error| error.message),
        }),
    };
    let pending = around.pending.and_then(|jobs| u32::try_from(jobs).ok()).unwrap_or(0);
    let state = JobState::of(record, pending, last, around.worker_name.clone());
    let names = (record.job.queue.clone(), record.job.kind.clone());
    Ok(around.facts(names, state, workers, ahead))
}

impl Surroundings {
    fn facts(
        self,
        (queue, kind): (QueueName, KindName),
        state: JobState,
        workers: ServingWorkers,
        ahead: JobsAhead,
    ) -> Facts {
        Facts {
            now: self.now,
            queue,
            kind,
            state,
            read_only: self.read_only,
            census_at: self.census_at,
            queue_paused_at: self.paused_at,
            kind_paused_at: self.kind_paused_at,
            workers,
            ahead,
        }
    }
}

/// What surrounds a job of these names, with what is stored about the job if it exists.
async fn surroundings(
    unit: &mut Unit,
    (queue, kind): (&QueueName, &KindName),
    id: Option<Uuid>,
    worker: Option<Uuid>,
) -> Result<Surroundings, StoreError> {
    // this transaction is read-only in any case
    Ok(sqlx::query_as!(
        Surroundings,
        r#"-- store.explain
        SELECT jobqueue.now() AS "now!",
               pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS "read_only!",
               (SELECT q.paused_at FROM jobqueue.queue q WHERE q.name = $2) AS paused_at,
               (SELECT k.paused_at FROM jobqueue.kind k WHERE k.name = $4) AS kind_paused_at,
               (SELECT max(c.taken_at) FROM jobqueue.census_state c) AS census_at,
               (SELECT s.pending FROM jobqueue.scheduled s WHERE s.job_id = $1) AS pending,
               (SELECT w.name FROM jobqueue.worker w WHERE w.id = $3) AS worker_name,
               a.ended AS "last_ended?", a.error::text AS last_error
        FROM (SELECT) one
        LEFT JOIN LATERAL (SELECT ended, error FROM jobqueue.attempt WHERE job_id = $1 ORDER BY epoch DESC LIMIT 1) a ON true"#,
        id,
        queue.as_str(),
        worker,
        kind.as_str(),
    )
    .fetch_one(&mut **unit)
    .await?)
}

async fn workers(unit: &mut Unit, queue: &QueueName, kind: &KindName) -> Result<Workers, StoreError> {
    joins(unit, true, false).await?;
    // a worker with more kinds than are kept may lease any kind
    let row = sqlx::query!(
        r#"-- store.explain.workers
        WITH known AS MATERIALIZED (
            SELECT w.id, w.slots, w.kinds, w.paused, cardinality(w.kinds) NOT BETWEEN 1 AND $3::int - 1 AS every_kind
            FROM jobqueue.live_worker w WHERE $1 = ANY (w.queues) AND NOT w.draining),
        fits AS MATERIALIZED (SELECT * FROM known WHERE every_kind OR $2 = ANY (kinds)),
        serving AS MATERIALIZED (SELECT * FROM fits WHERE NOT paused),
        -- of all workers: a comparison of each lease with a list of ids takes 30 times as long for a thousand workers
        held AS MATERIALIZED (
            SELECT worker_id, sum(bit_count(open::bit(64))) AS jobs FROM jobqueue.lease WHERE worker_id IS NOT NULL GROUP BY worker_id)
        SELECT (SELECT count(*) FROM known WHERE NOT paused) AS "of_queue!", (SELECT count(*) FROM fits WHERE paused) AS "paused!",
               count(s.id) AS "serving!", coalesce(sum(s.slots), 0)::bigint AS "slots!",
               coalesce(bool_or(s.id IS NOT NULL AND (s.slots IS NULL OR s.slots > coalesce(h.jobs, 0))), false) AS "has_room!",
               coalesce(bool_or(s.every_kind), true) AS "every_kind!",
               ARRAY(SELECT k.id FROM (SELECT DISTINCT unnest(kinds) AS name FROM serving) u
                     JOIN jobqueue.kind k ON k.name = u.name) AS "kinds!",
               l.name AS "last_name?", l.beat_at AS "last_at?"
        FROM (SELECT) one
        LEFT JOIN serving s ON true LEFT JOIN held h ON h.worker_id = s.id
        LEFT JOIN LATERAL (
            SELECT w.name, w.beat_at FROM jobqueue.worker w
            WHERE $1 = ANY (w.queues) AND (cardinality(w.kinds) NOT BETWEEN 1 AND $3 - 1 OR $2 = ANY (w.kinds))
            ORDER BY w.beat_at DESC LIMIT 1) l ON true
        GROUP BY l.name, l.beat_at"#,
        queue.as_str(),
        kind.as_str(),
        i32::try_from(KINDS_SHOWN).unwrap_or(i32::MAX),
    )
    .fetch_one(&mut **unit)
    .await?;
    joins(unit, false, false).await?;
    let serving = ServingWorkers {
        of_queue: to_count(row.of_queue),
        serving: to_count(row.serving),
        paused: to_count(row.paused),
        slots: to_count(row.slots),
        has_room: row.has_room,
        last: row.last_name.zip(row.last_at),
    };
    Ok(Workers { serving, kinds: (!row.every_kind).then_some(row.kinds) })
}

/// Counts backwards from the job, because rows of jobs that were leased long ago and are not yet vacuumed are at the front of a lane.
async fn jobs_ahead(
    unit: &mut Unit,
    (queue, priority, before): (&QueueName, i16, Uuid),
    kinds: Option<&[i32]>,
) -> Result<JobsAhead, StoreError> {
    let most = i64::try_from(MAX_AHEAD).unwrap_or(i64::MAX);
    let limit = if kinds.is_some() { SCANNED } else { most.saturating_add(1) };
    let row = sqlx::query!(
        r#"-- store.explain.ahead
        SELECT count(*) AS "scanned!", count(*) FILTER (WHERE ($4::int[] IS NULL OR a.kind = ANY ($4)) AND a.kind <> ALL (ARRAY(
                   SELECT k.id FROM jobqueue.kind k WHERE k.paused_at IS NOT NULL))) AS "jobs!"
        FROM (SELECT r.kind
              FROM (SELECT l.id, CASE WHEN l.priority > $2 THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid ELSE $3 END AS before
                    FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
                    WHERE q.name = $1 AND l.priority >= $2 ORDER BY l.priority) lane
              CROSS JOIN LATERAL (
                    SELECT w.kind FROM jobqueue.ready w WHERE w.lane = lane.id AND w.job_id < lane.before
                    ORDER BY w.job_id DESC LIMIT $5) r
              LIMIT $5) a"#,
        queue.as_str(),
        priority,
        before,
        kinds as _,
        limit,
    )
    .fetch_one(&mut **unit)
    .await?;
    let jobs = to_count(row.jobs);
    if jobs > MAX_AHEAD {
        return Ok(JobsAhead { jobs: MAX_AHEAD, exact: false });
    }
    if row.scanned == limit {
        // those after the limit were not read
        return Ok(JobsAhead { jobs: jobs.saturating_sub(1), exact: false });
    }
    Ok(JobsAhead { jobs, exact: true })
}
