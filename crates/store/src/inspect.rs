//! Readers of single jobs: where they stand, what their attempts did, what happened to them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use jobqueue_core::{Ended, Failure, Happening, Job, JobId, JobRecord, Json, Lease, Status, WorkerId};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::row::{corrupt, final_status, stored_failure, stored_json};

/// Most attempts that are read at once.
const ATTEMPTS_READ: i64 = 200;

/// One attempt of a job. Snoozed and released ones repeat the number of the next.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt: u16,
    /// How it ended, or that it has not.
    pub ended: Ended,
    /// Who ran it; `None` for a remote worker.
    pub worker_id: Option<WorkerId>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// The last progress value that its handler reported.
    pub progress: Option<Json>,
    /// The last 16 KiB of what its handler logged.
    pub log: String,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub event: Happening,
    /// The attempt it belongs to, if any.
    pub attempt: Option<u16>,
    /// Why, if there is a reason.
    pub error: Option<Failure>,
}

/// Where a job stands: exactly one of its parts is set. All are read in one snapshot.
struct Place {
    id: Uuid,
    final_status: Option<i16>,
    final_attempt: Option<i16>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    detail: Option<String>,
    queued_attempt: Option<i16>,
    scheduled_attempt: Option<i16>,
    run_at: Option<DateTime<Utc>>,
    running_attempt: Option<i16>,
    leased_at: Option<DateTime<Utc>>,
    lease_expires_at: Option<DateTime<Utc>>,
    worker_id: Option<Uuid>,
    cancel_requested: bool,
}

