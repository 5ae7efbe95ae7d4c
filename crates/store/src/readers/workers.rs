//! Reader of workers: who is alive, what each leases, and what it runs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, WorkerId};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;
use crate::readers::walk::joins;

/// Jobs that are shown of one worker.
const JOBS_SHOWN: i32 = 20;
/// Kinds that are kept and shown of one worker.
pub(crate) const KINDS_SHOWN: usize = 100;

/// A worker that counts as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its id, which its jobs show.
    pub id: WorkerId,
    /// Its name: its host or pod, or what a remote worker calls itself.
    pub name: String,
    /// Whether it leases over REST. Otherwise it is connected to the database.
    pub remote: bool,
    /// Queues that it leases from.
    pub queues: Vec<String>,
    /// Kinds that it leases, the first hundred; empty means all.
    pub kinds: Vec<String>,
    /// Jobs that it runs at once; `None` if a remote worker does not report it.
    pub slots: Option<u32>,
    /// Version of its build; `None` if a remote worker does not report it.
    pub version: Option<String>,
    /// When it started; of a remote worker, its first request.
    pub started_at: DateTime<Utc>,
    /// When it sent its last heartbeat or request.
    pub beat_at: DateTime<Utc>,
    /// Whether it is shutting down and leases nothing more.
    pub draining: bool,
    /// What else the worker reports of itself.
    pub report: WorkerReport,
    /// Time since `beat_at`.
    pub beat_age: Duration,
    /// Jobs that it has leased.
    pub running: u64,
    /// The twenty of them that it has had for longest.
    pub jobs: Vec<WorkerJob>,
}

/// What a worker reports of itself. Nothing of it decides anything; workers of an older version, and remote workers that do not send it,
/// report nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Host that it runs on.
    pub host: Option<String>,
    /// Programming language of its handlers.
    pub language: Option<String>,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// Memory of the process that is in RAM.
    pub rss_bytes: Option<u64>,
    /// Number of attempts that ended in the last minute.
    pub jobs_per_minute: Option<u32>,
}

/// A job that a worker has leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerJob {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// The attempt that runs.
    pub attempt: u16,
    /// Since when the worker has it.
    pub leased_at: DateTime<Utc>,
    /// Time since then.
    pub age: Duration,
}

/// A row of `live_worker`, with what the worker runs.
struct WorkerRow {
    id: Uuid,
    name: String,
    remote: bool,
    queues: Vec<String>,
    kinds: Vec<String>,
    slots: Option<i32>,
    version: Option<String>,
    started_at: DateTime<Utc>,
    beat_at: DateTime<Utc>,
    draining: bool,
    host: Option<String>,
    language: Option<String>,
    paused: bool,
    rss_bytes: Option<i64>,
    jobs_per_minute: Option<i32>,
    now: DateTime<Utc>,
    running: i64,
    job_ids: Vec<Uuid>,
    job_kinds: Vec<String>,
    job_queues: Vec<String>,
    attempts: Vec<i16>,
    leased_at: Vec<DateTime<Utc>>,
}

impl Store {
    /// Up to `limit` live workers by name, those after `after` (a name and an id).
    pub async fn workers(
        &self,
        after: Option<(&str, WorkerId)>,
        limit: u32,
    ) -> Result<Vec<WorkerRecord>, StoreError> {
        self.read_workers(after, None, limit).await
    }

    /// One live worker; `None` if it is not alive.
    pub async fn worker(&self, id: WorkerId) -> Result<Option<WorkerRecord>, StoreError> {
        Ok(self.read_workers(None, Some(id), 1).await?.pop())
    }

