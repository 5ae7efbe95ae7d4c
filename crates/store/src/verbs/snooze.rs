//! Counts how often jobs were snoozed. Only submissions with `max_snoozes` and settles that snooze write this
//! side table.

use std::collections::HashMap;

use jobqueue_core::JobId;
use jobqueue_core::limits::DEFAULT_MAX_SNOOZES;
use uuid::Uuid;

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::verbs::enqueue::rows::JobWithId;
use crate::verbs::settle::end::{AttemptEnd, Settled};

/// The snoozes of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snoozes {
    /// How often the job was snoozed.
    pub(crate) count: u32,
    /// Maximum number of snoozes. One snooze more fails the job.
    pub(crate) max: u32,
}

impl Default for Snoozes {
    fn default() -> Self {
        Self { count: 0, max: DEFAULT_MAX_SNOOZES }
    }
}

/// Stores `max_snoozes` of the jobs that set it.
pub(crate) async fn bound(unit: &mut Unit, jobs: &[JobWithId<'_>]) -> Result<(), StoreError> {
    let bounds = jobs.iter().filter_map(|new| Some((new.id.as_uuid(), to_int(new.job.max_snoozes?))));
    let (ids, most): (Vec<Uuid>, Vec<i32>) = bounds.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- store.snooze.bound
        INSERT INTO jobqueue.snooze (job_id, max_snoozes) SELECT * FROM unnest($1::uuid[], $2::int[])",
        &ids,
        &most,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// The snoozes of the jobs that were snoozed or set `max_snoozes`.
pub(crate) async fn read(unit: &mut Unit, ids: &[Uuid]) -> Result<HashMap<Uuid, Snoozes>, StoreError> {
    let rows = sqlx::query!(
        "-- store.snooze.read
        SELECT job_id, snoozes, max_snoozes FROM jobqueue.snooze WHERE job_id = ANY ($1)",
        ids,
    )
    .fetch_all(&mut **unit)
    .await?;
    let snoozes = |count, max: Option<i32>| Snoozes {
        count: to_count(count),
        max: max.map_or(DEFAULT_MAX_SNOOZES, to_count),
    };
    Ok(rows.into_iter().map(|row| (row.job_id, snoozes(row.snoozes, row.max_snoozes))).collect())
}

/// Turns snoozes beyond the maximum into failures. The leases are locked, so no other transaction counts a
/// snooze meanwhile.
pub(crate) async fn heed_bounds(unit: &mut Unit, ends: &mut [AttemptEnd]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> =
        ends.iter().filter(|end| end.settlement.is_snooze()).map(|end| id(end).as_uuid()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let known = read(unit, &ids).await?;
    for end in ends.iter_mut().filter(|end| end.settlement.is_snooze()) {
        let Snoozes { count, max } = known.get(&id(end).as_uuid()).copied().unwrap_or_default();
        end.settlement = end.settlement.clone().after_snoozes(count, max);
    }
    Ok(())
}

/// The jobs of these ends that snooze, with their index in `ends`.
pub(crate) fn snoozed(ends: &[AttemptEnd]) -> Vec<(usize, JobId)> {
    ends.iter()
        .enumerate()
        .filter(|(_, end)| end.settlement.is_snooze())
        .map(|(at, end)| (at, id(end)))
        .collect()
}

/// Counts the snoozes that were applied.
pub(crate) async fn count(
    unit: &mut Unit,
    snoozed: &[(usize, JobId)],
    settled: &[Settled],
) -> Result<(), StoreError> {
    let applied = snoozed.iter().filter(|(at, _)| matches!(settled.get(*at), Some(Settled::Applied(_))));
    let mut ids: Vec<Uuid> = applied.map(|(_, id)| id.as_uuid()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    ids.sort_unstable();
    sqlx::query!(
        "-- store.snooze.count
        WITH tally AS (
            INSERT INTO jobqueue.tally (queue_id, snoozed, kinds)
            SELECT l.queue_id, count(*)::int, ARRAY[b.kind] FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane
            WHERE b.id = ANY ($1) GROUP BY l.queue_id, b.kind)
        INSERT INTO jobqueue.snooze AS s (job_id, snoozes) SELECT id, 1 FROM unnest($1::uuid[]) AS i (id)
        ON CONFLICT (job_id) DO UPDATE SET snoozes = s.snoozes + 1",
        &ids,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// Sets the count back to 0 for jobs that an operator retries.
pub(crate) async fn reset(unit: &mut Unit, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "-- store.snooze.reset
        UPDATE jobqueue.snooze SET snoozes = 0 WHERE job_id = ANY ($1)",
        ids
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

fn id(end: &AttemptEnd) -> JobId {
    end.lease.job_id()
}

fn to_int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn to_count(stored: i32) -> u32 {
    u32::try_from(stored).unwrap_or(0)
}
