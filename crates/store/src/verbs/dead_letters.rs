//! Dead letters: recorded when a job becomes `failed`, purged, and replaced by a new job with another payload. A retry of the same job is
//! `verbs::retry`. The database deletes a dead letter together with the outcome of its job.

use jobqueue_core::{FailureCause, JobId, Json, Limits, NewJob, QueueName, Status, Unique};
use jobqueue_core::{FieldError, OnConflict, UniqueScope};
use uuid::Uuid;

use crate::handles::DeadLetters;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::verbs::audit::Change;
use crate::verbs::enqueue::submission::{Accepted, Submission};
use crate::verbs::unique::{final_bit, forget};

pub(crate) mod redrive;

/// The result of a retry with another payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Replaced {
    /// The new job is stored and took the place of the dead letter.
    By {
        /// The new job.
        id: JobId,
        /// Its status.
        status: Status,
        /// Its queue, to wake the workers.
        queue: QueueName,
    },
    /// The job was replaced before, by this job.
    Before(JobId),
    /// The job exists, and is no dead letter.
    NotFailed,
    /// Its `expires_at` has passed, so its submitter no longer wants it to run.
    Expired,
    /// This job holds its unique key now.
    KeyTaken(JobId),
    /// The new job is not valid.
    Invalid(Vec<FieldError>),
    /// No job has this id.
    Unknown,
}

