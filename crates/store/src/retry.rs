//! retry: an operator runs a failed or cancelled job again, with all its attempts. Its history stays.

use std::collections::HashMap;

use jobqueue_core::{JobId, Status};
use uuid::Uuid;

use crate::again::on_collision;
use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::row::final_status;

/// What a retry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is queued again, or scheduled if its `run_at` is still ahead.
    Now,
    /// It is not a failed or cancelled job: still live, or completed. `None` stands for live.
    Refused(Option<Status>),
    /// Its `expires_at` has passed; running it is pointless by its submitter's word.
    Expired,
    /// Another job holds its unique key now.
    KeyTaken,
    /// There is no such job.
    Unknown,
}

/// What is known of a job that shall run again.
struct Candidate {
    id: Uuid,
    status: Option<i16>,
    expired: bool,
    digest: Option<Uuid>,
    kept: Option<i16>,
}

impl Store {
    /// Queues failed and cancelled jobs again; one answer each, in order.
    pub async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, StoreError> {
        on_collision(|| self.retry_once(ids)).await
    }

    async fn retry_once(&self, ids: &[JobId]) -> Result<Vec<Retried>, StoreError> {
        let mut unit = self.begin().await?;
        let mut answers: HashMap<Uuid, Retried> = HashMap::new();
        let mut again: Vec<Uuid> = Vec::new();
        for candidate in Self::candidates(&mut unit, ids).await? {
            let id = JobId::from_uuid(candidate.id);
            let status = candidate.status.map(|number| final_status(id, number)).transpose()?;
            let answer = match status {
                Some(Status::Failed | Status::Cancelled) if candidate.expired => Retried::Expired,
                Some(Status::Failed | Status::Cancelled)
                    if Self::claim_again(&mut unit, &candidate).await? =>
                {
                    again.push(candidate.id);
                    Retried::Now
                }
                Some(Status::Failed | Status::Cancelled) => Retried::KeyTaken,
                other => Retried::Refused(other),
            };
            answers.insert(candidate.id, answer);
        }
        // what became final after the lock may be another retry's by now: whose outcome is deleted here is ours
        sqlx::query!(
            "-- store.retry
            WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = ANY ($1) AND status <> 5 RETURNING job_id),
            wish AS (DELETE FROM jobqueue.cancel_request WHERE job_id = ANY ($1)),
            again AS MATERIALIZED (
                SELECT id, run_at, lane, kind FROM jobqueue.body WHERE id = ANY (ARRAY(SELECT job_id FROM gone))),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, retried)
                SELECT l.queue_id, count(*)::int FROM again JOIN jobqueue.lane l ON l.id = again.lane GROUP BY l.queue_id),
            later AS (
                INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt)
                SELECT id, run_at, lane, kind, 0 FROM again WHERE run_at > jobqueue.now())
            INSERT INTO jobqueue.ready (job_id, lane, kind, attempt)
            SELECT id, lane, kind, 0 FROM again WHERE run_at IS NULL OR run_at <= jobqueue.now()",
            &again,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(ids.iter().map(|id| answers.get(&id.as_uuid()).copied().unwrap_or(Retried::Unknown)).collect())
    }

    /// Locks the outcomes, in one order everywhere, so that of two retries one finds the job live.
    async fn candidates(unit: &mut Unit, ids: &[JobId]) -> Result<Vec<Candidate>, StoreError> {
        let mut wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        sqlx::query!(
            "-- store.retry.lock
            SELECT job_id FROM jobqueue.outcome WHERE job_id = ANY ($1) ORDER BY job_id FOR UPDATE",
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(sqlx::query_as!(
            Candidate,
            r#"-- store.retry.candidates
            SELECT b.id, (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = b.id) AS "status?",
                   coalesce(b.expires_at <= jobqueue.now(), false) AS "expired!", b.unique_digest AS digest, b.unique_kept AS kept
            FROM jobqueue.body b
            WHERE b.id = ANY ($1) ORDER BY b.unique_digest, b.id"#,
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// Whether the job holds its unique key (again); true if it has none.
    async fn claim_again(unit: &mut Unit, candidate: &Candidate) -> Result<bool, StoreError> {
        let Some(digest) = candidate.digest else { return Ok(true) };
        // a key can be given free between the failed insert and the look at its holder: then insert again
        loop {
            sqlx::query!(
                "-- store.retry.claim
                INSERT INTO jobqueue.unique_claim (digest, job_id, kept) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                digest,
                candidate.id,
                candidate.kept.unwrap_or(0),
            )
            .execute(&mut **unit)
            .await?;
            let holder =
                sqlx::query_scalar!("SELECT job_id FROM jobqueue.unique_claim WHERE digest = $1", digest);
            if let Some(holder) = holder.fetch_optional(&mut **unit).await? {
                return Ok(holder == candidate.id);
            }
        }
    }
}