    async fn read_workers(
        &self,
        after: Option<(&str, WorkerId)>,
        only: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerRecord>, StoreError> {
        let (name, id) = after.map_or(("", Uuid::nil()), |(name, id)| (name, id.as_uuid()));
        let mut unit = self.begin().await?;
        joins(&mut unit, true, false).await?;
        let rows = sqlx::query_as!(
            WorkerRow,
            r#"-- store.workers
            WITH page AS MATERIALIZED (
                SELECT * FROM jobqueue.live_worker w WHERE (w.name COLLATE "C", w.id) > ($1 COLLATE "C", $2) AND ($5::uuid IS NULL OR w.id = $5)
                ORDER BY w.name COLLATE "C", w.id LIMIT $3),
            held AS (
                SELECT l.worker_id, j.id, j.attempt, j.kind, l.queue_id, l.leased_at,
                       row_number() OVER (PARTITION BY l.worker_id ORDER BY l.leased_at, j.id) AS nth
                FROM jobqueue.lease l JOIN jobqueue.lease_jobs g ON g.epoch = l.epoch
                CROSS JOIN LATERAL unnest(g.job_ids, g.attempts, g.kinds) WITH ORDINALITY AS j (id, attempt, kind, place)
                WHERE l.worker_id = ANY (ARRAY(SELECT id FROM page)) AND (l.open >> (j.place - 1)::int) & 1 = 1),
            counts AS (SELECT worker_id, count(*) AS running FROM held GROUP BY worker_id),
            shown AS (
                SELECT h.worker_id, array_agg(h.id ORDER BY h.nth) AS job_ids, array_agg(k.name ORDER BY h.nth) AS kinds,
                       array_agg(q.name ORDER BY h.nth) AS queues, array_agg(h.attempt ORDER BY h.nth) AS attempts,
                       array_agg(h.leased_at ORDER BY h.nth) AS leased_at
                FROM held h JOIN jobqueue.kind k ON k.id = h.kind JOIN jobqueue.queue q ON q.id = h.queue_id
                WHERE h.nth <= $4 GROUP BY h.worker_id)
            SELECT p.id AS "id!", p.name AS "name!", p.remote AS "remote!", p.queues AS "queues!", p.kinds AS "kinds!", p.slots, p.version,
                   p.started_at AS "started_at!", p.beat_at AS "beat_at!", p.draining AS "draining!", p.host, p.language,
                   p.paused AS "paused!", p.rss_bytes, p.jobs_per_minute, jobqueue.now() AS "now!", coalesce(c.running, 0) AS "running!",
                   coalesce(s.job_ids, '{}') AS "job_ids!", coalesce(s.kinds, '{}') AS "job_kinds!",
                   coalesce(s.queues, '{}') AS "job_queues!", coalesce(s.attempts, '{}') AS "attempts!",
                   coalesce(s.leased_at, '{}') AS "leased_at!"
            FROM page p LEFT JOIN counts c ON c.worker_id = p.id LEFT JOIN shown s ON s.worker_id = p.id
            ORDER BY p.name COLLATE "C", p.id"#,
            name,
            id,
            i64::from(limit),
            i64::from(JOBS_SHOWN),
            only.map(WorkerId::as_uuid),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(rows.into_iter().map(WorkerRecord::from).collect())
    }
}

impl From<WorkerRow> for WorkerRecord {
    fn from(row: WorkerRow) -> Self {
        let now = row.now;
        let age = |since: DateTime<Utc>| (now - since).to_std().unwrap_or_default();
        let jobs = row
            .job_ids
            .into_iter()
            .zip(row.job_kinds)
            .zip(row.job_queues)
            .zip(row.attempts)
            .zip(row.leased_at);
        Self {
            id: WorkerId::from_uuid(row.id),
            name: row.name,
            remote: row.remote,
            queues: row.queues,
            kinds: row.kinds,
            slots: row.slots.map(|slots| u32::try_from(slots).unwrap_or(0)),
            version: row.version,
            started_at: row.started_at,
            beat_at: row.beat_at,
            draining: row.draining,
            report: WorkerReport {
                host: row.host,
                language: row.language,
                paused: row.paused,
                rss_bytes: row.rss_bytes.map(to_count),
                jobs_per_minute: row.jobs_per_minute.map(|jobs| u32::try_from(jobs).unwrap_or(0)),
            },
            beat_age: age(row.beat_at),
            running: to_count(row.running),
            jobs: jobs
                .map(|((((id, kind), queue), attempt), leased_at)| WorkerJob {
                    id: JobId::from_uuid(id),
                    kind,
                    queue,
                    // for display only; the grant stored the attempt that began then
                    attempt: u16::try_from(attempt).unwrap_or(0),
                    leased_at,
                    age: age(leased_at),
                })
                .collect(),
        }
    }
}
