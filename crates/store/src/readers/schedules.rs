//! Reads schedules and the history of their ticks.

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Fate, Schedule, ScheduleStatus};
use jobqueue_core::{JobId, Json, ScheduleName};
use uuid::Uuid;

use crate::handles::Schedules;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// Bytes of specs in one page. A page has at least one schedule.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// A stored schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRecord {
    /// Its number. A schedule of the same name that is created after its deletion has another one.
    pub id: i64,
    /// Counts what users change, from 1. Ticks do not change it.
    pub version: i64,
    /// Its name.
    pub name: ScheduleName,
    /// Everything that the user set, as JSON of a `ScheduleDraft`.
    pub spec: Json,
    /// What manages it, from the spec.
    pub owner: Option<String>,
    /// What it is doing.
    pub status: ScheduleStatus,
    /// Since when an operator paused it.
    pub paused_at: Option<DateTime<Utc>>,
    /// When the reaper found it invalid.
    pub failed_at: Option<DateTime<Utc>>,
    /// Why it is invalid.
    pub error: Option<String>,
    /// The next tick. `None` if it has ended, is stopped, or has not been planned yet.
    pub next: Option<DateTime<Utc>>,
    /// When that tick fires.
    pub fires_at: Option<DateTime<Utc>>,
    /// The tick that waits for the end of the last job.
    pub waiting: Option<DateTime<Utc>>,
    /// How many jobs its ticks enqueued.
    pub runs: u64,
    /// The job of the last tick that had one.
    pub last_job: Option<JobId>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a user last changed it.
    pub changed_at: DateTime<Utc>,
}

/// What became of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickRecord {
    /// Its time, without jitter.
    pub nominal_at: DateTime<Utc>,
    /// What became of it.
    pub fate: Fate,
    /// Its job; the job that holds the key if the fate is [`Fate::Unique`].
    pub job: Option<JobId>,
    /// When this was decided.
    pub decided_at: DateTime<Utc>,
}

/// Which schedules to list. `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct ScheduleFilter {
    /// They have this owner.
    pub owner: Option<String>,
    /// Whether an operator paused them.
    pub paused: Option<bool>,
}

/// A row of `schedule`.
pub(crate) struct ScheduleRow {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) spec: String,
    pub(crate) owner: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) paused_at: Option<DateTime<Utc>>,
    pub(crate) failed_at: Option<DateTime<Utc>>,
    pub(crate) error: Option<String>,
    pub(crate) next_at: Option<DateTime<Utc>>,
    pub(crate) fires_at: Option<DateTime<Utc>>,
    pub(crate) waiting_at: Option<DateTime<Utc>>,
    pub(crate) runs: i64,
    pub(crate) last_job_id: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) changed_at: DateTime<Utc>,
}

impl ScheduleRecord {
    /// The checked schedule, or what is wrong with it.
    pub fn parsed(&self) -> Result<Schedule, String> {
        Schedule::of_stored(&self.name, &self.spec)
    }
}

impl TryFrom<ScheduleRow> for ScheduleRecord {
    type Error = StoreError;

