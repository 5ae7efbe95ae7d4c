//! cancel: a waiting job at once, a running one by asking its worker. One winner: whoever holds the row's lock first.

use std::collections::HashMap;

use jobqueue_core::{Failure, JobId, Status};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::row::{failure_text, final_status};
use crate::unique;

/// How often a job may slip from one place to the next while we look for it.
const LOOKS: u32 = 10;

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited; it is cancelled and will never start.
    Now,
    /// It runs; its worker hears of it with the next heartbeat. It may still finish first.
    Asked,
    /// Too late, or done before: this is its final status.
    Already(Status),
    /// There is no such job.
    Unknown,
}

impl Store {
    /// Cancels jobs; one answer each, in order.
    pub async fn cancel(&self, ids: &[JobId], reason: &Failure) -> Result<Vec<Cancelled>, StoreError> {
        let mut done: HashMap<JobId, Cancelled> = HashMap::new();
        for _ in 0..LOOKS {
            let open: Vec<JobId> = ids.iter().copied().filter(|id| !done.contains_key(id)).collect();
            if open.is_empty() {
                break;
            }
            match self.cancel_once(&open, reason).await {
                Ok(found) => done.extend(found),
                Err(error) if error.is_collision() => {}
                Err(error) => return Err(error),
            }
        }
        ids.iter().map(|id| done.get(id).copied().ok_or_else(restless)).collect()
    }

    /// Cancels those of them that stand still meanwhile.
    async fn cancel_once(
        &self,
        ids: &[JobId],
        reason: &Failure,
    ) -> Result<Vec<(JobId, Cancelled)>, StoreError> {
        let mut unit = self.begin().await?;
        let withdrawn = Self::withdraw(&mut unit, ids, reason, true).await?;
        let open: Vec<JobId> = ids.iter().copied().filter(|id| !withdrawn.contains(id)).collect();
        let asked = Self::ask(&mut unit, &open).await?;
        let open: Vec<JobId> = open.into_iter().filter(|id| !asked.contains(id)).collect();
        let mut found = Self::already(&mut unit, &open).await?;
        unit.commit().await?;
        found.extend(withdrawn.into_iter().map(|id| (id, Cancelled::Now)));
        found.extend(asked.into_iter().map(|id| (id, Cancelled::Asked)));
        Ok(found)
    }

    /// Takes waiting jobs out of the queue and makes them cancelled. Answers which; the others run, are final or unknown.
    /// `free` gives their unique keys free too.
    pub(crate) async fn withdraw(
        unit: &mut Unit,
        ids: &[JobId],
        reason: &Failure,
        free: bool,
    ) -> Result<Vec<JobId>, StoreError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let mut sorted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        sorted.sort_unstable();
        let rows = sqlx::query!(
            r#"-- store.withdraw
            WITH target AS MATERIALIZED (SELECT b.id, b.lane, b.unique_digest FROM jobqueue.body b WHERE b.id = ANY ($1)),
            waiting AS MATERIALIZED (
                SELECT r.at FROM target t CROSS JOIN LATERAL (
                    SELECT ctid AS at FROM jobqueue.ready WHERE lane = t.lane AND job_id = t.id LIMIT 1 FOR UPDATE) r),
            queued AS (
                DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM waiting)) RETURNING job_id, lane, attempt),
            later AS (
                DELETE FROM jobqueue.scheduled s WHERE s.job_id = ANY ($1) RETURNING s.job_id, s.lane, s.attempt),
            gone AS (SELECT * FROM queued UNION ALL SELECT * FROM later),
            outcome AS (
                INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at, detail)
                SELECT job_id, 7, attempt, jobqueue.now(), $2::text::json FROM gone),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, cancelled)
                SELECT l.queue_id, count(*)::int FROM gone g JOIN jobqueue.lane l ON l.id = g.lane GROUP BY l.queue_id)
            SELECT g.job_id AS "job_id!", t.unique_digest IS NOT NULL AS "keyed!" FROM gone g JOIN target t ON t.id = g.job_id"#,
            &sorted,
            failure_text(reason),
        )
        .fetch_all(&mut **unit)
        .await?;
        if free {
            let keyed = rows.iter().filter(|row| row.keyed);
            let ended: Vec<_> = keyed.map(|row| (JobId::from_uuid(row.job_id), Status::Cancelled)).collect();
            unique::free(unit, &ended).await?;
        }
        Ok(rows.into_iter().map(|row| JobId::from_uuid(row.job_id)).collect())
    }

    /// Notes the wish on running jobs, under the lock of their lease: a settle comes wholly before or wholly after.
    async fn ask(unit: &mut Unit, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        // a join, for it sorts before it locks; it looks through all leases anyhow
        let asked = sqlx::query_scalar!(
            "-- store.cancel.ask
            WITH held AS (
                SELECT j.job_id, l.epoch, l.worker_id
                FROM jobqueue.lease_jobs h
                CROSS JOIN LATERAL unnest(h.job_ids) WITH ORDINALITY AS j (job_id, place)
                JOIN jobqueue.lease l ON l.epoch = h.epoch
                WHERE h.job_ids && $1 AND j.job_id = ANY ($1) AND (l.open >> (j.place - 1)::int) & 1 = 1
                ORDER BY l.epoch FOR UPDATE OF l)
            INSERT INTO jobqueue.cancel_request (job_id, epoch, worker_id, requested_at)
            SELECT job_id, epoch, worker_id, jobqueue.now() FROM held
            ON CONFLICT (job_id) DO UPDATE SET epoch = excluded.epoch, worker_id = excluded.worker_id
            RETURNING job_id",
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(asked.into_iter().map(JobId::from_uuid).collect())
    }

    /// Those that are final, and those that do not exist.
    async fn already(unit: &mut Unit, ids: &[JobId]) -> Result<Vec<(JobId, Cancelled)>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        // scalar sub-selects: an EXISTS or a join may be planned as one walk of the whole table
        let rows = sqlx::query!(
            r#"-- store.cancel.already
            SELECT i.id AS "id!", (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = i.id) AS "status?",
                   (SELECT b.lane FROM jobqueue.body b WHERE b.id = i.id) IS NOT NULL AS "known!"
            FROM unnest($1::uuid[]) AS i (id)"#,
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?;
        let mut found = Vec::new();
        for row in rows {
            let id = JobId::from_uuid(row.id);
            match (row.status, row.known) {
                (Some(status), _) => found.push((id, Cancelled::Already(final_status(id, status)?))),
                (None, false) => found.push((id, Cancelled::Unknown)),
                (None, true) => {} // on its way from one place to the next: look again
            }
        }
        Ok(found)
    }

    /// Whether the job is final, and stays so until this transaction ends: an operator's retry waits for our lock, and then
    /// finds what we did to the key that the job kept.
    pub(crate) async fn stays_final(unit: &mut Unit, id: JobId) -> Result<bool, StoreError> {
        let row = sqlx::query_scalar!(
            "-- store.stays_final
            SELECT job_id FROM jobqueue.outcome WHERE job_id = $1 FOR UPDATE",
            id.as_uuid()
        );
        Ok(row.fetch_optional(&mut **unit).await?.is_some())
    }
}

/// The job moved each time that we looked.
fn restless() -> StoreError {
    StoreError::Unavailable(sqlx::Error::Protocol("the job kept moving while it was cancelled".to_owned()))
}
