//! Reads single jobs: their status, their attempts, and their history.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{Ended, EventKind, Failure, Job, JobId, JobRecord, Json, Lease, Status, WorkerId};
use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::kind_settings::SettingsOfKinds;
use crate::readers::row::{corrupt, final_status, stored_failure, stored_json};
use crate::verbs::snooze::{self, Snoozes};
use crate::verbs::webhook;

/// Maximum number of attempts that are read.
const ATTEMPTS_READ: i64 = 200;

/// One attempt of a job. Snoozed and released attempts have the same number as the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// Number of the attempt, from 1.
    pub attempt: u16,
    /// How it ended, or `Running`.
    pub ended: Ended,
    /// The worker that ran it.
    pub worker_id: Option<WorkerId>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// The last progress value that its handler reported.
    pub progress: Option<Json>,
    /// The last 16 KiB of its handler's log.
    pub log: String,
}

/// One entry of a job's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: EventKind,
    /// The number of the attempt that it belongs to, if any.
    pub attempt: Option<u16>,
    /// The failure, if there is one.
    pub error: Option<Failure>,
}

/// The job of a lease that is held.
#[derive(Debug)]
pub struct HeldJob {
    /// The job; `attempt` is the number from the grant.
    pub job: Job,
    /// How long the job had been runnable before the lease. Set for a first attempt only.
    pub waited: Option<Duration>,
}

/// The place of a job, read in one snapshot. Only the fields of one place are set: outcome, ready, scheduled
/// or lease.
struct Place {
    id: Uuid,
    final_status: Option<i16>,
    final_attempt: Option<i16>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    detail: Option<String>,
    queued_attempt: Option<i16>,
    waiting_attempt: Option<i16>,
    /// Number of jobs that it waits for.
    pending: Option<i32>,
    run_at: Option<DateTime<Utc>>,
    running_attempt: Option<i16>,
    leased_at: Option<DateTime<Utc>>,
    lease_expires_at: Option<DateTime<Utc>>,
    worker_id: Option<Uuid>,
    cancel_requested: bool,
}

