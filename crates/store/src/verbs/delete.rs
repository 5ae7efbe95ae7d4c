//! delete: an operator deletes final jobs before their retention ends, with their results, attempts and logs.

use std::collections::{HashMap, HashSet};

use jobqueue_core::{JobId, Status};
use uuid::Uuid;

use crate::handles::Jobs;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::row::status_number;
use crate::verbs::audit::Change;

/// Maximum number of tries for a job that becomes final meanwhile.
const TRIES: u32 = 10;

/// The result of a deletion for one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The job was final. It does not exist any more.
    Now,
    /// The job waits or runs, and stays.
    NotFinal,
    /// The job is final with another status than the caller wants to delete, and stays.
    OtherStatus,
    /// No job has this id.
    Unknown,
}

impl Jobs<'_> {
    /// Deletes final jobs, with everything that belongs to them. Returns one result each, in order. Their unique keys are free then, also
    /// those that they would have kept.
    pub async fn delete(&self, ids: &[JobId]) -> Result<Vec<Deleted>, StoreError> {
        self.delete_with_status(ids, &Status::ALL).await
    }

    /// The same, but a final job with another status stays. So a job that was found by its status, and was retried and ended otherwise
    /// since then, keeps its result.
    pub async fn delete_with_status(
        &self,
        ids: &[JobId],
        statuses: &[Status],
    ) -> Result<Vec<Deleted>, StoreError> {
        let wanted: Vec<i16> = statuses.iter().copied().map(status_number).collect();
        retry_on_conflict(|| self.0.delete_once(ids, &wanted)).await
    }
}

impl Store {
    async fn delete_once(&self, ids: &[JobId], statuses: &[i16]) -> Result<Vec<Deleted>, StoreError> {
        let mut unit = self.begin().await?;
        let mut open: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        open.sort_unstable();
        open.dedup();
        let mut answers: HashMap<Uuid, Deleted> = HashMap::new();
        for _ in 0..TRIES {
            let gone = Self::delete_final(&mut unit, &open, statuses).await?;
            open.retain(|id| !gone.contains(id));
            answers.extend(gone.into_iter().map(|id| (id, Deleted::Now)));
            let live = Self::live_among(&mut unit, &open).await?;
            // a job that became final between the two statements is tried again
            let ended =
                |id: &Uuid| live.get(id).copied().flatten().is_some_and(|status| statuses.contains(&status));
            open.retain(ended);
            let stay = live.into_iter().filter(|(id, _)| !open.contains(id));
            answers.extend(
                stay.map(|(id, status)| (id, status.map_or(Deleted::NotFinal, |_| Deleted::OtherStatus))),
            );
            if open.is_empty() {
                break;
            }
        }
        let gone: Vec<JobId> = answers
            .iter()
            .filter(|(_, is)| **is == Deleted::Now)
            .map(|(id, _)| JobId::from_uuid(*id))
            .collect();
        self.audit(&mut unit, Change::of_jobs("jobs.delete", &gone)).await?;
        unit.commit().await?;
        Ok(ids.iter().map(|id| answers.get(&id.as_uuid()).copied().unwrap_or(Deleted::Unknown)).collect())
    }

    /// Deletes those of these jobs that are final with one of these statuses. An operator's retry of such a job waits for the lock and then
    /// finds no job, or comes first and leaves no outcome.
    async fn delete_final(
        unit: &mut Unit,
        ids: &[Uuid],
        statuses: &[i16],
    ) -> Result<HashSet<Uuid>, StoreError> {
        let locked = sqlx::query_scalar!(
            "-- store.delete.lock
            SELECT job_id FROM jobqueue.outcome
            WHERE job_id = ANY ($1) AND job_id BETWEEN $2 AND $3 AND status = ANY ($4) ORDER BY job_id FOR UPDATE",
            ids,
            ids.first(),
            ids.last(),
            statuses,
        )
        .fetch_all(&mut **unit)
        .await?;
        if !locked.is_empty() {
            sqlx::query!(
                r#"-- store.delete
                WITH tally AS (
                    INSERT INTO jobqueue.tally (queue_id, pruned)
                    SELECT l.queue_id, count(*)::int FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane
                    WHERE b.id = ANY ($1) GROUP BY l.queue_id)
                SELECT jobqueue.forget($1) AS "gone!""#,
                &locked,
            )
            .fetch_one(&mut **unit)
            .await?;
        }
        Ok(locked.into_iter().collect())
    }

    /// Those of these jobs that exist, and the number of the final status of each; `None` if it waits or runs.
    async fn live_among(unit: &mut Unit, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<i16>>, StoreError> {
        let rows = sqlx::query!(
            r#"-- store.delete.others
            SELECT b.id, (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = b.id) AS "status?"
            FROM jobqueue.body b WHERE b.id = ANY ($1)"#,
            ids,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.status)).collect())
    }
}
