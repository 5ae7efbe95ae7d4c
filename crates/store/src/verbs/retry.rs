//! retry: an operator runs a failed or cancelled job again, with its full number of attempts. Its history is
//! kept.

use std::collections::HashMap;

use jobqueue_core::{JobId, Status};
use uuid::Uuid;

use crate::handles::Jobs;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::row::final_status;
use crate::verbs::audit::Change;
use crate::verbs::snooze;

/// The result of a retry for one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// The job is queued again, or scheduled if its `run_at` is in the future.
    Now,
    /// The job is neither failed nor cancelled. `None` means that it is not final.
    Refused(Option<Status>),
    /// The job's `expires_at` has passed, so its submitter no longer wants it to run.
    Expired,
    /// Another job holds its unique key now.
    KeyTaken,
    /// It was retried with another payload, and the new job took its place.
    Replaced,
    /// No job has this id.
    Unknown,
}

/// What is needed to decide whether a job can be retried.
struct Candidate {
    id: Uuid,
    status: Option<i16>,
    expired: bool,
    replaced: bool,
    digest: Option<Uuid>,
    kept: Option<i16>,
}

impl Jobs<'_> {
    /// Queues failed and cancelled jobs again. Returns one result each, in order.
    pub async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, StoreError> {
        retry_on_conflict(|| self.0.retry_once(ids)).await
    }
}

impl Store {
    async fn retry_once(&self, ids: &[JobId]) -> Result<Vec<Retried>, StoreError> {
        let mut unit = self.begin().await?;
        let retried = Self::retry_within(&mut unit, ids).await?;
        let mut again: Vec<JobId> =
            ids.iter().zip(&retried).filter(|(_, is)| **is == Retried::Now).map(|(id, _)| *id).collect();
        again.sort_unstable();
        again.dedup();
        self.audit(&mut unit, Change::of_jobs("jobs.retry", &again)).await?;
        unit.commit().await?;
        Ok(retried)
    }

    /// The same in the caller's transaction.
    pub(crate) async fn retry_within(unit: &mut Unit, ids: &[JobId]) -> Result<Vec<Retried>, StoreError> {
        let mut answers: HashMap<Uuid, Retried> = HashMap::new();
        let mut again: Vec<Uuid> = Vec::new();
        for candidate in Self::candidates(unit, ids).await? {
            let id = JobId::from_uuid(candidate.id);
            let status = candidate.status.map(|number| final_status(id, number)).transpose()?;
            let answer = match status {
                Some(Status::Failed | Status::Cancelled) if candidate.replaced => Retried::Replaced,
                Some(Status::Failed | Status::Cancelled) if candidate.expired => Retried::Expired,
                Some(Status::Failed | Status::Cancelled) if Self::claim_again(unit, &candidate).await? => {
                    again.push(candidate.id);
                    Retried::Now
                }
                Some(Status::Failed | Status::Cancelled) => Retried::KeyTaken,
                other => Retried::Refused(other),
            };
            answers.insert(candidate.id, answer);
        }
        // An outcome that was inserted after the lock was not locked, so another retry may have deleted it.
        // This retry queues only the jobs whose outcome it deletes itself.
        let queued = sqlx::query_scalar!(
            "-- store.retry
            WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = ANY ($1) AND status <> 5 RETURNING job_id),
            wish AS (DELETE FROM jobqueue.cancel_request WHERE job_id = ANY ($1)),
            again AS MATERIALIZED (
                SELECT id, run_at, lane, kind FROM jobqueue.body WHERE id = ANY (ARRAY(SELECT job_id FROM gone))),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, retried, kinds)
                SELECT l.queue_id, count(*)::int, ARRAY[again.kind]
                FROM again JOIN jobqueue.lane l ON l.id = again.lane GROUP BY l.queue_id, again.kind),
            later AS (
                INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt)
                SELECT id, run_at, lane, kind, 0 FROM again WHERE run_at > jobqueue.now()),
            ready AS (
                INSERT INTO jobqueue.ready (job_id, lane, kind, attempt)
                SELECT id, lane, kind, 0 FROM again WHERE run_at IS NULL OR run_at <= jobqueue.now())
            SELECT id FROM again",
            &again,
        )
        .fetch_all(&mut **unit)
        .await?;
        for id in again.iter().filter(|id| !queued.contains(id)) {
            answers.insert(*id, Retried::Refused(None));
        }
        snooze::reset(unit, &queued).await?;
        Ok(ids.iter().map(|id| answers.get(&id.as_uuid()).copied().unwrap_or(Retried::Unknown)).collect())
    }

    /// Locks the outcomes, in the order that all transactions use. Of two retries of one job, the second
    /// finds it queued.
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
                   coalesce(b.expires_at <= jobqueue.now(), false) AS "expired!",
                   (SELECT r.job_id FROM jobqueue.replacement r WHERE r.job_id = b.id) IS NOT NULL AS "replaced!",
                   b.unique_digest AS digest, b.unique_kept AS kept
            FROM jobqueue.body b
            WHERE b.id = ANY ($1) ORDER BY b.unique_digest, b.id"#,
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// Claims the job's unique key. True if the job holds it now, or has none.
    async fn claim_again(unit: &mut Unit, candidate: &Candidate) -> Result<bool, StoreError> {
        let Some(digest) = candidate.digest else { return Ok(true) };
        let holder = Self::claim_for(unit, digest, candidate.id, candidate.kept.unwrap_or(0)).await?;
        Ok(holder.is_none())
    }

    /// Claims a key for a job. Returns the other job that holds it.
    pub(crate) async fn claim_for(
        unit: &mut Unit,
        digest: Uuid,
        job: Uuid,
        kept: i16,
    ) -> Result<Option<Uuid>, StoreError> {
        // a key can be freed between the failed insert and the read of its holder: then insert again
        loop {
            sqlx::query!(
                "-- store.retry.claim
                INSERT INTO jobqueue.unique_claim (digest, job_id, kept) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                digest,
                job,
                kept,
            )
            .execute(&mut **unit)
            .await?;
            let holder =
                sqlx::query_scalar!("SELECT job_id FROM jobqueue.unique_claim WHERE digest = $1", digest);
            if let Some(holder) = holder.fetch_optional(&mut **unit).await? {
                return Ok((holder != job).then_some(holder));
            }
        }
    }
}