impl Store {
    /// One job; `None` if no job has this id.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.jobs_by_id(&[id]).await?.pop())
    }

    /// Jobs in the order of `ids`, without those that do not exist.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, StoreError> {
        // an edit changes body and place together
        let mut unit = self.begin_snapshot().await?;
        let records = self.records(&mut unit, ids).await?;
        unit.commit().await?;
        Ok(records)
    }

    /// Those of these jobs that are final or do not exist. It reads no bodies and only uses primary keys, so
    /// many jobs can be checked often.
    pub async fn not_live(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        // scalar sub-selects, because an EXISTS or a join may be planned as a scan of the whole table
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

    /// The jobs of leases that remote workers hold, with the attempt number from the grant, for the decision
    /// at their settle. One entry each, in order. `None` if the lease is stale or forged, or occurs twice.
    pub async fn leased_jobs(&self, leases: &[Lease]) -> Result<Vec<Option<HeldJob>>, StoreError> {
        let ids: Vec<Uuid> = leases.iter().map(|lease| lease.job_id().as_uuid()).collect();
        let epochs: Vec<i64> = leases.iter().map(Lease::epoch).collect();
        let tokens: Vec<Uuid> = leases.iter().map(Lease::token).collect();
        let ordinals: Vec<i32> = leases.iter().map(|lease| i32::from(lease.ordinal())).collect();
        // two reads without a common snapshot are enough, because the body of a running job never changes
        let mut unit = self.one().await?;
        let live = sqlx::query!(
            r#"-- store.leased
            SELECT i.place AS "place!", j.attempts[i.ordinal + 1] AS "attempt!", l.leased_at AS "leased_at!",
                   (SELECT settings FROM jobqueue.kind_settings) AS settings
            FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::uuid[]) WITH ORDINALITY AS i (epoch, token, ordinal, job_id, place)
            CROSS JOIN LATERAL (SELECT open, leased_at FROM jobqueue.lease WHERE epoch = i.epoch AND token = i.token LIMIT 1) l
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
        let settings = SettingsOfKinds::of(live.iter().find_map(|row| row.settings.as_deref()));
        let live: HashMap<i64, (i16, DateTime<Utc>)> =
            live.into_iter().map(|row| (row.place, (row.attempt, row.leased_at))).collect();
        let job = |(place, id): (i64, Uuid)| {
            let (attempt, leased_at) = *live.get(&place)?;
            let body = bodies.remove(&id)?;
            let waited = body.waited(leased_at).filter(|_| attempt == 1);
            Some(settings.job_of(body, attempt).map(|job| HeldJob { job, waited }))
        };
        (1..).zip(ids).map(job).map(Option::transpose).collect()
    }

    pub(crate) async fn records(&self, unit: &mut Unit, ids: &[JobId]) -> Result<Vec<JobRecord>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let places = Self::places(unit, &wanted).await?;
        let mut places: HashMap<Uuid, Place> = places.into_iter().map(|place| (place.id, place)).collect();
        // in a common snapshot, or for jobs that the caller has locked: an edit changes both
        let mut bodies = self.body_rows(unit, &wanted).await?;
        let snoozes = snooze::read(unit, &wanted).await?;
        let announced = bodies.values().filter(|body| body.stored.announced).map(|body| body.stored.id);
        let mut urls = webhook::urls(unit, announced.collect()).await?;
        let mut records = Vec::with_capacity(wanted.len());
        for id in wanted {
            let (Some(place), Some(body)) = (places.remove(&id), bodies.remove(&id)) else { continue };
            let created_at = JobId::from_uuid(id).created_at().unwrap_or_default();
            let run_at = body.stored.run_at;
            let mut record = place.into_record(|attempt| body.into_job(attempt), created_at, run_at)?;
            record.webhook_url = urls.remove(&id);
            let Snoozes { count, max } = snoozes.get(&id).copied().unwrap_or_default();
            (record.snoozes, record.max_snoozes) = (count, max);
            records.push(record);
        }
        Ok(records)
    }

    async fn places(unit: &mut Unit, ids: &[Uuid]) -> Result<Vec<Place>, StoreError> {
        // The limits force a lookup by key for each. A join may be planned as a scan of the whole table.
        Ok(sqlx::query_as!(
            Place,
            r#"-- store.places
            SELECT b.id, o.status AS "final_status?", o.attempt AS "final_attempt?", o.started_at AS "started_at?",
                   o.finished_at AS "finished_at?", o.detail::text AS detail,
                   r.attempt AS "queued_attempt?", s.attempt AS "waiting_attempt?", s.pending AS "pending?", s.run_at AS "run_at?",
                   run.attempt AS "running_attempt?", run.leased_at AS "leased_at?", run.expires_at AS "lease_expires_at?",
                   coalesce(run.worker_id, o.worker_id) AS "worker_id?", coalesce(run.asked, false) AS "cancel_requested!"
            FROM jobqueue.body b
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.outcome WHERE job_id = b.id LIMIT 1) o ON true
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.ready WHERE lane = b.lane AND job_id = b.id LIMIT 1) r ON true
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.scheduled WHERE job_id = b.id LIMIT 1) s ON true
            LEFT JOIN LATERAL (
                SELECT j.attempt, j.leased_at, j.expires_at, j.worker_id,
                       EXISTS (SELECT FROM jobqueue.cancel_request c WHERE c.job_id = b.id AND c.epoch = j.epoch) AS asked
                FROM jobqueue.running j
                WHERE o.job_id IS NULL AND r.job_id IS NULL AND s.job_id IS NULL
                  AND b.id = ANY (j.lease_jobs) AND j.job_id = b.id) run ON true
            -- the bounds are for the days that are left out
            WHERE b.id = ANY ($1) AND b.id BETWEEN $2 AND $3"#,
            ids,
            ids.iter().min(),
            ids.iter().max(),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// The last 200 attempts of a job, oldest first. A job that snoozes often can have many more.
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
                  SELECT j.epoch, j.attempt, 'running', j.worker_id, j.leased_at, NULL, NULL
                  FROM jobqueue.running j WHERE $1 = ANY (j.lease_jobs) AND j.job_id = $1) u
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
                    attempt: u16::try_from(row.attempt).map_err(|e| corrupt(id, "attempt", "attempt", e))?,
                    ended: Ended::from_word(&row.ended)
                        .ok_or_else(|| corrupt(id, "attempt", "ended", &row.ended))?,
                    worker_id: row.worker_id.map(WorkerId::from_uuid),
                    started_at: row.started_at,
                    finished_at: row.finished_at,
                    error: stored_failure(id, "attempt", row.error)?,
                    progress: row
                        .progress
                        .map(|text| stored_json(id, "report", "progress", text))
                        .transpose()?,
                    log: row.log,
                })
            })
            .collect()
    }

    /// The history of a job, oldest first; `None` if no job has this id.
    pub async fn events(&self, id: JobId) -> Result<Option<Vec<Event>>, StoreError> {
        let Some(record) = self.job(id).await? else { return Ok(None) };
        let attempts = self.attempts(id).await?;
        Ok(Some(events(&record, &attempts)))
    }
}

/// The history, as far as stored rows show it.
fn events(record: &JobRecord, attempts: &[AttemptRecord]) -> Vec<Event> {
    let mut events =
        vec![Event { at: record.created_at, event: EventKind::Created, attempt: None, error: None }];
    for attempt in attempts {
        let number = Some(attempt.attempt);
        events.push(Event {
            at: attempt.started_at,
            event: EventKind::Started,
            attempt: number,
            error: None,
        });
        if let Some(at) = attempt.finished_at {
            events.push(Event {
                at,
                event: EventKind::Ended(attempt.ended),
                attempt: number,
                error: attempt.error.clone(),
            });
        }
    }
    // if the attempt ended the job, both have the same timestamp
    let is_listed = |at| attempts.last().is_some_and(|last| last.finished_at == Some(at));
    let finished = record.finished_at.zip(Ended::with(record.status));
    if let Some((at, ending)) = finished.filter(|(at, _)| !is_listed(*at)) {
        events.push(Event {
            at,
            event: EventKind::Ended(ending),
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
            match (self.final_status, self.queued_attempt, self.waiting_attempt, self.running_attempt) {
                (Some(status), ..) => (final_status(id, status)?, self.final_attempt.unwrap_or(0)),
                (_, Some(attempt), ..) => (Status::Queued, attempt),
                (_, _, Some(attempt), _) => {
                    let pending = self.pending.and_then(|jobs| u32::try_from(jobs).ok()).unwrap_or(0);
                    (Status::of_waiting(pending), attempt)
                }
                (.., Some(attempt)) => (Status::Running, attempt),
                _ => return Err(corrupt(id, "ready", "*", "the job has a body and is in no place")),
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
            snoozes: 0,
            max_snoozes: 0,
            result: result.map(|text| stored_json(id, "outcome", "result", text)).transpose()?,
            error: stored_failure(id, "outcome", error)?,
            webhook_url: None,
        })
    }
}
