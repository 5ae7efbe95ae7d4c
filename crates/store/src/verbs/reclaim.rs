//! reclaim: ends the attempts of dead workers and of expired leases. It uses the same decision and the same
//! settle as any other end of an attempt.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{Job, JobId, Outage, OutagePolicy, Outcome, QueueName, Ties, settle};
use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::kind_settings::SettingsOfKinds;
use crate::readers::row::BodyRow;
use crate::verbs::lease::job::{lease_at, readable};
use crate::verbs::settle::end::{AttemptEnd, Settled};
use observe::Silence;

mod observe;
mod overrun;

/// The result of a reclaim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Jobs whose attempt was lost.
    pub jobs: Vec<JobId>,
    /// Queues of these jobs, to wake their workers.
    pub queues: Vec<QueueName>,
    /// The outage of the database that this call detected, for the log. The first call on a database never
    /// sets it.
    pub outage: Option<Outage>,
}

/// Which leases are lost.
struct Lost {
    /// Workers that sent no heartbeat although the database was up.
    workers: Vec<Uuid>,
    /// Leases that expired before this timestamp are lost.
    before: DateTime<Utc>,
}

struct LostLease {
    epoch: i64,
    token: Uuid,
    open: i64,
    job_ids: Vec<Uuid>,
    attempts: Vec<i16>,
}

impl Store {
    /// Ends the attempts of up to `limit` leases that were not renewed in time, or whose worker is dead. A
    /// worker is dead if it was silent for longer than the `stale_after` that it registered.
    ///
    /// Silence counts only while the database was up. After a long outage the database must have been up for
    /// at least `hold_off`: see [`OutagePolicy`]. Zero means that outages are ignored. Several processes may
    /// call this at the same time.
    pub async fn reclaim(&self, hold_off: Duration, limit: u32) -> Result<Reclaimed, StoreError> {
        let policy = OutagePolicy { hold_off };
        let seen = self.observe(policy).await?;
        let dead = |silence: &&Silence| {
            policy.is_dead((silence.beat_at, silence.stale_after), seen.observation.now, &seen.outages)
        };
        let lost = Lost {
            workers: seen.silent.iter().filter(dead).map(|silence| silence.worker_id).collect(),
            before: policy.lost_before(seen.observation.now, &seen.outages),
        };
        let reclaimed = retry_on_conflict(|| self.reclaim_once(&lost, limit)).await?;
        let outage = seen.new_outage.filter(|_| seen.observation.seen_at.is_some());
        Ok(Reclaimed { outage, ..reclaimed })
    }

    async fn reclaim_once(&self, lost: &Lost, limit: u32) -> Result<Reclaimed, StoreError> {
        let mut unit = self.begin().await?;
        let leases = Self::lost_leases(&mut unit, lost, limit).await?;
        if leases.is_empty() {
            return Ok(Reclaimed::default());
        }
        let (ends, queues) = self.end_open(&mut unit, leases, |_| Outcome::LeaseLost).await?;
        Self::settle_lost(unit, ends, queues).await
    }

    async fn settle_lost(
        mut unit: Unit,
        ends: Vec<AttemptEnd>,
        queues: BTreeSet<QueueName>,
    ) -> Result<Reclaimed, StoreError> {
        let mut reclaimed = Reclaimed::default();
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

    /// Locks the lost leases. A worker that has sent a heartbeat meanwhile is not dead.
    async fn lost_leases(unit: &mut Unit, lost: &Lost, limit: u32) -> Result<Vec<LostLease>, StoreError> {
        Ok(sqlx::query_as!(
            LostLease,
            "-- store.reclaim
            SELECT l.epoch, l.token, l.open, j.job_ids, j.attempts
            FROM jobqueue.lease l
            CROSS JOIN LATERAL (SELECT job_ids, attempts FROM jobqueue.lease_jobs WHERE epoch = l.epoch LIMIT 1) j
            LEFT JOIN jobqueue.worker w ON w.id = l.worker_id
            WHERE l.expires_at < $1
               OR l.worker_id IS NOT NULL
                  AND (w.id IS NULL
                       OR w.id = ANY ($2) AND w.beat_at < jobqueue.now() - w.stale_ms * interval '1 ms')
            ORDER BY l.epoch LIMIT $3 FOR UPDATE OF l SKIP LOCKED",
            lost.before,
            &lost.workers,
            i64::from(limit),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// The ends of all jobs of these leases that are still open.
    async fn end_open(
        &self,
        unit: &mut Unit,
        lost: Vec<LostLease>,
        outcome: impl Fn(&Job) -> Outcome,
    ) -> Result<(Vec<AttemptEnd>, BTreeSet<QueueName>), StoreError> {
        let ids: Vec<Uuid> = lost.iter().flat_map(|lease| lease.job_ids.iter().copied()).collect();
        let mut bodies = self.body_rows(unit, &ids).await?;
        let settings = SettingsOfKinds::read(unit).await?;
        let mut ends = Vec::new();
        let mut queues = BTreeSet::new();
        for lease in lost {
            for (place, (id, attempt)) in lease.job_ids.into_iter().zip(lease.attempts).enumerate() {
                if (lease.open >> place) & 1 == 0 {
                    continue;
                }
                let body = bodies.remove(&id);
                let ties = body.as_ref().map_or(Ties::UNKNOWN, BodyRow::ties);
                let right = lease_at(lease.epoch, lease.token, id, place, attempt)?.with_ties(ties);
                let settlement = readable(right.job_id(), body, attempt, &settings).map_or_else(
                    |unreadable| unreadable,
                    |job| {
                        let settlement = settle(&job, outcome(&job), rand::random());
                        queues.insert(job.queue);
                        settlement
                    },
                );
                ends.push(AttemptEnd { lease: right, settlement, ran: None });
            }
        }
        Ok((ends, queues))
    }
}
