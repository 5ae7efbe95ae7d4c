//! Redrives: begin, stop, and the steps that the reaper makes. A step is one transaction under the lock of the redrive's row, so it happens
//! once or not at all, even if a process is killed. `core::redrive` decides how many jobs a step retries, and whether the failures have returned.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, QueueName, RedriveResult, RedriveRules};
use uuid::Uuid;

use crate::handles::DeadLetters;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::dead_letters::DeadLetterFilter;
use crate::readers::dead_letters::redrives::{Redrive, RedriveRow, RedriveState};
use crate::verbs::audit::Change;
use crate::verbs::retry::Retried;

/// Most jobs that one step retries.
const MAX_BATCH: u32 = 500;
/// Most dead letters that one step examines. A filter may match few of them.
const MAX_SEEN: i64 = 5_000;
/// Pause of a redrive after a step that found nothing more to do.
const PAUSE_MS: i64 = 500;

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedriveStep {
    /// Number of jobs that it retried.
    pub jobs: u64,
    /// Queues of these jobs, to wake their workers.
    pub queues: BTreeSet<QueueName>,
    /// The redrive, if this step ended it, and how.
    pub ended: Option<(Uuid, RedriveState)>,
    /// Whether another step is due at once.
    pub more: bool,
}

/// The result of a stop.
#[derive(Clone, Debug, PartialEq)]
pub enum RedriveStop {
    /// It is stopped now. The jobs that it has retried run on.
    Now(Redrive),
    /// It had ended before.
    Ended(Redrive),
    /// No redrive has this id.
    Unknown,
}

/// The row of a redrive under its lock.
struct LockedRow {
    id: Uuid,
    filter: String,
    rate: f64,
    stop_share: f64,
    stop_window: i32,
    created_at: DateTime<Utc>,
    after_at: Option<DateTime<Utc>>,
    after_id: Uuid,
    is_examined: bool,
    credit: f64,
    recent: String,
    elapsed_us: i64,
}

/// A redrive under its lock.
struct Locked {
    id: Uuid,
    rules: RedriveRules,
    filter: DeadLetterFilter,
    created_at: DateTime<Utc>,
    after: (DateTime<Utc>, Uuid),
    is_examined: bool,
    credit: f64,
    recent: Vec<RedriveResult>,
}

/// What a step has found and done, for the row.
#[derive(Default)]
struct Progress {
    redriven: i64,
    refused: i64,
    results: Vec<RedriveResult>,
    after: Option<(DateTime<Utc>, Uuid)>,
    is_examined: bool,
    state: Option<RedriveState>,
}

impl DeadLetters<'_> {
    /// Begins a redrive. The reaper makes its steps. `total` is how many dead letters match.
    pub async fn begin_redrive(
        &self,
        filter: &DeadLetterFilter,
        rules: RedriveRules,
        total: Option<u64>,
    ) -> Result<Redrive, StoreError> {
        let text = serde_json::to_string(filter).map_err(|error| StoreError::Abandoned(error.to_string()))?;
        let mut unit = self.0.one().await?;
        let row = sqlx::query_as!(
            RedriveRow,
            r#"-- store.redrive.begin
            INSERT INTO jobqueue.redrive (id, created_at, filter, rate, stop_share, stop_window, total, state, after_at, after_id, paced_at)
            VALUES (jobqueue.new_id(), jobqueue.now(), $1::text::json, $2, $3, $4, $5, 'running', '-infinity',
                    '00000000-0000-0000-0000-000000000000', jobqueue.now())
            RETURNING id, created_at, filter::text AS "filter!", rate, stop_share, stop_window, total, state, redriven, refused, succeeded, failed,
                      other, ended_at"#,
            text,
            rules.rate,
            rules.stop_share,
            i32::try_from(rules.stop_window).unwrap_or(i32::MAX),
            total.map(|total| i64::try_from(total).unwrap_or(i64::MAX)),
        )
        .fetch_one(&mut *unit)
        .await?;
        let set = serde_json::json!({
            "rate": rules.rate, "stop_share": rules.stop_share, "stop_window": rules.stop_window, "total": total,
        });
        let change = Change::of("redrive.start", 1).to(&row.id).filter(filter).after(&set);
        self.0.audit(&mut unit, change).await?;
        unit.commit().await?;
        row.try_into()
    }

    /// Stops a redrive.
    pub async fn stop_redrive(&self, id: Uuid) -> Result<RedriveStop, StoreError> {
        let mut unit = self.0.begin().await?;
        let stopped = sqlx::query!(
            "-- store.redrive.stop
            UPDATE jobqueue.redrive SET state = 'stopped', ended_at = jobqueue.now() WHERE id = $1 AND state = 'running'",
            id,
        )
        .execute(&mut *unit)
        .await?;
        forget_open(&mut unit, id).await?;
        let count = usize::from(stopped.rows_affected() > 0);
        self.0.audit(&mut unit, Change::of("redrive.stop", count).to(&id)).await?;
        unit.commit().await?;
        let redrive = self.redrive(id).await?;
        Ok(match redrive {
            None => RedriveStop::Unknown,
            Some(redrive) if stopped.rows_affected() > 0 => RedriveStop::Now(redrive),
            Some(redrive) => RedriveStop::Ended(redrive),
        })
    }
}

