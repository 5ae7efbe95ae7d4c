//! heartbeat: a worker reports that it is alive and learns which jobs to stop. Each worker updates one row,
//! however many jobs it runs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::limits::REMOTE_TIMEOUT_GRACE;
use jobqueue_core::{JobId, Lease, WorkerId};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_ms;
use crate::readers::workers::KINDS_SHOWN;
use crate::verbs::worker_command::SentCommand;

/// The row of a worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerEntry {
    /// Random for every start, so a worker with the name of an earlier one never gets its leases.
    pub id: WorkerId,
    /// Name for display: the host or pod. The worker sets it.
    pub name: String,
    /// Queues that it leases from.
    pub queues: Vec<String>,
    /// Kinds that it leases; empty means all.
    pub kinds: Vec<String>,
    /// Maximum number of jobs that it runs at the same time.
    pub slots: u32,
    /// Version of its build.
    pub version: String,
    /// Host that it runs on; in a pod, the pod's name.
    pub host: String,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// How long it may be silent before it counts as dead: at least two heartbeat intervals. The worker sets
    /// it.
    pub stale_after: Duration,
}

/// What a worker reports of itself with a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// Whether it shuts down and leases nothing more.
    pub draining: bool,
    /// Memory of the process that is in RAM; `None` if it is not known.
    pub rss_bytes: Option<u64>,
    /// Number of attempts that ended in the last minute.
    pub jobs_per_minute: u32,
}

/// The leases that a worker holds when it sends a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldLeases {
    /// Epochs of the leases of which it runs or settles at least one job.
    pub epochs: Vec<i64>,
    /// It has received every lease up to this epoch, unless the reply was lost. Leases that it does not hold are released up to this
    /// epoch and no further, because the reply that grants a later one may be on its way.
    pub known_up_to: i64,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// False if the worker's row was deleted after a long silence. The worker must then register again.
    pub known: bool,
    /// Running jobs that a user asked to cancel.
    pub cancelled: Vec<JobId>,
    /// Those of the epochs that the worker named whose lease it no longer has.
    pub lost: Vec<i64>,
    /// How many leases of this worker were released because it did not name them. Their jobs run again once `reclaim` has ended them.
    pub given_back: usize,
    /// Commands that the worker has not acknowledged, oldest first. It may have received one before.
    pub commands: Vec<SentCommand>,
    /// No lease has a newer epoch yet. A lease call that begins after this answer returns only leases with newer ones.
    pub newest_epoch: i64,
}

/// The answer to a remote worker about one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// The lease is valid.
    Until {
        /// The new expiry: not earlier than before, and not later than the job's timeout plus a grace period.
        expires_at: DateTime<Utc>,
        /// Whether a user asked to cancel the job.
        cancel_requested: bool,
        /// Whether the job's timeout has passed. The reaper then ends the attempt soon.
        timed_out: bool,
        /// Time left until then. `None` if it has passed, or if the job has no timeout.
        times_out_in: Option<Duration>,
        /// Who holds it.
        worker_id: Option<WorkerId>,
    },
    /// The lease was lost or already used.
    Stale,
}