    fn try_from(row: ScheduleRow) -> Result<Self, StoreError> {
        let corrupt = |column, what: String| {
            let row = row.id.to_string();
            StoreError::Corrupt { table: "schedule", column, row, what }
        };
        let name = ScheduleName::try_from(row.name).map_err(|error| corrupt("name", error.to_string()))?;
        let spec = Json::from_stored(row.spec).map_err(|error| corrupt("spec", error.to_string()))?;
        let has_next = row.fires_at.is_some() || row.waiting_at.is_some();
        Ok(Self {
            id: row.id,
            version: row.version,
            name,
            spec,
            owner: row.owner,
            status: ScheduleStatus::of(
                row.failed_at.is_some(),
                row.enabled,
                row.paused_at.is_some(),
                has_next,
            ),
            paused_at: row.paused_at,
            failed_at: row.failed_at,
            error: row.error,
            next: row.next_at,
            fires_at: row.next_at.and(row.fires_at),
            waiting: row.waiting_at,
            runs: to_count(row.runs),
            last_job: row.last_job_id.map(JobId::from_uuid),
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
    }
}

impl Schedules<'_> {
    /// One schedule.
    pub async fn get(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let record = Self::read(&mut unit, name).await?;
        unit.commit().await?;
        Ok(record)
    }

    /// Up to `limit` schedules by name, those after `after`, and whether there are more. A page of large schedules is shorter.
    pub async fn list(
        &self,
        filter: &ScheduleFilter,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<(Vec<ScheduleRecord>, bool), StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        let page = sqlx::query!(
            r#"-- store.schedules.page
            SELECT p.id AS "id!", p.before < $5::bigint AND p.place <= $4::bigint AS "fits!" FROM (
                SELECT s.id, row_number() OVER (ORDER BY s.name) AS place,
                       sum(s.spec_bytes::bigint) OVER (ORDER BY s.name) - s.spec_bytes AS before
                FROM (SELECT id, name, spec_bytes FROM jobqueue.schedule
                      WHERE name > $1 AND ($2::text IS NULL OR owner = $2) AND ($3::boolean IS NULL OR (paused_at IS NOT NULL) = $3)
                      ORDER BY name LIMIT $4::bigint + 1) s) p"#,
            after.map_or("", ScheduleName::as_str),
            filter.owner.as_deref(),
            filter.paused,
            i64::from(limit),
            PAGE_BYTES,
        )
        .fetch_all(&mut *unit)
        .await?;
        let ids: Vec<i64> = page.iter().filter(|row| row.fits).map(|row| row.id).collect();
        let rows = sqlx::query_as!(
            ScheduleRow,
            r#"-- store.schedules
            SELECT id, version, name, spec::text AS "spec!", owner, enabled, paused_at, failed_at, error, next_at, fires_at, waiting_at,
                   runs, last_job_id, created_at, changed_at
            FROM jobqueue.schedule WHERE id = ANY ($1) ORDER BY name"#,
            &ids,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let records = rows.into_iter().map(ScheduleRecord::try_from).collect::<Result<_, _>>()?;
        Ok((records, ids.len() < page.len()))
    }

    /// How many schedules are invalid.
    pub async fn count_failed(&self) -> Result<i64, StoreError> {
        let mut unit = self.0.one().await?;
        let count = sqlx::query_scalar!(
            r#"-- store.schedules.failed
            SELECT count(*) AS "count!" FROM jobqueue.schedule WHERE failed_at IS NOT NULL"#
        );
        let count = count.fetch_one(&mut *unit).await?;
        unit.commit().await?;
        Ok(count)
    }

    /// Up to `limit` ticks of a schedule, newest first, those before `before`.
    pub async fn ticks(
        &self,
        id: i64,
        before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<TickRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let rows = sqlx::query!(
            "-- store.schedule.ticks
            SELECT nominal_at, fate, job_id, decided_at FROM jobqueue.tick
            WHERE schedule_id = $1 AND nominal_at < coalesce($2::timestamptz, 'infinity') ORDER BY nominal_at DESC LIMIT $3",
            id,
            before,
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let unknown = || StoreError::Corrupt {
            table: "tick",
            column: "fate",
            row: id.to_string(),
            what: "the fate is unknown".to_owned(),
        };
        rows.into_iter()
            .map(|row| {
                let fate = Fate::of(&row.fate).ok_or_else(unknown)?;
                let job = row.job_id.map(JobId::from_uuid);
                Ok(TickRecord { nominal_at: row.nominal_at, fate, job, decided_at: row.decided_at })
            })
            .collect()
    }

    /// One schedule, in the caller's transaction.
    pub(crate) async fn read(
        unit: &mut Unit,
        name: &ScheduleName,
    ) -> Result<Option<ScheduleRecord>, StoreError> {
        let row = sqlx::query_as!(
            ScheduleRow,
            r#"-- store.schedule
            SELECT id, version, name, spec::text AS "spec!", owner, enabled, paused_at, failed_at, error, next_at, fires_at, waiting_at,
                   runs, last_job_id, created_at, changed_at
            FROM jobqueue.schedule WHERE name = $1"#,
            name.as_str(),
        )
        .fetch_optional(&mut **unit)
        .await?;
        row.map(ScheduleRecord::try_from).transpose()
    }
}