impl Store {
    /// One job, or `None` if there is none with this id.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.jobs_by_id(&[id]).await?.pop())
    }

    /// Jobs in the order of their ids as given; unknown ones are left out.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, StoreError> {
        let mut unit = self.begin().await?;
        let records = self.records(&mut unit, ids).await?;
        unit.commit().await?;
        Ok(records)
    }

    /// Those of these jobs that are not live: final, or unknown. By primary key and without their bodies, so that many can be
    /// watched.
    pub async fn not_live(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        // scalar sub-selects: an EXISTS or a join may be planned as one walk of the whole table
        let found = sqlx::query_scalar!(
            r#"-- store.not_live
            SELECT i.id AS "id!" FROM unnest($1::uuid[]) AS i (id)
            WHERE (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = i.id) IS NOT NULL
               OR (SELECT b.lane FROM jobqueue.body b WHERE b.id = i.id) IS NULL"#,
            &wanted,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(found.into_iter().map(JobId::from_uuid).collect())
    }

    /// Jobs of leases that a remote worker holds, at their true attempt, for the decision at their settle; one answer each, in
    /// order. `None` where the lease is stale, forged, or given twice.
    pub async fn leased_jobs(&self, leases: &[Lease]) -> Result<Vec<Option<Job>>, StoreError> {
        let ids: Vec<Uuid> = leases.iter().map(|lease| lease.job_id().as_uuid()).collect();
        let epochs: Vec<i64> = leases.iter().map(Lease::epoch).collect();
        let tokens: Vec<Uuid> = leases.iter().map(Lease::token).collect();
        let ordinals: Vec<i32> = leases.iter().map(|lease| i32::from(lease.ordinal())).collect();
        // both are reads, and a body never changes
        let mut unit = self.one().await?;
        let live = sqlx::query!(
            r#"-- store.leased
            SELECT i.place AS "place!", j.attempts[i.ordinal + 1] AS "attempt!"
            FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::uuid[]) WITH ORDINALITY AS i (epoch, token, ordinal, job_id, place)
            CROSS JOIN LATERAL (SELECT open FROM jobqueue.lease WHERE epoch = i.epoch AND token = i.token LIMIT 1) l
            CROSS JOIN LATERAL (SELECT job_ids, attempts FROM jobqueue.lease_jobs WHERE epoch = i.epoch LIMIT 1) j
            WHERE (l.open >> i.ordinal) & 1 = 1 AND j.job_ids[i.ordinal + 1] = i.job_id"#,
            &epochs,
            &tokens,
            &ordinals,
            &ids,
        )
        .fetch_all(&mut *unit)
        .await?;
        let mut bodies = self.body_rows(&mut unit, &ids).await?;
        unit.commit().await?;
        let attempts: HashMap<i64, i16> = live.into_iter().map(|row| (row.place, row.attempt)).collect();
        let job = |(place, id): (i64, Uuid)| {
            let attempt = attempts.get(&place)?;
            Some(bodies.remove(&id)?.into_job(*attempt))
        };
        (1..).zip(ids).map(job).map(Option::transpose).collect()
    }

    pub(crate) async fn records(&self, unit: &mut Unit, ids: &[JobId]) -> Result<Vec<JobRecord>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let places = Self::places(unit, &wanted).await?;
        let mut places: HashMap<Uuid, Place> = places.into_iter().map(|place| (place.id, place)).collect();
        // bodies never change, so they may be read after the snapshot of the places
        let mut bodies = self.body_rows(unit, &wanted).await?;
        let mut records = Vec::with_capacity(wanted.len());
        for id in wanted {
            let (Some(place), Some(body)) = (places.remove(&id), bodies.remove(&id)) else { continue };
            let created_at = JobId::from_uuid(id).created_at().unwrap_or_default();
            let run_at = body.stored.run_at;
            records.push(place.into_record(|attempt| body.into_job(attempt), created_at, run_at)?);
        }
        Ok(records)
    }

    async fn places(unit: &mut Unit, ids: &[Uuid]) -> Result<Vec<Place>, StoreError> {
        // the limits keep each a look by key: a join may be planned as one walk of the whole table
        Ok(sqlx::query_as!(
            Place,
            r#"-- store.places
            SELECT b.id, o.status AS "final_status?", o.attempt AS "final_attempt?", o.started_at AS "started_at?",
                   o.finished_at AS "finished_at?", o.detail::text AS detail,
                   r.attempt AS "queued_attempt?", s.attempt AS "scheduled_attempt?", s.run_at AS "run_at?",
                   run.attempt AS "running_attempt?", run.leased_at AS "leased_at?", run.expires_at AS "lease_expires_at?",
                   coalesce(run.worker_id, o.worker_id) AS "worker_id?", coalesce(run.asked, false) AS "cancel_requested!"
            FROM jobqueue.body b
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.outcome WHERE job_id = b.id LIMIT 1) o ON true
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.ready WHERE lane = b.lane AND job_id = b.id LIMIT 1) r ON true
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.scheduled WHERE job_id = b.id LIMIT 1) s ON true
            LEFT JOIN LATERAL (
                SELECT j.attempt, l.leased_at, l.expires_at, l.worker_id,
                       EXISTS (SELECT FROM jobqueue.cancel_request c WHERE c.job_id = b.id AND c.epoch = l.epoch) AS asked
                FROM jobqueue.lease_jobs h
                CROSS JOIN LATERAL unnest(h.job_ids, h.attempts) WITH ORDINALITY AS j (job_id, attempt, place)
                CROSS JOIN LATERAL (SELECT * FROM jobqueue.lease WHERE epoch = h.epoch LIMIT 1) l
                WHERE o.job_id IS NULL AND r.job_id IS NULL AND s.job_id IS NULL
                  AND b.id = ANY (h.job_ids) AND j.job_id = b.id AND (l.open >> (j.place - 1)::int) & 1 = 1) run ON true
            -- the bounds are for the days that are left out
            WHERE b.id = ANY ($1) AND b.id BETWEEN $2 AND $3"#,
            ids,
            ids.iter().min(),
            ids.iter().max(),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// The last 200 attempts of a job, oldest first; one that snoozes for ever has no end of them.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>, StoreError> {
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.attempts
            SELECT a.attempt AS "attempt!", a.ended AS "ended!", a.worker_id AS "worker_id?", a.started_at AS "started_at!",
                   a.finished_at AS "finished_at?", a.error::text AS error,
                   p.progress::text AS progress, coalesce(p.log, '') AS "log!"
            FROM (SELECT * FROM (
                  SELECT epoch, attempt, ended, worker_id, started_at, finished_at, error
                  FROM jobqueue.attempt WHERE job_id = $1
                  UNION ALL
                  SELECT epoch, attempt, 'completed', worker_id, started_at, finished_at, NULL
                  FROM jobqueue.outcome WHERE job_id = $1 AND status = 5
                  UNION ALL
                  SELECT l.epoch, j.attempt, 'running', l.worker_id, l.leased_at, NULL, NULL
                  FROM jobqueue.lease_jobs h
                  CROSS JOIN LATERAL unnest(h.job_ids, h.attempts) WITH ORDINALITY AS j (job_id, attempt, place)
                  CROSS JOIN LATERAL (SELECT * FROM jobqueue.lease WHERE epoch = h.epoch LIMIT 1) l
                  WHERE $1 = ANY (h.job_ids) AND j.job_id = $1 AND (l.open >> (j.place - 1)::int) & 1 = 1) u
                  ORDER BY epoch DESC LIMIT $2) a
            LEFT JOIN jobqueue.report p ON p.job_id = $1 AND p.epoch = a.epoch
            ORDER BY a.epoch"#,
            id.as_uuid(),
            ATTEMPTS_READ,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        rows.into_iter()
            .map(|row| {
                Ok(AttemptRecord {
                    attempt: u16::try_from(row.attempt).map_err(|e| corrupt(id, "attempt", e))?,
                    ended: Ended::from_word(&row.ended).ok_or_else(|| corrupt(id, "ended", &row.ended))?,
                    worker_id: row.worker_id.map(WorkerId::from_uuid),
                    started_at: row.started_at,
                    finished_at: row.finished_at,
                    error: stored_failure(id, row.error)?,
                    progress: row.progress.map(|text| stored_json(id, "progress", text)).transpose()?,
                    log: row.log,
                })
            })
            .collect()
    }

    /// What happened to a job, oldest first; `None` if there is none with this id.
    pub async fn events(&self, id: JobId) -> Result<Option<Vec<Event>>, StoreError> {
        let Some(record) = self.job(id).await? else { return Ok(None) };
        let attempts = self.attempts(id).await?;
        Ok(Some(events(&record, &attempts)))
    }
}

