//! Schedules: what users change. Each verb locks the row, so it happens before or after a pass of the reaper, never within one.

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Schedule, ScheduleDraft};
use jobqueue_core::{NewJob, ScheduleName};

use crate::handles::Schedules;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::schedules::ScheduleRecord;
use crate::verbs::audit::Change;
use crate::verbs::enqueue::submission::{Accepted, Submission};
use crate::verbs::precondition::Precondition;

pub(crate) mod fire;

/// Maximum number of tries to create a schedule that another request creates and deletes.
const TRIES: u32 = 10;

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleChange {
    /// It was created.
    Created(ScheduleRecord),
    /// It was changed, and has a new version.
    Changed(ScheduleRecord),
    /// It is as requested already. Nothing was changed.
    Same(ScheduleRecord),
    /// The precondition does not hold. Nothing was changed.
    Refused,
    /// There is none of this name.
    Unknown,
}

/// When the next tick is, and when the reaper must read the row.
#[derive(Clone, Copy, Debug)]
struct Next {
    next_at: Option<DateTime<Utc>>,
    fires_at: Option<DateTime<Utc>>,
}

impl Next {
    /// That of a schedule that begins now. A paused one has none.
    fn beginning(schedule: &Schedule, runs: u64, is_paused: bool, now: DateTime<Utc>) -> Self {
        let runs_at_all = schedule.enabled && !is_paused;
        let next_at = if runs_at_all { schedule.begin(runs, now) } else { None };
        Self { next_at, fires_at: next_at.map(|tick| schedule.plan.fires_at(tick)) }
    }
}