impl Store {
    /// Makes the next step of the redrive that waits longest. Several processes may call this at the same time; each takes another redrive.
    /// `None` if none is due. After an error of one redrive, the others are due first.
    pub async fn redrive_step(&self) -> Result<Option<RedriveStep>, StoreError> {
        retry_on_conflict(|| self.redrive_once()).await
    }

    async fn redrive_once(&self) -> Result<Option<RedriveStep>, StoreError> {
        let mut unit = self.begin().await?;
        Self::before_walk(&mut unit).await?;
        let Some(row) = lock(&mut unit).await? else { return Ok(None) };
        let id = row.id;
        let done = Self::step_within(unit, row).await;
        if let Err(error) = &done
            && !error.concerns_everyone()
            && !error.is_conflict()
        {
            // the error of the step is returned; if this fails as well, the same redrive is next
            drop(self.postpone(id).await);
        }
        done.map(Some)
    }

    /// Makes the step of a redrive and commits it.
    async fn step_within(mut unit: Unit, row: LockedRow) -> Result<RedriveStep, StoreError> {
        let redrive = Locked::try_from(row)?;
        let (mut step, mut progress) = (RedriveStep::default(), Progress::default());
        let under_way = resolve(&mut unit, &redrive, &mut progress).await?;
        let mut recent = redrive.recent.clone();
        recent.extend(progress.results.iter().filter(|result| **result != RedriveResult::Other));
        let window = usize::try_from(redrive.rules.stop_window).unwrap_or(usize::MAX);
        recent.drain(..recent.len().saturating_sub(window));
        progress.is_examined = redrive.is_examined;
        let mut batch = 0;
        if redrive.rules.stops(&recent) {
            progress.state = Some(RedriveState::Failing);
        } else if !redrive.is_examined {
            batch = redrive.rules.batch(redrive.credit, under_way, MAX_BATCH);
            if batch > 0 {
                Self::retry_next(&mut unit, &redrive, batch, &mut progress, &mut step).await?;
            }
        } else if under_way == 0 {
            progress.state = Some(RedriveState::Done);
        }
        if progress.state.is_some() {
            forget_open(&mut unit, redrive.id).await?;
        }
        step.more = progress.state.is_none() && batch > 0;
        step.ended = progress.state.map(|state| (redrive.id, state));
        write(&mut unit, &redrive, &progress, &recent).await?;
        unit.commit().await?;
        Ok(step)
    }

    /// Lets the other redrives make their steps first, in a transaction of its own, because that of the step is rolled back.
    async fn postpone(&self, id: Uuid) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.redrive.postpone
            UPDATE jobqueue.redrive SET paced_at = jobqueue.now() WHERE id = $1 AND state = 'running'",
            id,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Retries the next dead letters that match.
    async fn retry_next(
        unit: &mut Unit,
        redrive: &Locked,
        batch: u32,
        progress: &mut Progress,
        step: &mut RedriveStep,
    ) -> Result<(), StoreError> {
        let next = next(unit, redrive, batch).await?;
        let found: Vec<JobId> =
            next.iter().filter(|row| row.matches).map(|row| JobId::from_uuid(row.id)).collect();
        progress.after = next.last().map(|row| (row.failed_at, row.id));
        progress.is_examined = next.is_empty();
        if found.is_empty() {
            return Ok(());
        }
        let retried = Self::retry_within(unit, &found).await?;
        let again: Vec<Uuid> = found
            .iter()
            .zip(&retried)
            .filter(|(_, retried)| **retried == Retried::Now)
            .map(|(id, _)| id.as_uuid())
            .collect();
        progress.redriven = i64::try_from(again.len()).unwrap_or(0);
        progress.refused = i64::try_from(found.len() - again.len()).unwrap_or(0);
        step.jobs = u64::try_from(again.len()).unwrap_or(0);
        let queues = sqlx::query_scalar!(
            r#"-- store.redrive.note
            WITH noted AS (
                INSERT INTO jobqueue.redriven (redrive_id, job_id, redriven_at) SELECT $1, id, jobqueue.now() FROM unnest($2::uuid[]) AS i (id)
                ON CONFLICT DO NOTHING)
            SELECT DISTINCT jobqueue.queue_of(b.lane) AS "queue!" FROM unnest($2::uuid[]) AS i (id)
            CROSS JOIN LATERAL (SELECT lane FROM jobqueue.body WHERE id = i.id LIMIT 1) b"#,
            redrive.id,
            &again,
        )
        .fetch_all(&mut **unit)
        .await?;
        step.queues = queues.into_iter().filter_map(|queue| queue.parse().ok()).collect();
        Ok(())
    }
}