/// The history as it can be told from what is stored.
fn events(record: &JobRecord, attempts: &[AttemptRecord]) -> Vec<Event> {
    let mut events =
        vec![Event { at: record.created_at, event: Happening::Created, attempt: None, error: None }];
    for attempt in attempts {
        let number = Some(attempt.attempt);
        events.push(Event {
            at: attempt.started_at,
            event: Happening::Started,
            attempt: number,
            error: None,
        });
        if let Some(at) = attempt.finished_at {
            events.push(Event {
                at,
                event: Happening::Ended(attempt.ended),
                attempt: number,
                error: attempt.error.clone(),
            });
        }
    }
    // an attempt that ended the job did so at the same moment
    let told = |at| attempts.last().is_some_and(|last| last.finished_at == Some(at));
    let finished = record.finished_at.zip(Ended::with(record.status));
    if let Some((at, ending)) = finished.filter(|(at, _)| !told(*at)) {
        events.push(Event {
            at,
            event: Happening::Ended(ending),
            attempt: None,
            error: record.error.clone(),
        });
    }
    events
}

impl Place {
    fn into_record(
        self,
        job: impl FnOnce(i16) -> Result<Job, StoreError>,
        created_at: DateTime<Utc>,
        first_run_at: Option<DateTime<Utc>>,
    ) -> Result<JobRecord, StoreError> {
        let id = JobId::from_uuid(self.id);
        let (status, attempt) =
            match (self.final_status, self.queued_attempt, self.scheduled_attempt, self.running_attempt) {
                (Some(status), ..) => (final_status(id, status)?, self.final_attempt.unwrap_or(0)),
                (_, Some(attempt), ..) => (Status::Queued, attempt),
                (_, _, Some(attempt), _) => (Status::Scheduled, attempt),
                (.., Some(attempt)) => (Status::Running, attempt),
                _ => return Err(corrupt(id, "place", "the job is nowhere")),
            };
        let (result, error) =
            if status == Status::Completed { (self.detail, None) } else { (None, self.detail) };
        Ok(JobRecord {
            job: job(attempt)?,
            status,
            created_at,
            run_at: self.run_at.or(first_run_at),
            started_at: self.started_at.or(self.leased_at),
            finished_at: self.finished_at,
            worker_id: self.worker_id.map(WorkerId::from_uuid),
            lease_expires_at: self.lease_expires_at,
            cancel_requested: self.cancel_requested,
            result: result.map(|text| stored_json(id, "result", text)).transpose()?,
            error: stored_failure(id, error)?,
        })
    }
}