impl Schedules<'_> {
    /// Creates or replaces a schedule. A replaced one keeps its next tick if its ticks are the same, and begins anew otherwise. It stays
    /// paused, and its jobs and its history stay.
    pub async fn put(
        &self,
        name: &ScheduleName,
        draft: &ScheduleDraft,
        schedule: &Schedule,
        condition: &Precondition,
    ) -> Result<ScheduleChange, StoreError> {
        let spec = serde_json::to_string(draft).map_err(|error| StoreError::Abandoned(error.to_string()))?;
        for _ in 0..TRIES {
            let mut unit = self.0.begin().await?;
            let now = Self::lock(&mut unit, name).await?;
            let current = Self::read(&mut unit, name).await?;
            if !condition.holds(current.as_ref().map(|current| (current.id, current.version))) {
                return Ok(ScheduleChange::Refused);
            }
            let change: fn(ScheduleRecord) -> ScheduleChange = match &current {
                None => {
                    let next = Next::beginning(schedule, 0, false, now);
                    if !Self::insert(&mut unit, name, draft, &spec, next).await? {
                        continue; // another request created it meanwhile
                    }
                    ScheduleChange::Created
                }
                Some(current) => {
                    let is_valid = current.failed_at.is_none();
                    if is_valid && current.spec.to::<ScheduleDraft>().is_ok_and(|stored| stored == *draft) {
                        return Ok(ScheduleChange::Same(current.clone()));
                    }
                    let keeps =
                        is_valid && current.parsed().is_ok_and(|stored| stored.has_ticks_of(schedule));
                    let begins = Next::beginning(schedule, current.runs, current.paused_at.is_some(), now);
                    Self::update(&mut unit, current.id, (draft, &spec), begins, keeps).await?;
                    ScheduleChange::Changed
                }
            };
            let written = Self::read(&mut unit, name).await?;
            unit.commit().await?;
            return Ok(written.map_or(ScheduleChange::Unknown, change));
        }
        Err(StoreError::Abandoned("the schedule was created and deleted during every try".to_owned()))
    }

    /// Stops a schedule. Its running jobs continue.
    pub async fn pause(&self, name: &ScheduleName) -> Result<ScheduleChange, StoreError> {
        self.set_paused(name, true).await
    }

    /// Continues a paused schedule with the next tick after now. The ticks of the pause are not missed: they never were.
    pub async fn resume(&self, name: &ScheduleName) -> Result<ScheduleChange, StoreError> {
        self.set_paused(name, false).await
    }

    async fn set_paused(&self, name: &ScheduleName, pauses: bool) -> Result<ScheduleChange, StoreError> {
        let mut unit = self.0.begin().await?;
        let now = Self::lock(&mut unit, name).await?;
        let Some(current) = Self::read(&mut unit, name).await? else { return Ok(ScheduleChange::Unknown) };
        if current.paused_at.is_some() == pauses {
            return Ok(ScheduleChange::Same(current));
        }
        let next = match current.parsed() {
            Ok(schedule) if current.failed_at.is_none() => {
                Next::beginning(&schedule, current.runs, pauses, now)
            }
            // the reaper finds what is wrong with it
            _ => {
                Next { next_at: None, fires_at: Some(now).filter(|_| !pauses && current.failed_at.is_none()) }
            }
        };
        sqlx::query!(
            "-- store.schedule.pause
            UPDATE jobqueue.schedule SET paused_at = CASE WHEN $2 THEN jobqueue.now() END, next_at = $3, fires_at = $4,
                   version = version + 1, changed_at = jobqueue.now()
            WHERE id = $1",
            current.id,
            pauses,
            next.next_at,
            next.fires_at,
        )
        .execute(&mut *unit)
        .await?;
        let written = Self::read(&mut unit, name).await?;
        unit.commit().await?;
        Ok(written.map_or(ScheduleChange::Unknown, ScheduleChange::Changed))
    }

    /// Deletes a schedule and the history of its ticks. Its jobs stay. Returns the deleted one as [`ScheduleChange::Changed`].
    pub async fn delete(
        &self,
        name: &ScheduleName,
        condition: &Precondition,
    ) -> Result<ScheduleChange, StoreError> {
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit, name).await?;
        let current = Self::read(&mut unit, name).await?;
        if !condition.holds(current.as_ref().map(|current| (current.id, current.version))) {
            return Ok(ScheduleChange::Refused);
        }
        let Some(current) = current else { return Ok(ScheduleChange::Unknown) };
        sqlx::query!("-- store.schedule.delete\nDELETE FROM jobqueue.schedule WHERE id = $1", current.id)
            .execute(&mut *unit)
            .await?;
        sqlx::query!(
            "-- store.schedule.delete.ticks\nDELETE FROM jobqueue.tick WHERE schedule_id = $1",
            current.id
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(ScheduleChange::Changed(current))
    }

    /// Enqueues a job of a schedule now, apart from its ticks.
    pub async fn run(&self, name: &ScheduleName, job: &NewJob) -> Result<Accepted, StoreError> {
        self.0.time().await?;
        self.0.learn_names(std::slice::from_ref(job)).await?;
        let submission = Submission { jobs: vec![job.clone()], atomic: true, idempotency: None };
        retry_on_conflict(|| self.run_once(name, &submission)).await
    }

    async fn run_once(&self, name: &ScheduleName, submission: &Submission) -> Result<Accepted, StoreError> {
        let mut unit = self.0.begin().await?;
        let accepted =
            self.0.enqueue_within(&mut unit, submission).await?.pop().unwrap_or(Accepted::NotTried);
        if let Accepted::Created { id, .. } = &accepted {
            let change = Change::of("schedule.run", 1).to(name).after(&serde_json::json!({ "job_id": id }));
            self.0.audit(&mut unit, change).await?;
        }
        unit.commit().await?;
        Ok(accepted)
    }

    /// Locks the row of this name, if there is one. Returns the time.
    async fn lock(unit: &mut Unit, name: &ScheduleName) -> Result<DateTime<Utc>, StoreError> {
        sqlx::query_scalar!(
            "-- store.schedule.lock
            SELECT id FROM jobqueue.schedule WHERE name = $1 FOR UPDATE",
            name.as_str(),
        )
        .fetch_optional(&mut **unit)
        .await?;
        // the time at which the lock was acquired
        let now = sqlx::query_scalar!(r#"SELECT jobqueue.now() - now() + clock_timestamp() AS "now!""#);
        Ok(now.fetch_one(&mut **unit).await?)
    }

    /// Returns whether there was none of this name.
    async fn insert(
        unit: &mut Unit,
        name: &ScheduleName,
        draft: &ScheduleDraft,
        spec: &str,
        next: Next,
    ) -> Result<bool, StoreError> {
        let inserted = sqlx::query!(
            "-- store.schedule.create
            INSERT INTO jobqueue.schedule (name, spec, owner, enabled, next_at, fires_at)
            VALUES ($1, $2::text::json, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            name.as_str(),
            spec,
            draft.owner.as_deref(),
            draft.enabled.unwrap_or(true),
            next.next_at,
            next.fires_at,
        )
        .execute(&mut **unit)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Replaces what the user set. `keeps` keeps the next tick.
    async fn update(
        unit: &mut Unit,
        id: i64,
        (draft, spec): (&ScheduleDraft, &str),
        begins: Next,
        keeps: bool,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "-- store.schedule.replace
            UPDATE jobqueue.schedule
            SET spec = $2::text::json, owner = $3, enabled = $4, version = version + 1, changed_at = jobqueue.now(),
                failed_at = NULL, error = NULL,
                next_at = CASE WHEN $7 THEN next_at ELSE $5 END, fires_at = CASE WHEN $7 THEN fires_at ELSE $6 END
            WHERE id = $1",
            id,
            spec,
            draft.owner.as_deref(),
            draft.enabled.unwrap_or(true),
            begins.next_at,
            begins.fires_at,
            keeps,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }
}