/// Locks the running redrive whose last step was the longest ago.
async fn lock(unit: &mut Unit) -> Result<Option<LockedRow>, StoreError> {
    Ok(sqlx::query_as!(
        LockedRow,
        r#"-- store.redrive.lock
        SELECT id, filter::text AS "filter!", rate, stop_share, stop_window, created_at, nullif(after_at, '-infinity') AS after_at, after_id,
               is_examined, credit, recent, (extract(epoch FROM jobqueue.now() - paced_at) * 1000000)::bigint AS "elapsed_us!"
        FROM jobqueue.redrive
        WHERE state = 'running' AND (paced_at <= jobqueue.now() - $1::bigint * interval '1 ms' OR paced_at > jobqueue.now())
        ORDER BY paced_at LIMIT 1 FOR UPDATE SKIP LOCKED"#,
        PAUSE_MS,
    )
    .fetch_optional(&mut **unit)
    .await?)
}

impl TryFrom<LockedRow> for Locked {
    type Error = StoreError;

    fn try_from(row: LockedRow) -> Result<Self, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "redrive",
            column: "filter",
            row: row.id.to_string(),
            what: error.to_string(),
        };
        let rules = RedriveRules {
            rate: row.rate,
            stop_share: row.stop_share,
            stop_window: u32::try_from(row.stop_window).unwrap_or(1),
        };
        // a clock that went back gives no credit
        let elapsed = std::time::Duration::from_micros(u64::try_from(row.elapsed_us).unwrap_or(0));
        Ok(Self {
            id: row.id,
            rules,
            filter: serde_json::from_str(&row.filter).map_err(corrupt)?,
            created_at: row.created_at,
            after: (row.after_at.unwrap_or(DateTime::<Utc>::UNIX_EPOCH), row.after_id),
            is_examined: row.is_examined,
            credit: rules.credit(row.credit, elapsed),
            recent: row
                .recent
                .chars()
                .map(|letter| if letter == 'f' { RedriveResult::Failed } else { RedriveResult::Succeeded })
                .collect(),
        })
    }
}

/// Finds the results of the jobs under way, and deletes the rows of those that have one. Returns how many have none yet.
async fn resolve(unit: &mut Unit, redrive: &Locked, progress: &mut Progress) -> Result<u32, StoreError> {
    // an attempt that failed is a result, even if it is retried: with the default policy the last attempt is days away
    let rows = sqlx::query!(
        r#"-- store.redrive.results
        SELECT r.job_id, (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = r.job_id) AS status,
               (SELECT b.kind FROM jobqueue.body b WHERE b.id = r.job_id) IS NULL AS "is_gone!",
               (SELECT a.epoch FROM jobqueue.attempt a WHERE a.job_id = r.job_id AND a.finished_at > r.redriven_at
                   AND a.ended IN ('retried', 'failed', 'lost') LIMIT 1) IS NOT NULL AS "has_failed!"
        FROM jobqueue.redriven r WHERE r.redrive_id = $1"#,
        redrive.id,
    )
    .fetch_all(&mut **unit)
    .await?;
    let (mut known, mut under_way) = (Vec::new(), 0);
    for row in rows {
        let result = match row.status {
            Some(5) => RedriveResult::Succeeded,
            Some(6) => RedriveResult::Failed,
            _ if row.has_failed => RedriveResult::Failed,
            Some(_) => RedriveResult::Other,
            None if row.is_gone => RedriveResult::Other,
            None => {
                under_way += 1;
                continue;
            }
        };
        known.push(row.job_id);
        progress.results.push(result);
    }
    if !known.is_empty() {
        sqlx::query!(
            "-- store.redrive.known
            DELETE FROM jobqueue.redriven WHERE redrive_id = $1 AND job_id = ANY ($2)",
            redrive.id,
            &known,
        )
        .execute(&mut **unit)
        .await?;
    }
    Ok(under_way)
}

/// A dead letter that a step examines. The last one may not match: it says how far the step came.
struct Examined {
    id: Uuid,
    failed_at: DateTime<Utc>,
    matches: bool,
}