impl Store {
    /// Registers a worker, also again after a command has changed it. This counts as its first heartbeat.
    pub async fn register_worker(&self, worker: &WorkerEntry) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.register
            INSERT INTO jobqueue.worker (id, name, queues, kinds, slots, version, stale_ms, host, paused, language, started_at, beat_at, steady_since)
            VALUES ($1, $2, $3, $7, $4, $5, $6, $8, $9, 'rust', jobqueue.now(), jobqueue.now(), jobqueue.now())
            ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, stale_ms = excluded.stale_ms, queues = excluded.queues,
                                           slots = excluded.slots, paused = excluded.paused, steady_since = excluded.steady_since",
            worker.id.as_uuid(),
            worker.name,
            &worker.queues,
            i32::try_from(worker.slots).unwrap_or(i32::MAX),
            worker.version,
            to_ms(worker.stale_after),
            worker.kinds.get(..KINDS_SHOWN).unwrap_or(&worker.kinds),
            worker.host,
            worker.paused,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Records a heartbeat, renews those of the `held` leases with less than two thirds of `duration` left, and releases the worker's
    /// other leases, as far as `held` is known to be complete.
    pub async fn heartbeat(
        &self,
        worker: WorkerId,
        duration: Duration,
        state: &WorkerState,
        held: &HeldLeases,
    ) -> Result<Beat, StoreError> {
        let mut unit = self.one().await?;
        // The gap of 0.4 is `core::outage::longest_gap`. A call draws one number and grants up to 1000 epochs from it on; the first
        // number is 1. After a failover that lost epochs, what is known of them means nothing.
        let row = sqlx::query!(
            r#"-- store.heartbeat
            WITH beat AS (
                UPDATE jobqueue.worker SET beat_at = jobqueue.now(), draining = $3, rss_bytes = $6::int * 1024::bigint, jobs_per_minute = $7,
                       steady_since = CASE WHEN beat_at < jobqueue.now() - stale_ms * interval '0.4 ms' THEN jobqueue.now()
                                           ELSE steady_since END
                WHERE id = $1 RETURNING id),
            newest AS MATERIALIZED (SELECT coalesce(pg_sequence_last_value('jobqueue.lease_epoch') + 999, 0) AS epoch),
            mine AS MATERIALIZED (SELECT epoch, expires_at FROM jobqueue.lease WHERE worker_id = $1),
            held AS MATERIALIZED (SELECT unnest($4::bigint[]) AS epoch)
            SELECT EXISTS (SELECT FROM beat) AS "known!",
                   ARRAY(SELECT job_id FROM jobqueue.cancel_request WHERE worker_id = $1) AS "cancelled!",
                   ARRAY(SELECT epoch FROM held EXCEPT SELECT epoch FROM mine) AS "lost!",
                   ARRAY(SELECT epoch FROM mine WHERE expires_at < jobqueue.now() + $2::bigint * interval '0.667 ms'
                         INTERSECT SELECT epoch FROM held) AS "due!",
                   ARRAY(SELECT m.epoch FROM mine m, newest n
                         WHERE m.expires_at > jobqueue.now() AND m.epoch <= $5 AND $5 <= n.epoch
                         EXCEPT SELECT epoch FROM held) AS "strays!",
                   (SELECT json_agg(json_build_array(c.id, c.command, c.arguments) ORDER BY c.id)::text FROM jobqueue.worker_command c
                    WHERE c.worker_id = $1 AND c.acknowledged_at IS NULL) AS commands,
                   (SELECT epoch FROM newest) AS "newest_epoch!""#,
            worker.as_uuid(),
            to_ms(duration),
            state.draining,
            &held.epochs,
            held.known_up_to,
            state.rss_bytes.map(|bytes| i32::try_from(bytes / 1024).unwrap_or(i32::MAX)),
            i32::try_from(state.jobs_per_minute).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        if !row.due.is_empty() {
            self.renew(worker, &row.due, duration).await?;
        }
        if !row.strays.is_empty() {
            self.give_back(worker, &row.strays).await?;
        }
        let commands = SentCommand::read(row.commands.as_deref())?;
        if !commands.is_empty() {
            self.delivered(worker, &commands).await?;
        }
        Ok(Beat {
            known: row.known,
            commands,
            cancelled: row.cancelled.into_iter().map(JobId::from_uuid).collect(),
            lost: row.lost,
            given_back: row.strays.len(),
            newest_epoch: row.newest_epoch,
        })
    }

    /// Renews leases. This is not part of the heartbeat statement, which must not wait for a lock. Leases are locked in the order that all
    /// statements use.
    async fn renew(&self, worker: WorkerId, epochs: &[i64], duration: Duration) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.heartbeat.renew
            UPDATE jobqueue.lease SET expires_at = jobqueue.now() + $3::bigint * interval '1 ms'
            WHERE epoch = ANY (ARRAY(
                SELECT epoch FROM jobqueue.lease WHERE epoch = ANY ($2) AND worker_id = $1 ORDER BY epoch FOR UPDATE))",
            worker.as_uuid(),
            epochs,
            to_ms(duration),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Makes leases that no worker runs expire now, so that `reclaim` ends them. One that is locked waits for the next heartbeat.
    async fn give_back(&self, worker: WorkerId, epochs: &[i64]) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.heartbeat.give_back
            UPDATE jobqueue.lease SET expires_at = jobqueue.now()
            WHERE epoch = ANY (ARRAY(
                SELECT epoch FROM jobqueue.lease WHERE epoch = ANY ($2) AND worker_id = $1 ORDER BY epoch FOR UPDATE SKIP LOCKED))",
            worker.as_uuid(),
            epochs,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Deletes the row of a worker that has ended. If it still holds leases, `reclaim` ends them.
    pub async fn unregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!("-- store.unregister\nDELETE FROM jobqueue.worker WHERE id = $1", worker.as_uuid())
            .execute(&mut *unit)
            .await?;
        unit.commit().await
    }

