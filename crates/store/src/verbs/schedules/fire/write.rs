//! The statements that write what a pass decided.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::Fate;
use uuid::Uuid;

use super::{FailedSchedule, Firing};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

/// Ticks of a schedule that are kept.
const KEPT_TICKS: i64 = 1000;
/// Days that ticks are kept, unless they are among the newest hundred.
const KEPT_DAYS: i32 = 30;

/// A tick to record.
pub(super) struct TickRow {
    pub(super) schedule: i64,
    pub(super) nominal_at: DateTime<Utc>,
    pub(super) fate: Fate,
    pub(super) job_id: Option<Uuid>,
}

/// What a transaction writes. The columns have one entry a schedule.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) ids: Vec<i64>,
    pub(super) next_ats: Vec<Option<DateTime<Utc>>>,
    pub(super) fires_ats: Vec<Option<DateTime<Utc>>>,
    pub(super) waiting_ats: Vec<Option<DateTime<Utc>>>,
    /// Jobs that were enqueued now.
    pub(super) runs: Vec<i64>,
    /// Ticks that were decided now.
    pub(super) ticks: Vec<i64>,
    /// The newest job of now.
    pub(super) last_jobs: Vec<Option<Uuid>>,
    /// New ticks, each with how late it was decided.
    pub(super) decided: Vec<(TickRow, Duration)>,
    /// Ticks that were waiting.
    pub(super) released: Vec<TickRow>,
}

impl Store {
    pub(super) async fn record_passes(unit: &mut Unit, changes: &Changes) -> Result<(), StoreError> {
        if !changes.decided.is_empty() {
            Self::insert_ticks(unit, changes.decided.iter().map(|(row, _)| row)).await?;
        }
        if !changes.released.is_empty() {
            Self::release_ticks(unit, changes.released.iter()).await?;
        }
        if changes.ids.is_empty() {
            return Ok(());
        }
        // the history of a schedule is pruned once in 64 ticks; those of schedules that fire together are pruned at different ticks
        let crowded = sqlx::query_scalar!(
            r#"-- store.schedules.advance
            UPDATE jobqueue.schedule s
            SET next_at = i.next_at, fires_at = i.fires_at, waiting_at = i.waiting_at, runs = s.runs + i.runs, ticks = s.ticks + i.ticks,
                last_job_id = coalesce(i.last_job_id, s.last_job_id)
            FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::uuid[])
              AS i (id, next_at, fires_at, waiting_at, runs, ticks, last_job_id)
            WHERE s.id = i.id
            RETURNING CASE WHEN (s.ticks + s.id) / 64 <> (s.ticks + s.id - i.ticks) / 64 THEN s.id END"#,
            &changes.ids,
            &changes.next_ats as _,
            &changes.fires_ats as _,
            &changes.waiting_ats as _,
            &changes.runs,
            &changes.ticks,
            &changes.last_jobs as _,
        )
        .fetch_all(&mut **unit)
        .await?;
        let crowded: Vec<i64> = crowded.into_iter().flatten().collect();
        if crowded.is_empty() { Ok(()) } else { Self::prune_ticks(unit, &crowded).await }
    }

    /// The primary key refuses a tick that was decided before, and with it the transaction.
    async fn insert_ticks<'a>(
        unit: &mut Unit,
        rows: impl Iterator<Item = &'a TickRow> + Clone,
    ) -> Result<(), StoreError> {
        let (ids, nominals, fates, jobs) = columns(rows);
        sqlx::query!(
            "-- store.schedules.ticks
            INSERT INTO jobqueue.tick (schedule_id, nominal_at, fate, job_id, decided_at)
            SELECT i.*, jobqueue.now() FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::uuid[]) AS i",
            &ids,
            &nominals,
            &fates as _,
            &jobs as _,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    async fn release_ticks<'a>(
        unit: &mut Unit,
        rows: impl Iterator<Item = &'a TickRow> + Clone,
    ) -> Result<(), StoreError> {
        let (ids, nominals, fates, jobs) = columns(rows);
        sqlx::query!(
            "-- store.schedules.release
            UPDATE jobqueue.tick t SET fate = i.fate, job_id = i.job_id, decided_at = jobqueue.now()
            FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::uuid[]) AS i (id, nominal_at, fate, job_id)
            WHERE t.schedule_id = i.id AND t.nominal_at = i.nominal_at",
            &ids,
            &nominals,
            &fates as _,
            &jobs as _,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    async fn prune_ticks(unit: &mut Unit, ids: &[i64]) -> Result<(), StoreError> {
        sqlx::query!(
            "-- store.schedules.prune
            DELETE FROM jobqueue.tick t USING (
                SELECT i.id, greatest(
                    (SELECT k.nominal_at FROM jobqueue.tick k WHERE k.schedule_id = i.id ORDER BY k.nominal_at DESC OFFSET $2 LIMIT 1),
                    least(jobqueue.now() - $3::int * interval '1 day',
                          (SELECT k.nominal_at FROM jobqueue.tick k WHERE k.schedule_id = i.id ORDER BY k.nominal_at DESC OFFSET 100 LIMIT 1)))
                  AS newest
                FROM unnest($1::bigint[]) AS i (id)) old
            WHERE t.schedule_id = old.id AND t.nominal_at <= old.newest AND t.fate <> 'waiting'",
            ids,
            KEPT_TICKS,
            KEPT_DAYS,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    /// Stops a schedule that is invalid, unless a user changed it meanwhile. Only the process that stops it reports it.
    pub(super) async fn fail_schedule(
        &self,
        (id, version): (i64, i64),
        name: String,
        error: String,
        firing: &mut Firing,
    ) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        let failed = sqlx::query!(
            "-- store.schedule.fail
            UPDATE jobqueue.schedule SET failed_at = jobqueue.now(), error = $3, next_at = NULL, fires_at = NULL
            WHERE id = $1 AND version = $2 AND failed_at IS NULL",
            id,
            version,
            error,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        if failed.rows_affected() > 0 {
            firing.failed.push(FailedSchedule { name, error });
        }
        Ok(())
    }

    /// Tries a schedule again in a second, and others before it.
    pub(super) async fn postpone_schedule(&self, id: i64) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.schedule.postpone
            UPDATE jobqueue.schedule SET fires_at = jobqueue.now() + interval '1 s'
            WHERE id = (SELECT id FROM jobqueue.schedule WHERE id = $1 AND fires_at <= jobqueue.now() FOR UPDATE SKIP LOCKED)",
            id,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }
}

type TickColumns<'a> = (Vec<i64>, Vec<DateTime<Utc>>, Vec<&'a str>, Vec<Option<Uuid>>);

fn columns<'a>(rows: impl Iterator<Item = &'a TickRow> + Clone) -> TickColumns<'a> {
    (
        rows.clone().map(|row| row.schedule).collect(),
        rows.clone().map(|row| row.nominal_at).collect(),
        rows.clone().map(|row| row.fate.word()).collect(),
        rows.map(|row| row.job_id).collect(),
    )
}
