//! cancel: cancels a waiting job immediately, and asks the worker of a running job to stop it. If several
//! transactions want the same job, the first one that locks its row wins.

use std::collections::{BTreeSet, HashMap};

use jobqueue_core::{Failure, JobId, Settlement, Status, Ties, WorkerId};
use uuid::Uuid;

use crate::handles::Jobs;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::{failure_text, final_status};
use crate::verbs::aftermath;
use crate::verbs::audit::Change;

/// Maximum number of tries to find a job that moves from one place to another meanwhile.
const TRIES: u32 = 10;

/// What a transaction did.
pub(crate) struct CancelStep {
    /// The result of each job that did not move meanwhile.
    pub(crate) found: Vec<(JobId, Cancelled)>,
    /// Workers of the running jobs, for a hint after the commit.
    pub(crate) workers: Vec<WorkerId>,
    /// Jobs that were changed. A job whose worker had been asked before is not one of them.
    changed: Vec<JobId>,
}

/// The running jobs among those to cancel.
#[derive(Default)]
struct Asked {
    jobs: Vec<JobId>,
    workers: Vec<WorkerId>,
    /// Those that were not asked before.
    new: Vec<JobId>,
}

/// The result of a cancel for one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The job was waiting. It is cancelled now.
    Now,
    /// The job runs. Its worker learns of the request with the next heartbeat, which a notification requests at once. The
    /// job may still finish before.
    Asked,
    /// The job was final already, with this status.
    Already(Status),
    /// No job has this id.
    Unknown,
}