/// The next dead letters that match, oldest first. Empty if none is left.
async fn next(unit: &mut Unit, redrive: &Locked, batch: u32) -> Result<Vec<Examined>, StoreError> {
    let (filter, columns) = (&redrive.filter, redrive.filter.columns());
    Ok(sqlx::query_as!(
        Examined,
        r#"-- store.redrive.next
        WITH seen AS MATERIALIZED (
            SELECT d.job_id, d.failed_at, d.fingerprint, d.kind FROM jobqueue.dead_letter d
            WHERE d.failed_at <= $1 AND (d.failed_at, d.job_id) > ($2, $3)
              AND ($4::uuid IS NULL OR d.fingerprint = $4)
              AND ($5::text IS NULL OR d.queue_id = (SELECT q.id FROM jobqueue.queue q WHERE q.name = $5))
              AND ($6::text[] IS NULL OR d.queue_id = ANY (ARRAY(SELECT q.id FROM jobqueue.queue q WHERE q.name = ANY ($6))))
              AND ($7::timestamptz IS NULL OR d.failed_at >= $7)
              AND ($8::timestamptz IS NULL OR d.failed_at < $8)
            ORDER BY d.failed_at, d.job_id LIMIT $9),
        matching AS MATERIALIZED (
            SELECT s.job_id, s.failed_at FROM seen s
            WHERE ($10::text[] IS NULL OR s.kind = ANY (ARRAY(SELECT k.id FROM jobqueue.kind k WHERE k.name = ANY ($10))))
              AND ($11::text[] IS NULL OR (SELECT b.tags @> $11 FROM jobqueue.body b WHERE b.id = s.job_id))
              AND ($12::text[] IS NULL OR (SELECT c.error_type = ANY ($12) FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = s.fingerprint))
              AND ($13::text IS NULL OR (SELECT strpos(lower(o.detail->>'message'), lower($13)) > 0
                                         FROM jobqueue.outcome o WHERE o.job_id = s.job_id))
            ORDER BY s.failed_at, s.job_id LIMIT $14)
        SELECT u.job_id AS "id!", u.failed_at AS "failed_at!", u.matches AS "matches!" FROM (
            SELECT job_id, failed_at, true AS matches FROM matching
            UNION ALL
            (SELECT job_id, failed_at, false FROM seen WHERE (SELECT count(*) FROM matching) < $14
             ORDER BY failed_at DESC, job_id DESC LIMIT 1)) u
        ORDER BY u.failed_at, u.job_id, u.matches DESC"#,
        redrive.created_at,
        redrive.after.0,
        redrive.after.1,
        filter.group,
        columns.queue,
        columns.queues.as_deref(),
        filter.failed_after,
        filter.failed_before,
        MAX_SEEN,
        columns.kinds.as_deref(),
        columns.tags.as_deref(),
        columns.error_types.as_deref(),
        filter.text,
        i64::from(batch),
    )
    .fetch_all(&mut **unit)
    .await?)
}

async fn forget_open(unit: &mut Unit, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!("-- store.redrive.forget\nDELETE FROM jobqueue.redriven WHERE redrive_id = $1", id)
        .execute(&mut **unit)
        .await?;
    Ok(())
}

async fn write(
    unit: &mut Unit,
    redrive: &Locked,
    progress: &Progress,
    recent: &[RedriveResult],
) -> Result<(), StoreError> {
    let of = |result| {
        i64::try_from(progress.results.iter().filter(|known| **known == result).count()).unwrap_or(0)
    };
    let letter = |result: &RedriveResult| if *result == RedriveResult::Failed { 'f' } else { 's' };
    let (after_at, after_id) = progress.after.unzip();
    let spent = f64::from(u32::try_from(progress.redriven).unwrap_or(0));
    sqlx::query!(
        "-- store.redrive.write
        UPDATE jobqueue.redrive
        SET redriven = redriven + $2, refused = refused + $3, succeeded = succeeded + $4, failed = failed + $5, other = other + $6,
            recent = $7, credit = $8, paced_at = jobqueue.now(), after_at = coalesce($9, after_at), after_id = coalesce($10, after_id),
            is_examined = $11, state = coalesce($12, state), ended_at = CASE WHEN $12::text IS NOT NULL THEN jobqueue.now() END
        WHERE id = $1",
        redrive.id,
        progress.redriven,
        progress.refused,
        of(RedriveResult::Succeeded),
        of(RedriveResult::Failed),
        of(RedriveResult::Other),
        recent.iter().map(letter).collect::<String>(),
        redrive.credit - spent,
        after_at,
        after_id,
        progress.is_examined,
        progress.state.map(RedriveState::word),
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}
