//! edit: changes a waiting job before it runs. It holds the lock of the job's place from before it reads the job until it has written it.
//! So a lease, a cancel and a promotion come either before and the edit changes nothing, or after and they see the edited job.
//! docs/adr/0023-edit.md says why this is enough.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobqueue_core::unique::moved_digest;
use jobqueue_core::{JobDraft, JobEdit, JobId, JobRecord, Json, Start, Status};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::handles::Jobs;
use crate::plumbing::catalog::Lane;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_ms;
use crate::verbs::audit::Change;

/// Maximum number of tries for a job that moves from one place to another meanwhile, or whose new queue has no number yet.
const TRIES: u32 = 10;

/// The result of an edit. `E` is the caller's reason to refuse.
#[derive(Clone, Debug, PartialEq)]
pub enum Edited<E> {
    /// The job as it is now. `true`: it was changed. `false`: it was so already.
    Job(Box<JobRecord>, bool),
    /// The caller refused, and nothing was changed.
    Refused(E),
    /// The job runs or is final.
    NotWaiting(Status),
    /// In the new queue, this job holds the unique key.
    KeyTaken(JobId),
    /// No job has this id.
    Unknown,
}

/// A waiting job whose place is locked.
struct Held {
    record: JobRecord,
    lane: i32,
    digest: Option<Uuid>,
    kept: Option<i16>,
}

/// The place that was deleted.
struct OldPlace {
    kind: i32,
    attempt: i16,
    /// Null in `ready`.
    run_at: Option<DateTime<Utc>>,
    pending: Option<i32>,
}

