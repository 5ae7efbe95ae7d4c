//! heartbeat: a worker says that it lives, and learns what it should stop. One row a worker, whatever it runs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, Lease, WorkerId};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::to_ms;

/// A worker process, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerEntry {
    /// Drawn anew at every start, so a reused name never inherits a lease.
    pub id: WorkerId,
    /// For humans: the host or pod.
    pub name: String,
    /// Queues it leases from.
    pub queues: Vec<String>,
    /// Jobs that it runs at once.
    pub slots: u32,
    /// Version of its build.
    pub version: String,
    /// The silence after which it counts as dead, at least two of its heartbeats. By this and nothing else is it reclaimed.
    pub stale_after: Duration,
}

/// What a worker learns from its heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// False if it was forgotten, after it had been silent for long: it must register again.
    pub known: bool,
    /// Jobs that a user wants stopped.
    pub cancelled: Vec<JobId>,
    /// Epochs of the leases that it still holds. A running job of another epoch has been taken away, if it was leased before
    /// this heartbeat was sent.
    pub held: Vec<i64>,
}

/// What a remote worker learns about one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It lasts until then.
    Until {
        /// The new end.
        expires_at: DateTime<Utc>,
        /// A user wants the job stopped.
        cancel_requested: bool,
    },
    /// It was lost or used.
    Stale,
}

impl Store {
    /// Makes a worker known; its first heartbeat.
    pub async fn register_worker(&self, worker: &WorkerEntry) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.register
            INSERT INTO jobqueue.worker (id, name, queues, slots, version, stale_ms, started_at, beat_at)
            VALUES ($1, $2, $3, $4, $5, $6, jobqueue.now(), jobqueue.now())
            ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, stale_ms = excluded.stale_ms",
            worker.id.as_uuid(),
            worker.name,
            &worker.queues,
            i32::try_from(worker.slots).unwrap_or(i32::MAX),
            worker.version,
            to_ms(worker.stale_after),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Renews what the worker holds: its beat, and leases that have less than two thirds of `duration` left. Of an id that the
    /// worker has given up only the leases that it still knows (`known`) are renewed: nobody runs the others.
    pub async fn heartbeat(
        &self,
        worker: WorkerId,
        duration: Duration,
        draining: bool,
        known: Option<&[i64]>,
    ) -> Result<Beat, StoreError> {
        let mut unit = self.one().await?;
        let row = sqlx::query!(
            r#"-- store.heartbeat
            WITH beat AS (
                UPDATE jobqueue.worker SET beat_at = jobqueue.now(), draining = $3 WHERE id = $1 RETURNING id)
            SELECT EXISTS (SELECT FROM beat) AS "known!",
                   ARRAY(SELECT job_id FROM jobqueue.cancel_request WHERE worker_id = $1) AS "cancelled!",
                   coalesce(mine.held, '{}') AS "held!", coalesce(mine.due, false) AS "due!"
            FROM (SELECT array_agg(epoch) AS held,
                         bool_or(expires_at < jobqueue.now() + $2::bigint * interval '0.667 ms' AND ($4::bigint[] IS NULL OR epoch = ANY ($4))) AS due
                  FROM jobqueue.lease WHERE worker_id = $1) mine"#,
            worker.as_uuid(),
            to_ms(duration),
            draining,
            known,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        if row.due {
            self.renew(worker, duration, known).await?;
        }
        let cancelled = row.cancelled.into_iter().map(JobId::from_uuid).collect();
        Ok(Beat { known: row.known, cancelled, held: row.held })
    }

    /// Renews leases that have less than two thirds left. Apart from the beat, which must not wait for a lock; in the order in
    /// which everybody locks leases.
    async fn renew(
        &self,
        worker: WorkerId,
        duration: Duration,
        known: Option<&[i64]>,
    ) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.heartbeat.renew
            UPDATE jobqueue.lease SET expires_at = jobqueue.now() + $2::bigint * interval '1 ms'
            WHERE epoch = ANY (ARRAY(
                SELECT epoch FROM jobqueue.lease
                WHERE worker_id = $1 AND ($3::bigint[] IS NULL OR epoch = ANY ($3)) AND expires_at < jobqueue.now() + $2::bigint * interval '0.667 ms'
                ORDER BY epoch FOR UPDATE))",
            worker.as_uuid(),
            to_ms(duration),
            known,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Forgets a worker that ended well. One that still holds leases is left to `reclaim`.
    pub async fn unregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!("-- store.unregister\nDELETE FROM jobqueue.worker WHERE id = $1", worker.as_uuid())
            .execute(&mut *unit)
            .await?;
        unit.commit().await
    }

    /// Renews the leases of a remote worker, one answer each, in order. A lease that covers several jobs is renewed for all.
    pub async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<Extended>, StoreError> {
        let epochs: Vec<i64> = leases.iter().map(Lease::epoch).collect();
        let tokens: Vec<Uuid> = leases.iter().map(Lease::token).collect();
        let ordinals: Vec<i32> = leases.iter().map(|lease| i32::from(lease.ordinal())).collect();
        let mut unit = self.begin().await?;
        let rows = sqlx::query!(
            r#"-- store.extend
            WITH renewed AS (
                UPDATE jobqueue.lease l SET expires_at = jobqueue.now() + $4::bigint * interval '1 ms'
                WHERE l.epoch = ANY (ARRAY(
                    SELECT i.epoch
                    FROM (SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[]) AS i (epoch, token, ordinal) ORDER BY epoch) i
                    CROSS JOIN LATERAL (SELECT open FROM jobqueue.lease WHERE epoch = i.epoch AND token = i.token LIMIT 1 FOR UPDATE) x
                    WHERE (x.open >> i.ordinal) & 1 = 1))
                RETURNING l.epoch, l.token, l.open, l.expires_at)
            SELECT i.place AS "place!", r.expires_at,
                   coalesce((SELECT c.epoch FROM jobqueue.cancel_request c
                             WHERE c.job_id = (SELECT j.job_ids[i.ordinal + 1] FROM jobqueue.lease_jobs j WHERE j.epoch = i.epoch))
                            = i.epoch, false) AS "asked!"
            FROM unnest($1::bigint[], $2::uuid[], $3::int[]) WITH ORDINALITY AS i (epoch, token, ordinal, place)
            JOIN renewed r ON r.epoch = i.epoch AND r.token = i.token AND (r.open >> i.ordinal) & 1 = 1"#,
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
                *answer = Extended::Until { expires_at: row.expires_at, cancel_requested: row.asked };
            }
        }
        Ok(answers)
    }
}
