//! Reads many jobs again and again: where each is, and what its handler has reported since the last read. One statement for all of them. It
//! reads no payloads and no results.

use chrono::{DateTime, Utc};
use jobqueue_core::{AttemptLog, Failure, JobId, Json, KindName, LogPosition, QueueName, Status, WorkerId};
use uuid::Uuid;

use crate::plumbing::catalog::Names;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::{corrupt, final_status};

/// Reports that one read returns of a job, the latest ones.
pub const REPORTS_READ: usize = 3;

/// A job to read, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedJob {
    /// The job.
    pub id: JobId,
    /// Epoch of the lease that it had at the last read.
    pub lease: Option<i64>,
    /// How far its log is known.
    pub log: LogPosition,
    /// When the report of that attempt was stored.
    pub reported_at: Option<DateTime<Utc>>,
}

/// Where a job is, and what is new of its handler's reports.
#[derive(Clone, Debug)]
pub struct WatchedState {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: KindName,
    /// Its status.
    pub status: Status,
    /// Attempts that have begun; `None` if that is not known yet.
    pub attempt: Option<u16>,
    /// Attempts that it may have.
    pub max_attempts: u16,
    /// Not before this time; `None` if it could run at once.
    pub run_at: Option<DateTime<Utc>>,
    /// When the attempt began that runs or ended the job.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker of that attempt.
    pub worker_id: Option<WorkerId>,
    /// Epoch of the lease while it runs.
    pub lease: Option<i64>,
    /// Whether a user asked to cancel it while it runs.
    pub cancel_requested: bool,
    /// Why it failed or was cancelled, without details. `None` also if the stored error is corrupt.
    pub error: Option<Failure>,
    /// Reports that have changed since the last read, oldest attempt first, at most [`REPORTS_READ`].
    pub reports: Vec<NewReport>,
}

/// A job whose stored state is invalid.
#[derive(Debug)]
pub struct UnreadableJob {
    /// The job.
    pub id: JobId,
    /// What is wrong with it.
    pub error: StoreError,
}

/// What changed in the report of one attempt.
#[derive(Clone, Debug)]
pub struct NewReport {
    /// Epoch of the attempt's lease.
    pub epoch: i64,
    /// Number of the attempt.
    pub attempt: Option<u16>,
    /// The end of its log, at least what was not known yet.
    pub text: String,
    /// Bytes that it has logged.
    pub log_end: u64,
    /// Its latest progress value.
    pub progress: Option<Json>,
    /// When it was stored.
    pub stored_at: DateTime<Utc>,
}

/// A job, with one of its reports if there is any.
struct WatchRow {
    id: Uuid,
    lane: i32,
    kind: i32,
    max_attempts: i16,
    run_at: Option<DateTime<Utc>>,
    final_status: Option<i16>,
    final_attempt: Option<i16>,
    queued_attempt: Option<i16>,
    waiting_attempt: Option<i16>,
    pending: Option<i32>,
    running_attempt: Option<i16>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    worker_id: Option<Uuid>,
    lease: Option<i64>,
    cancel_requested: bool,
    error: Option<String>,
    report_epoch: Option<i64>,
    report_attempt: Option<i16>,
    text: Option<String>,
    log_end: Option<i64>,
    progress: Option<String>,
    stored_at: Option<DateTime<Utc>>,
}

impl Store {
    /// The states of these jobs, in any order, without those that do not exist. A job that is corrupt does not hinder the others.
    pub async fn watched(
        &self,
        jobs: &[WatchedJob],
    ) -> Result<Vec<Result<WatchedState, UnreadableJob>>, StoreError> {
        let mut unit = self.one().await?;
        let rows = watch_rows(&mut unit, jobs).await?;
        let names = self.names(&mut unit, rows.iter().map(|row| (row.lane, row.kind))).await?;
        unit.commit().await?;
        Ok(states(rows, &names))
    }

    /// The logs of up to `most` attempts of a job that have a log, from the attempt of `after` on, oldest first.
    pub async fn job_logs(
        &self,
        id: JobId,
        after: LogPosition,
        most: usize,
    ) -> Result<Vec<AttemptLog>, StoreError> {
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.job_logs
            SELECT p.epoch AS "epoch!", p.log AS "log!", p.log_end AS "log_end!",
                   coalesce((SELECT t.attempt FROM jobqueue.attempt t WHERE t.job_id = $1 AND t.epoch = p.epoch),
                            (SELECT o.attempt FROM jobqueue.outcome o WHERE o.job_id = $1 AND o.epoch = p.epoch)) AS ended
            FROM (SELECT q.epoch, q.log, greatest(q.logged_bytes, octet_length(q.log)) AS log_end
                  FROM jobqueue.report q WHERE q.job_id = $1 AND q.epoch >= $2 ORDER BY q.epoch LIMIT $3) p
            ORDER BY p.epoch"#,
            id.as_uuid(),
            after.epoch,
            i64::try_from(most).unwrap_or(i64::MAX),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let log = |row: (i64, String, i64, Option<i16>)| {
            let (epoch, text, end, ended) = row;
            AttemptLog {
                epoch,
                attempt: ended.and_then(|attempt| u16::try_from(attempt).ok()),
                dropped: bytes_of(end).saturating_sub(u64::try_from(text.len()).unwrap_or(0)),
                text,
                is_complete: ended.is_some(),
            }
        };
        Ok(rows.into_iter().map(|row| log((row.epoch, row.log, row.log_end, row.ended))).collect())
    }
}