impl Jobs<'_> {
    /// Edits a waiting job as `decide` says, which gets the job as it is; `None` changes nothing. It may be called several times.
    pub async fn edit<E>(
        &self,
        id: JobId,
        decide: impl Fn(&JobRecord) -> Result<Option<JobEdit>, E>,
    ) -> Result<Edited<E>, StoreError> {
        let mut last = StoreError::Abandoned("the job moved during every try to edit it".to_owned());
        for _ in 0..TRIES {
            match self.0.edit_once(id, &decide).await {
                Ok(Some(edited)) => return Ok(edited),
                Ok(None) => {}
                Err(error) if error.is_conflict() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Store {
    /// One try; `None` if the job moved, or the new queue had no number.
    async fn edit_once<E>(
        &self,
        id: JobId,
        decide: impl Fn(&JobRecord) -> Result<Option<JobEdit>, E>,
    ) -> Result<Option<Edited<E>>, StoreError> {
        let mut unit = self.begin().await?;
        let Some(held) = self.hold(&mut unit, id).await? else {
            return Ok(match self.records(&mut unit, &[id]).await?.pop() {
                None => Some(Edited::Unknown),
                Some(record) if record.status.is_waiting() => None,
                Some(record) => Some(Edited::NotWaiting(record.status)),
            });
        };
        let edit = match decide(&held.record) {
            Err(refusal) => return Ok(Some(Edited::Refused(refusal))),
            Ok(None) => return Ok(Some(Edited::Job(Box::new(held.record), false))),
            Ok(Some(edit)) => edit,
        };
        let (queue, priority) = (&edit.job.queue, edit.job.priority);
        let Some(lane) = self.catalog.lane(queue, priority) else {
            // a transaction that creates a name must not hold locks
            drop(unit);
            self.lane(queue, priority).await?;
            return Ok(None);
        };
        let digest = match Self::move_key(&mut unit, &held, &edit).await? {
            Ok(digest) => digest,
            Err(holder) => return Ok(Some(Edited::KeyTaken(holder))),
        };
        Self::rewrite(&mut unit, &held, &edit, lane, digest).await?;
        let record = self.records(&mut unit, &[id]).await?.pop();
        if let Some(record) = record.as_ref().filter(|_| self.actor.is_some()) {
            self.audit(&mut unit, change(&held.record, record)).await?;
        }
        unit.commit().await?;
        Ok(record.map(|record| Edited::Job(Box::new(record), true)))
    }

    /// Locks the bodies of these jobs, so that no edit moves them. It comes before any lock of a place.
    pub(crate) async fn hold_off_edits(unit: &mut Unit, ids: &[JobId]) -> Result<(), StoreError> {
        let mut ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        ids.sort_unstable();
        sqlx::query!(
            "-- store.edit.hold_off\nSELECT id FROM jobqueue.body WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
            &ids
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(())
    }

    /// Locks the place of a waiting job and reads the job; `None` if it does not wait. All who lock several rows of a job do so in the order
    /// body, expiry, place.
    async fn hold(&self, unit: &mut Unit, id: JobId) -> Result<Option<Held>, StoreError> {
        let job = id.as_uuid();
        Self::hold_off_edits(unit, &[id]).await?;
        sqlx::query!(
            "-- store.edit.expiry\nSELECT job_id FROM jobqueue.expiry WHERE job_id = $1 FOR UPDATE",
            job
        )
        .fetch_optional(&mut **unit)
        .await?;
        let place = sqlx::query_scalar!(
            r#"-- store.edit.hold
            WITH queued AS MATERIALIZED (
                SELECT r.lane FROM jobqueue.body b CROSS JOIN LATERAL (
                    SELECT lane FROM jobqueue.ready WHERE lane = b.lane AND job_id = b.id LIMIT 1 FOR UPDATE) r WHERE b.id = $1),
            later AS MATERIALIZED (SELECT lane FROM jobqueue.scheduled WHERE job_id = $1 FOR UPDATE)
            SELECT lane AS "lane!" FROM queued UNION ALL SELECT lane FROM later"#,
            job,
        );
        let Some(lane) = place.fetch_optional(&mut **unit).await? else { return Ok(None) };
        // from here on nothing else changes the job
        let Some(record) = self.records(unit, &[id]).await?.pop() else { return Ok(None) };
        let key = sqlx::query!(
            "-- store.edit.key
            SELECT unique_digest, unique_kept FROM jobqueue.body WHERE id = $1",
            job,
        )
        .fetch_one(&mut **unit)
        .await?;
        Ok(Some(Held { record, lane, digest: key.unique_digest, kept: key.unique_kept }))
    }

    /// Moves a key whose scope is the queue along with its job. Returns the digest of the key afterwards, or the job that holds the key in
    /// the new queue.
    async fn move_key(
        unit: &mut Unit,
        held: &Held,
        edit: &JobEdit,
    ) -> Result<Result<Option<Uuid>, JobId>, StoreError> {
        let job = &held.record.job;
        let (Some(old), Some(key)) = (held.digest, &job.unique_key) else { return Ok(Ok(held.digest)) };
        let new = moved_digest(old, key, &job.kind, &job.queue, &edit.job.queue);
        if new == old {
            return Ok(Ok(Some(old)));
        }
        if let Some(holder) = Self::claim_for(unit, new, job.id.as_uuid(), held.kept.unwrap_or(0)).await? {
            return Ok(Err(JobId::from_uuid(holder)));
        }
        sqlx::query!(
            "-- store.edit.key.free
            DELETE FROM jobqueue.unique_claim WHERE digest = $1 AND job_id = $2",
            old,
            job.id.as_uuid(),
        )
        .execute(&mut **unit)
        .await?;
        Ok(Ok(Some(new)))
    }

    /// Replaces the place and the body. The old row of the place is deleted and a new one inserted, even in the same lane: a lease whose
    /// snapshot is older than the edit finds the old row, sees that it is gone, and skips it. If the row were updated, that lease would
    /// take it and read the old body.
    async fn rewrite(
        unit: &mut Unit,
        held: &Held,
        edit: &JobEdit,
        lane: Lane,
        digest: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let (id, job) = (held.record.job.id.as_uuid(), &edit.job);
        let place = Self::leave(unit, id, held.lane).await?;
        let (at, delay_ms) = match edit.start.unwrap_or_default() {
            Start::Now => (None, None),
            Start::At(at) => (Some(at), None),
            Start::After(delay) => (None, Some(to_ms(delay))),
        };
        let changed = sqlx::query_scalar!(
            r#"-- store.edit
            WITH new AS MATERIALIZED (
                SELECT coalesce($14::timestamptz, jobqueue.now() + $15::bigint * interval '1 ms') AS start_at),
            place AS MATERIALIZED (
                SELECT CASE WHEN $13::boolean THEN start_at ELSE $16::timestamptz END AS run_at,
                       CASE WHEN $17::int IS NOT NULL THEN true WHEN $13 THEN coalesce(start_at > jobqueue.now(), false)
                            ELSE $16 IS NOT NULL END AS waits FROM new),
            body AS (
                UPDATE jobqueue.body SET lane = $2, max_attempts = $3, payload = $4::text::json, retry = $5::text::json,
                       timeout_ms = $6, soft_timeout_ms = $7, expires_at = $8, unique_digest = $9, tags = $10,
                       metadata = $11::text::json, run_at = CASE WHEN $13 THEN (SELECT start_at FROM new) ELSE run_at END
                WHERE id = $1 RETURNING id),
            ready AS (
                INSERT INTO jobqueue.ready (job_id, lane, kind, attempt) SELECT $1, $2, $18::int, $12::smallint FROM place WHERE NOT waits),
            later AS (
                INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt, pending)
                SELECT $1, coalesce(run_at, jobqueue.now()), $2, $18, $12, $17 FROM place WHERE waits),
            old AS (SELECT queue_id FROM jobqueue.lane WHERE id = $19::int),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, created, pruned, kinds)
                -- no kinds: the statistics count it where it was submitted
                SELECT $20::int, 1, 0, '{}'::int[] FROM old WHERE queue_id <> $20
                UNION ALL SELECT queue_id, 0, 1, NULL FROM old WHERE queue_id <> $20)
            SELECT id FROM body"#,
            id,
            lane.id,
            i16::try_from(job.max_attempts).unwrap_or(i16::MAX),
            job.payload.as_str(),
            job.retry.as_ref().and_then(|policy| serde_json::to_string(policy).ok()),
            job.timeout.map(to_ms),
            job.soft_timeout.map(to_ms),
            job.expires_at,
            digest,
            (!job.tags.is_empty()).then_some(job.tags.as_slice()) as _,
            job.metadata.as_ref().map(Json::as_str),
            place.attempt,
            edit.start.is_some(),
            at,
            delay_ms,
            place.run_at,
            place.pending,
            place.kind,
            held.lane,
            lane.queue_id,
        )
        .fetch_optional(&mut **unit)
        .await?;
        if changed.is_none() {
            return Err(StoreError::Abandoned("the body of the job is gone".to_owned()));
        }
        Self::write_side_rows(unit, id, edit).await
    }

    /// Deletes the locked row of the place.
    async fn leave(unit: &mut Unit, id: Uuid, lane: i32) -> Result<OldPlace, StoreError> {
        Ok(sqlx::query_as!(
            OldPlace,
            r#"-- store.edit.leave
            WITH queued AS (DELETE FROM jobqueue.ready WHERE lane = $2 AND job_id = $1 RETURNING kind, attempt),
            later AS (DELETE FROM jobqueue.scheduled WHERE job_id = $1 RETURNING kind, attempt, run_at, pending)
            SELECT kind AS "kind!", attempt AS "attempt!", NULL::timestamptz AS run_at, NULL::int AS pending FROM queued
            UNION ALL SELECT kind, attempt, run_at, pending FROM later"#,
            id,
            lane,
        )
        .fetch_one(&mut **unit)
        .await?)
    }

    /// The rows that only jobs with these fields have.
    async fn write_side_rows(unit: &mut Unit, id: Uuid, edit: &JobEdit) -> Result<(), StoreError> {
        if edit.changes_expiry {
            sqlx::query!(
                "-- store.edit.expires
                WITH gone AS (DELETE FROM jobqueue.expiry WHERE job_id = $1 AND $2::timestamptz IS NULL)
                INSERT INTO jobqueue.expiry AS e (job_id, expires_at) SELECT $1, $2 WHERE $2 IS NOT NULL
                ON CONFLICT (job_id) DO UPDATE SET expires_at = excluded.expires_at",
                id,
                edit.job.expires_at,
            )
            .execute(&mut **unit)
            .await?;
        }
        if edit.changes_snoozes {
            sqlx::query!(
                "-- store.edit.snoozes
                INSERT INTO jobqueue.snooze AS s (job_id, max_snoozes) VALUES ($1, $2)
                ON CONFLICT (job_id) DO UPDATE SET max_snoozes = excluded.max_snoozes",
                id,
                edit.job.max_snoozes.and_then(|most| i32::try_from(most).ok()),
            )
            .execute(&mut **unit)
            .await?;
        }
        Ok(())
    }
}

/// The fields that an edit has changed. Of a payload and of metadata only the length is recorded.
fn change(before: &JobRecord, after: &JobRecord) -> Change {
    let fields = |record: &JobRecord| match serde_json::to_value(JobDraft::of(record)) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (old, new) = (fields(before), fields(after));
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    let changed: BTreeSet<&String> = old.keys().chain(new.keys()).filter(differs).collect();
    let only = |fields: &Map<String, Value>| -> Map<String, Value> {
        changed.iter().map(|name| ((*name).clone(), shown(name, fields.get(*name)))).collect()
    };
    Change::of("jobs.edit", 1).to(&after.job.id).before(&only(&old)).after(&only(&new))
}

fn shown(name: &str, value: Option<&Value>) -> Value {
    match value {
        Some(value) if ["payload", "metadata"].contains(&name) => {
            json!({ "omitted_bytes": value.to_string().len() })
        }
        value => value.cloned().unwrap_or_default(),
    }
}