/// Records jobs as dead letters, with their causes, in the transaction that ended them. Jobs that cannot be read are left out. A first dead
/// letter of a group waits for another transaction that records one of the same group.
pub(crate) async fn record(unit: &mut Unit, letters: &[(JobId, FailureCause)]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = letters.iter().map(|(id, _)| id.as_uuid()).collect();
    let types: Vec<&str> = letters.iter().map(|(_, cause)| cause.error_type.as_str()).collect();
    let messages: Vec<&str> = letters.iter().map(|(_, cause)| cause.message.as_str()).collect();
    sqlx::query!(
        "-- store.dead_letters.record
        WITH input AS MATERIALIZED (
            SELECT i.id, i.error_type, i.message, o.finished_at, b.kind, b.queue_id,
                   jobqueue.fingerprint(b.kind_name, i.error_type, i.message) AS fingerprint
            FROM unnest($1::uuid[], $2::text[], $3::text[]) AS i (id, error_type, message)
            CROSS JOIN LATERAL (SELECT finished_at FROM jobqueue.outcome WHERE job_id = i.id LIMIT 1) o
            CROSS JOIN LATERAL (
                SELECT x.kind, (SELECT k.name FROM jobqueue.kind k WHERE k.id = x.kind) AS kind_name,
                       (SELECT l.queue_id FROM jobqueue.lane l WHERE l.id = x.lane) AS queue_id
                FROM jobqueue.body x WHERE x.id = i.id LIMIT 1) b
            WHERE b.kind_name IS NOT NULL AND b.queue_id IS NOT NULL),
        cause AS (
            INSERT INTO jobqueue.dead_letter_cause (fingerprint, kind, error_type, message)
            SELECT DISTINCT ON (fingerprint) fingerprint, kind, error_type, message FROM input ORDER BY fingerprint
            ON CONFLICT DO NOTHING)
        INSERT INTO jobqueue.dead_letter (job_id, failed_at, fingerprint, queue_id, kind)
        SELECT DISTINCT ON (id) id, finished_at, fingerprint, queue_id, kind FROM input ORDER BY id
        ON CONFLICT (job_id) DO UPDATE SET failed_at = excluded.failed_at, fingerprint = excluded.fingerprint,
            queue_id = excluded.queue_id, kind = excluded.kind",
        &ids,
        &types as _,
        &messages as _,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// The unique key of a stored job, as it was submitted, except that a conflict is refused.
struct StoredKey {
    digest: Option<Uuid>,
    kept: Option<i16>,
}

impl DeadLetters<'_> {
    /// Deletes those of these jobs that are dead letters. Returns how many. A job that is retried at the same time stays.
    pub async fn purge(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        retry_on_conflict(|| self.purge_once(ids)).await
    }

    async fn purge_once(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        let mut wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        wanted.sort_unstable();
        let mut unit = self.0.begin().await?;
        let gone = sqlx::query_scalar!(
            r#"-- store.dead_letters.purge
            WITH old AS MATERIALIZED (
                SELECT o.job_id FROM unnest($1::uuid[]) AS i (id)
                CROSS JOIN LATERAL (SELECT job_id FROM jobqueue.outcome WHERE job_id = i.id AND status = 6 LIMIT 1 FOR UPDATE SKIP LOCKED) o),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, pruned)
                SELECT l.queue_id, count(*)::int FROM old
                CROSS JOIN LATERAL (SELECT lane FROM jobqueue.body WHERE id = old.job_id LIMIT 1) b
                CROSS JOIN LATERAL (SELECT queue_id FROM jobqueue.lane WHERE id = b.lane LIMIT 1) l GROUP BY l.queue_id)
            SELECT jobqueue.forget(ARRAY(SELECT job_id FROM old)) AS "gone!""#,
            &wanted,
        )
        .fetch_one(&mut *unit)
        .await?;
        let count = usize::try_from(gone).unwrap_or(0);
        self.0.audit(&mut unit, Change::of("dead_letters.purge", count)).await?;
        unit.commit().await?;
        Ok(u64::try_from(gone).unwrap_or(0))
    }

    /// Enqueues a new job like this dead letter with another payload. The new job takes its place: the old one stays failed, and is no dead
    /// letter any more. Nothing is stored unless the result is [`Replaced::By`].
    pub async fn replace(&self, id: JobId, payload: Json, limits: &Limits) -> Result<Replaced, StoreError> {
        let Some(record) = self.0.job(id).await? else { return Ok(Replaced::Unknown) };
        let Some(now) = self.0.time().await? else { return Ok(Replaced::Unknown) };
        if record.status != Status::Failed {
            return Ok(Replaced::NotFailed);
        }
        if record.job.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Ok(Replaced::Expired);
        }
        let unique = self.key_of(&record.job).await?;
        let new = match jobqueue_core::replacement::replacement(&record, unique, payload, limits) {
            Ok(new) => new,
            Err(errors) => return Ok(Replaced::Invalid(errors)),
        };
        self.0.learn_names(std::slice::from_ref(&new)).await?;
        retry_on_conflict(|| self.replace_once(id, &new)).await
    }

    async fn replace_once(&self, id: JobId, new: &NewJob) -> Result<Replaced, StoreError> {
        let mut unit = self.0.begin().await?;
        // a retry locks it too, and then looks for a replacement: of a retry and a replacement at the same time, one is refused
        sqlx::query!(
            "-- store.dead_letters.lock_outcome
            SELECT job_id FROM jobqueue.outcome WHERE job_id = $1 AND status = 6 FOR UPDATE",
            id.as_uuid(),
        )
        .fetch_optional(&mut *unit)
        .await?;
        let letter = sqlx::query_scalar!(
            "-- store.dead_letters.lock
            SELECT job_id FROM jobqueue.dead_letter WHERE job_id = $1 FOR UPDATE",
            id.as_uuid(),
        );
        if letter.fetch_optional(&mut *unit).await?.is_none() {
            let before = sqlx::query_scalar!(
                "SELECT replaced_by FROM jobqueue.replacement WHERE job_id = $1",
                id.as_uuid()
            );
            let before = before.fetch_optional(&mut *unit).await?;
            return Ok(before.map_or(Replaced::NotFailed, |new| Replaced::Before(JobId::from_uuid(new))));
        }
        if new.unique.is_some() {
            // the old job may hold it still
            forget(&mut unit, &[id.as_uuid()]).await?;
        }
        let submission = Submission { jobs: vec![new.clone()], atomic: true, idempotency: None };
        let accepted = self.0.enqueue_within(&mut unit, &submission).await?;
        let (by, status) = match accepted.first() {
            Some(Accepted::Created { id, status }) => (*id, *status),
            Some(Accepted::Rejected(holder) | Accepted::Existing(holder)) => {
                return Ok(Replaced::KeyTaken(*holder));
            }
            Some(Accepted::NotTried | Accepted::Full { .. }) | None => return Ok(Replaced::Unknown),
        };
        sqlx::query!(
            "-- store.dead_letters.replace
            WITH gone AS (DELETE FROM jobqueue.dead_letter WHERE job_id = $1)
            INSERT INTO jobqueue.replacement (job_id, replaced_by) VALUES ($1, $2)",
            id.as_uuid(),
            by.as_uuid(),
        )
        .execute(&mut *unit)
        .await?;
        let change =
            Change::of("dead_letters.replace", 1).to(&id).after(&serde_json::json!({ "job_id": by }));
        self.0.audit(&mut unit, change).await?;
        unit.commit().await?;
        Ok(Replaced::By { id: by, status, queue: new.queue.clone() })
    }

    /// The unique key of a job as its submitter sent it. The scope is the one whose digest is stored.
    async fn key_of(&self, job: &jobqueue_core::Job) -> Result<Option<Unique>, StoreError> {
        let Some(key) = job.unique_key.clone() else { return Ok(None) };
        let mut unit = self.0.one().await?;
        let stored = sqlx::query_as!(
            StoredKey,
            "-- store.dead_letters.key
            SELECT unique_digest AS digest, unique_kept AS kept FROM jobqueue.body WHERE id = $1",
            job.id.as_uuid(),
        );
        let stored = stored.fetch_optional(&mut *unit).await?;
        unit.commit().await?;
        let kept = stored.as_ref().and_then(|stored| stored.kept).unwrap_or(0);
        let finals = [Status::Completed, Status::Failed, Status::Cancelled];
        let also_final: Vec<Status> =
            finals.into_iter().filter(|status| kept & final_bit(*status) != 0).collect();
        let with = |scope| Unique {
            key: key.clone(),
            scope,
            also_final: also_final.clone(),
            on_conflict: OnConflict::Reject,
        };
        let digest = stored.and_then(|stored| stored.digest);
        let mut scopes = [UniqueScope::Kind, UniqueScope::Queue, UniqueScope::Global].into_iter().map(with);
        Ok(scopes.find(|unique| Some(unique.digest(&job.queue, &job.kind)) == digest))
    }
}
