//! reclaim: jobs of dead workers and of expired leases go back to the queue, by the same decision and the same settle as any
//! other end of an attempt.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::{JobId, Outcome, QueueName, settle};
use uuid::Uuid;

use crate::again::on_collision;
use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::lease::{readable, right_to};
use crate::row::to_ms;
use crate::settle::{AttemptEnd, Settled};

/// What a reclaim did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Jobs whose attempt was lost.
    pub jobs: Vec<JobId>,
    /// Queues with work again, for waking their workers.
    pub queues: Vec<QueueName>,
}

struct LostLease {
    epoch: i64,
    token: Uuid,
    open: i64,
    job_ids: Vec<Uuid>,
    attempts: Vec<i16>,
}

impl Store {
    /// Ends the attempts of up to `limit` leases whose worker has been silent for longer than it said when it
    /// registered, or whose own time is up.
    ///
    /// Does nothing until the database has been up for `hold_off`: after an outage every worker looks dead, and all that was
    /// running would run twice. A worker that may be silent for longer is waited for as long. Zero switches this off. Safe in many
    /// processes at once.
    pub async fn reclaim(&self, hold_off: Duration, limit: u32) -> Result<Reclaimed, StoreError> {
        on_collision(|| self.reclaim_once(hold_off, limit)).await
    }

    /// How long ago the last heartbeat of any worker was, if there is a worker.
    pub async fn silence(&self) -> Result<Option<Duration>, StoreError> {
        let mut unit = self.one().await?;
        let ms = sqlx::query_scalar!(
            "-- store.silence
            SELECT (extract(epoch FROM jobqueue.now() - max(beat_at)) * 1000)::bigint FROM jobqueue.worker"
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    async fn reclaim_once(&self, hold_off: Duration, limit: u32) -> Result<Reclaimed, StoreError> {
        let mut unit = self.begin().await?;
        let lost = Self::lost(&mut unit, hold_off, limit).await?;
        let mut reclaimed = Reclaimed::default();
        if lost.is_empty() {
            return Ok(reclaimed);
        }
        let (ends, queues) = self.lost_attempts(&mut unit, lost).await?;
        let ids: Vec<JobId> = ends.iter().map(|end| end.lease.job_id()).collect();
        let settled = Self::settle_in(&mut unit, ends).await?;
        unit.commit().await?;
        reclaimed.jobs = ids
            .into_iter()
            .zip(settled)
            .filter(|(_, settled)| *settled != Settled::Stale)
            .map(|(id, _)| id)
            .collect();
        reclaimed.queues = queues.into_iter().collect();
        Ok(reclaimed)
    }

    async fn lost(unit: &mut Unit, hold_off: Duration, limit: u32) -> Result<Vec<LostLease>, StoreError> {
        Ok(sqlx::query_as!(
            LostLease,
            "-- store.reclaim
            SELECT l.epoch, l.token, l.open, j.job_ids, j.attempts
            FROM jobqueue.lease l
            CROSS JOIN LATERAL (SELECT job_ids, attempts FROM jobqueue.lease_jobs WHERE epoch = l.epoch LIMIT 1) j
            LEFT JOIN jobqueue.worker w ON w.id = l.worker_id
            WHERE (l.expires_at < jobqueue.now()
                   OR l.worker_id IS NOT NULL
                      AND (w.id IS NULL OR w.beat_at < jobqueue.now() - w.stale_ms * interval '1 ms'))
              AND ($1::bigint = 0 OR clock_timestamp() > pg_postmaster_start_time()
                                                 + greatest($1, coalesce(w.stale_ms, 0)) * interval '1 ms')
            ORDER BY l.epoch LIMIT $2 FOR UPDATE OF l SKIP LOCKED",
            to_ms(hold_off),
            i64::from(limit),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    async fn lost_attempts(
        &self,
        unit: &mut Unit,
        lost: Vec<LostLease>,
    ) -> Result<(Vec<AttemptEnd>, BTreeSet<QueueName>), StoreError> {
        let ids: Vec<Uuid> = lost.iter().flat_map(|lease| lease.job_ids.iter().copied()).collect();
        let mut bodies = self.body_rows(unit, &ids).await?;
        let mut ends = Vec::new();
        let mut queues = BTreeSet::new();
        for lease in lost {
            for (place, (id, attempt)) in lease.job_ids.into_iter().zip(lease.attempts).enumerate() {
                if (lease.open >> place) & 1 == 0 {
                    continue;
                }
                let right = right_to(lease.epoch, lease.token, id, place, attempt)?;
                let body = bodies.remove(&id);
                let holds_key = body.as_ref().is_some_and(|body| body.stored.unique_key.is_some());
                let settlement = readable(right.job_id(), body, attempt).map_or_else(
                    |unreadable| unreadable,
                    |job| {
                        let settlement = settle(&job, Outcome::LeaseLost, rand::random());
                        queues.insert(job.queue);
                        settlement
                    },
                );
                ends.push(AttemptEnd { lease: right, settlement, ran: None, holds_key });
            }
        }
        Ok((ends, queues))
    }
}