/// A job that is in no other place is leased. Its lease is looked up by key if it is known; otherwise one pass over all leases finds those of
/// all such jobs, without a join, which could be planned as a scan of all leases for each job. The leases that a job had before have smaller
/// epochs.
async fn watch_rows(unit: &mut Unit, jobs: &[WatchedJob]) -> Result<Vec<WatchRow>, StoreError> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.as_uuid()).collect();
    let leases: Vec<Option<i64>> = jobs.iter().map(|job| job.lease).collect();
    let epochs: Vec<i64> = jobs.iter().map(|job| job.log.epoch).collect();
    let bytes: Vec<i64> = jobs.iter().map(|job| i64::try_from(job.log.bytes).unwrap_or(i64::MAX)).collect();
    let reported: Vec<Option<DateTime<Utc>>> = jobs.iter().map(|job| job.reported_at).collect();
    let reports = i64::try_from(REPORTS_READ).unwrap_or(1);
    Ok(sqlx::query_as!(
        WatchRow,
        r#"-- store.watch
        WITH asked AS MATERIALIZED (
            SELECT i.*, b.lane, b.kind, b.max_attempts, b.run_at AS first_run_at,
                   o.status, o.attempt AS final_attempt, o.epoch AS final_epoch, o.started_at, o.finished_at, o.worker_id,
                   CASE WHEN o.status <> 5 THEN o.detail::text END AS error,
                   r.attempt AS queued_attempt, s.attempt AS waiting_attempt, s.pending, s.run_at,
                   o.status IS NULL AND r.attempt IS NULL AND s.attempt IS NULL AS is_leased,
                   coalesce((l.open >> (array_position(h.job_ids, i.id) - 1)) & 1 = 1, false) AS is_known
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[])
                   AS i (id, lease, log_epoch, log_bytes, reported_at)
            CROSS JOIN LATERAL (SELECT lane, kind, max_attempts, run_at FROM jobqueue.body WHERE id = i.id LIMIT 1) b
            LEFT JOIN LATERAL (SELECT * FROM jobqueue.outcome WHERE job_id = i.id LIMIT 1) o ON true
            LEFT JOIN LATERAL (SELECT attempt FROM jobqueue.ready WHERE lane = b.lane AND job_id = i.id LIMIT 1) r ON true
            LEFT JOIN LATERAL (SELECT attempt, pending, run_at FROM jobqueue.scheduled WHERE job_id = i.id LIMIT 1) s ON true
            LEFT JOIN LATERAL (SELECT job_ids FROM jobqueue.lease_jobs WHERE epoch = i.lease LIMIT 1) h ON true
            LEFT JOIN LATERAL (SELECT open FROM jobqueue.lease WHERE epoch = i.lease LIMIT 1) l ON true),
        missing AS MATERIALIZED (SELECT id FROM asked WHERE is_leased AND NOT is_known),
        found AS MATERIALIZED (
            SELECT u.id, max(u.epoch) AS epoch
            FROM (SELECT j.id, h.epoch FROM jobqueue.lease_jobs h CROSS JOIN LATERAL unnest(h.job_ids) AS j (id)
                  WHERE (SELECT count(*) FROM missing) > 0
                  UNION ALL SELECT id, NULL FROM missing) u
            GROUP BY u.id HAVING bool_or(u.epoch IS NULL))
        SELECT a.id AS "id!", a.lane AS "lane!", a.kind AS "kind!", a.max_attempts AS "max_attempts!",
               coalesce(a.run_at, a.first_run_at) AS run_at, a.status AS "final_status?", a.final_attempt AS "final_attempt?",
               a.queued_attempt AS "queued_attempt?", a.waiting_attempt AS "waiting_attempt?", a.pending AS "pending?",
               g.attempt AS "running_attempt?", coalesce(a.started_at, g.leased_at) AS started_at, a.finished_at AS "finished_at?",
               coalesce(a.worker_id, g.worker_id) AS worker_id, g.epoch AS "lease?",
               coalesce((SELECT c.epoch FROM jobqueue.cancel_request c WHERE c.job_id = a.id) = g.epoch, false) AS "cancel_requested!",
               a.error,
               p.epoch AS "report_epoch?",
               coalesce((SELECT t.attempt FROM jobqueue.attempt t WHERE t.job_id = a.id AND t.epoch = p.epoch),
                        CASE p.epoch WHEN a.final_epoch THEN a.final_attempt WHEN g.epoch THEN g.attempt END) AS report_attempt,
               -- `tail` needs four bytes to find the beginning of a character
               CASE WHEN p.epoch = a.log_epoch AND p.log_end = a.log_bytes THEN ''
                    WHEN p.epoch = a.log_epoch AND p.log_end - a.log_bytes BETWEEN 4 AND octet_length(p.log)
                    THEN jobqueue.tail(p.log, (p.log_end - a.log_bytes)::int) ELSE p.log END AS text,
               p.log_end AS "log_end?", p.progress::text AS progress, p.updated_at AS "stored_at?"
        FROM asked a
        LEFT JOIN LATERAL (SELECT f.epoch FROM found f WHERE f.id = a.id AND NOT a.is_known LIMIT 1) f ON true
        LEFT JOIN LATERAL (
            SELECT h.epoch, l.worker_id, l.leased_at, h.attempts[array_position(h.job_ids, a.id)] AS attempt
            FROM (SELECT epoch, job_ids, attempts FROM jobqueue.lease_jobs
                  WHERE epoch = CASE WHEN a.is_known THEN a.lease ELSE f.epoch END LIMIT 1) h
            CROSS JOIN LATERAL (SELECT worker_id, leased_at FROM jobqueue.lease WHERE epoch = h.epoch LIMIT 1) l
            WHERE a.is_leased) g ON true
        LEFT JOIN LATERAL (
            SELECT q.epoch, q.progress, q.log, q.updated_at, greatest(q.logged_bytes, octet_length(q.log)) AS log_end
            FROM jobqueue.report q WHERE q.job_id = a.id AND q.epoch >= a.log_epoch ORDER BY q.epoch DESC LIMIT $6) p
            ON (p.epoch, p.updated_at) IS DISTINCT FROM (a.log_epoch, a.reported_at)
        ORDER BY a.id, p.epoch"#,
        &ids,
        &leases as _,
        &epochs,
        &bytes,
        &reported as _,
        reports,
    )
    .fetch_all(&mut **unit)
    .await?)
}