    /// Renews leases of remote workers. Returns one answer each, in order. A lease of several jobs is renewed
    /// for all of them. No lease is shortened.
    pub async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<Extended>, StoreError> {
        let epochs: Vec<i64> = leases.iter().map(Lease::epoch).collect();
        let tokens: Vec<Uuid> = leases.iter().map(Lease::token).collect();
        let ordinals: Vec<i32> = leases.iter().map(|lease| i32::from(lease.ordinal())).collect();
        let mut unit = self.begin().await?;
        let rows = sqlx::query!(
            r#"-- store.extend
            WITH renewed AS (
                UPDATE jobqueue.lease l SET expires_at = greatest(l.expires_at, jobqueue.now() + $4::bigint * interval '1 ms')
                WHERE l.epoch = ANY (ARRAY(
                    SELECT i.epoch
                    FROM (SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[]) AS i (epoch, token, ordinal) ORDER BY epoch) i
                    CROSS JOIN LATERAL (SELECT open FROM jobqueue.lease WHERE epoch = i.epoch AND token = i.token LIMIT 1 FOR UPDATE) x
                    WHERE (x.open >> i.ordinal) & 1 = 1))
                RETURNING l.epoch, l.token, l.worker_id, l.open, l.leased_at, l.expires_at)
            SELECT i.place AS "place!", r.worker_id, r.expires_at,
                   r.leased_at + (SELECT coalesce(b.timeout_ms, (SELECT k.timeout_ms FROM jobqueue.kind k WHERE k.id = b.kind))
                                  FROM jobqueue.body b WHERE b.id = j.job_id) * interval '1 ms' AS times_out_at,
                   coalesce((SELECT c.epoch FROM jobqueue.cancel_request c WHERE c.job_id = j.job_id) = i.epoch, false) AS "asked!",
                   (SELECT jobqueue.now()) AS "now!"
            FROM unnest($1::bigint[], $2::uuid[], $3::int[]) WITH ORDINALITY AS i (epoch, token, ordinal, place)
            JOIN renewed r ON r.epoch = i.epoch AND r.token = i.token AND (r.open >> i.ordinal) & 1 = 1
            CROSS JOIN LATERAL (SELECT job_ids[i.ordinal + 1] AS job_id FROM jobqueue.lease_jobs WHERE epoch = i.epoch LIMIT 1) j"#,
            &epochs,
            &tokens,
            &ordinals,
            to_ms(duration),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let mut answers = vec![Extended::Stale; leases.len()];
        for row in rows {
            let place = usize::try_from(row.place - 1).ok();
            if let Some(answer) = place.and_then(|place| answers.get_mut(place)) {
                let ends_at = row.times_out_at.map(|at| at + REMOTE_TIMEOUT_GRACE);
                let left = row.times_out_at.and_then(|at| (at - row.now).to_std().ok());
                *answer = Extended::Until {
                    expires_at: ends_at.map_or(row.expires_at, |ends_at| ends_at.min(row.expires_at)),
                    cancel_requested: row.asked,
                    timed_out: row.times_out_at.is_some_and(|at| at <= row.now),
                    times_out_in: left.filter(|left| !left.is_zero()),
                    worker_id: row.worker_id.map(WorkerId::from_uuid),
                };
            }
        }
        Ok(answers)
    }
}