impl Jobs<'_> {
    /// Cancels jobs. Returns one result each, in order.
    pub async fn cancel(&self, ids: &[JobId], reason: &Failure) -> Result<Vec<Cancelled>, StoreError> {
        let mut done: HashMap<JobId, Cancelled> = HashMap::new();
        for attempt in 0..TRIES {
            let open: Vec<JobId> = ids.iter().copied().filter(|id| !done.contains_key(id)).collect();
            if open.is_empty() {
                break;
            }
            match self.0.cancel_once(&open, reason, attempt > 0).await {
                Ok(found) => done.extend(found),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        ids.iter().map(|id| done.get(id).copied().ok_or_else(kept_moving)).collect()
    }
}

impl Store {
    /// Cancels those jobs that do not move from one place to another meanwhile. `again`: they moved before, so edits have to wait now.
    async fn cancel_once(
        &self,
        ids: &[JobId],
        reason: &Failure,
        again: bool,
    ) -> Result<Vec<(JobId, Cancelled)>, StoreError> {
        let mut unit = self.begin().await?;
        if again {
            Self::hold_off_edits(&mut unit, ids).await?;
        }
        let CancelStep { found, workers, changed } = Self::cancel_within(&mut unit, ids, reason).await?;
        self.audit(&mut unit, Change::of_jobs("jobs.cancel", &changed)).await?;
        unit.commit().await?;
        self.hint_heartbeats(&workers).await;
        Ok(found)
    }

    /// The same in the caller's transaction.
    pub(crate) async fn cancel_within(
        unit: &mut Unit,
        ids: &[JobId],
        reason: &Failure,
    ) -> Result<CancelStep, StoreError> {
        let withdrawn = Self::withdraw(unit, ids, reason).await?;
        let open: Vec<JobId> = ids.iter().copied().filter(|id| !withdrawn.contains(id)).collect();
        let asked = Self::ask(unit, &open).await?;
        let open: Vec<JobId> = open.into_iter().filter(|id| !asked.jobs.contains(id)).collect();
        let mut found = Self::already(unit, &open).await?;
        found.extend(withdrawn.iter().map(|id| (*id, Cancelled::Now)));
        found.extend(asked.jobs.into_iter().map(|id| (id, Cancelled::Asked)));
        Ok(CancelStep { found, workers: asked.workers, changed: [withdrawn, asked.new].concat() })
    }

    /// Removes waiting jobs from the queue, marks them cancelled, frees what they hold, and returns them. The other jobs
    /// run, are final, or do not exist.
    pub(crate) async fn withdraw(
        unit: &mut Unit,
        ids: &[JobId],
        reason: &Failure,
    ) -> Result<Vec<JobId>, StoreError> {
        let withdrawn = Self::take_out(unit, ids, None, reason).await?;
        let settlement = Settlement::Cancel { failure: reason.clone() };
        let ended = withdrawn.iter().map(|(id, ties)| (*id, *ties, &settlement));
        aftermath::carry_out(unit, ended).await?;
        Ok(withdrawn.into_iter().map(|(id, _)| id).collect())
    }

    /// The same, except that the jobs keep what they hold. The caller sees to it. With a digest, only a job whose unique key has it is
    /// withdrawn: an edit may have moved the job to another key since the caller read who holds this one.
    pub(crate) async fn take_out(
        unit: &mut Unit,
        ids: &[JobId],
        digest: Option<Uuid>,
        reason: &Failure,
    ) -> Result<Vec<(JobId, Ties)>, StoreError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let mut sorted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        sorted.sort_unstable();
        let rows = sqlx::query!(
            r#"-- store.withdraw
            WITH target AS MATERIALIZED (
                SELECT b.id, b.lane, b.unique_digest, b.on_end IS NOT NULL AS announced FROM jobqueue.body b
                WHERE b.id = ANY ($1) AND ($3::uuid IS NULL OR b.unique_digest = $3)),
            waiting AS MATERIALIZED (
                SELECT r.at FROM target t CROSS JOIN LATERAL (
                    SELECT ctid AS at FROM jobqueue.ready WHERE lane = t.lane AND job_id = t.id LIMIT 1 FOR UPDATE) r),
            queued AS (
                DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM waiting)) RETURNING job_id, lane, kind, attempt),
            later AS (
                DELETE FROM jobqueue.scheduled s WHERE s.job_id = ANY (ARRAY(SELECT id FROM target)) RETURNING s.job_id, s.lane, s.kind, s.attempt),
            gone AS (SELECT * FROM queued UNION ALL SELECT * FROM later),
            outcome AS (
                INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at, detail)
                SELECT job_id, 7, attempt, jobqueue.now(), $2::text::json FROM gone),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, cancelled, kinds)
                SELECT l.queue_id, count(*)::int, ARRAY[g.kind] FROM gone g JOIN jobqueue.lane l ON l.id = g.lane
                GROUP BY l.queue_id, g.kind)
            SELECT g.job_id AS "job_id!", t.unique_digest IS NOT NULL AS "keyed!", t.announced AS "announced!" FROM gone g JOIN target t ON t.id = g.job_id"#,
            &sorted,
            failure_text(reason),
            digest,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (JobId::from_uuid(row.job_id), Ties { unique_key: row.keyed, on_end: row.announced }))
            .collect())
    }

    /// Records a cancel request for running jobs. It locks their leases, so a settle happens either before or
    /// after.
    async fn ask(unit: &mut Unit, ids: &[JobId]) -> Result<Asked, StoreError> {
        if ids.is_empty() {
            return Ok(Asked::default());
        }
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        // A join sorts before it locks. It scans all leases, which the filter on `job_ids` needs anyway.
        // A row that was inserted has no xmax; one that was there before and was updated has.
        let asked = sqlx::query!(
            r#"-- store.cancel.ask
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
            RETURNING job_id, worker_id, (xmax = 0) AS "is_new!""#,
            &wanted,
        )
        .fetch_all(&mut **unit)
        .await?;
        let workers: BTreeSet<Uuid> = asked.iter().filter_map(|row| row.worker_id).collect();
        let workers = workers.into_iter().map(WorkerId::from_uuid).collect();
        let new = asked.iter().filter(|row| row.is_new).map(|row| JobId::from_uuid(row.job_id)).collect();
        Ok(Asked { jobs: asked.into_iter().map(|row| JobId::from_uuid(row.job_id)).collect(), workers, new })
    }

    /// The results for jobs that are final or do not exist.
    async fn already(unit: &mut Unit, ids: &[JobId]) -> Result<Vec<(JobId, Cancelled)>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        // scalar sub-selects, because an EXISTS or a join may be planned as a scan of the whole table
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
                (None, true) => {} // it moved between the statements: try again
            }
        }
        Ok(found)
    }

    /// Whether the job is final. If so, it stays final until this transaction ends: an operator's retry waits
    /// for our lock and then sees what we did to the job's unique key.
    pub(crate) async fn stays_final(unit: &mut Unit, id: JobId) -> Result<bool, StoreError> {
        let row = sqlx::query_scalar!(
            "-- store.stays_final
            SELECT job_id FROM jobqueue.outcome WHERE job_id = $1 FOR UPDATE",
            id.as_uuid()
        );
        Ok(row.fetch_optional(&mut **unit).await?.is_some())
    }
}

/// The error for a job that moved during every try.
fn kept_moving() -> StoreError {
    StoreError::Abandoned("the job changed its status during every try to cancel it".to_owned())
}