/// One state a job, from the rows of its reports, which follow each other.
fn states(rows: Vec<WatchRow>, names: &Names) -> Vec<Result<WatchedState, UnreadableJob>> {
    let mut states: Vec<Result<WatchedState, UnreadableJob>> = Vec::new();
    let mut last = None;
    for mut row in rows {
        let report = row.take_report();
        if last.replace(row.id) == Some(row.id) {
            if let Some(Ok(state)) = states.last_mut() {
                state.reports.extend(report);
            }
            continue;
        }
        let (Some(lane), Some(kind)) = (names.lanes.get(&row.lane), names.kinds.get(&row.kind)) else {
            continue;
        };
        let id = JobId::from_uuid(row.id);
        let mut state = row.into_state(lane.queue.clone(), kind.clone());
        if let Ok(state) = &mut state {
            state.reports.extend(report);
        }
        states.push(state.map_err(|error| UnreadableJob { id, error }));
    }
    states
}

impl WatchRow {
    /// The report of this row, if it has one.
    fn take_report(&mut self) -> Option<NewReport> {
        Some(NewReport {
            epoch: self.report_epoch?,
            attempt: self.report_attempt.and_then(|attempt| u16::try_from(attempt).ok()),
            text: self.text.take().unwrap_or_default(),
            log_end: bytes_of(self.log_end?),
            progress: self.progress.take().and_then(|text| Json::from_stored(text).ok()),
            stored_at: self.stored_at?,
        })
    }

    fn into_state(self, queue: QueueName, kind: KindName) -> Result<WatchedState, StoreError> {
        let id = JobId::from_uuid(self.id);
        let (status, attempt) = match (self.final_status, self.queued_attempt, self.waiting_attempt) {
            (Some(status), ..) => (final_status(id, status)?, self.final_attempt),
            (_, Some(attempt), _) => (Status::Queued, Some(attempt)),
            (.., Some(attempt)) => {
                let pending = self.pending.and_then(|jobs| u32::try_from(jobs).ok()).unwrap_or(0);
                (Status::of_waiting(pending), Some(attempt))
            }
            _ => (Status::Running, self.running_attempt),
        };
        // one corrupt error must not stop the reads of all other jobs
        let error = self.error.and_then(|text| serde_json::from_str::<Failure>(&text).ok());
        Ok(WatchedState {
            id,
            queue,
            kind,
            status,
            attempt: attempt.and_then(|attempt| u16::try_from(attempt).ok()),
            max_attempts: u16::try_from(self.max_attempts)
                .map_err(|e| corrupt(id, "body", "max_attempts", e))?,
            run_at: self.run_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            worker_id: self.worker_id.map(WorkerId::from_uuid),
            lease: self.lease,
            cancel_requested: self.cancel_requested,
            error: error.map(|error| Failure { details: None, ..error }),
            reports: Vec::new(),
        })
    }
}

fn bytes_of(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
