//! The front of each lane, and since when the oldest job there waits.
//!
//! Rows of leased jobs stay in the index as dead entries until a vacuum removes them, and any long transaction prevents that. A scan from
//! the beginning of a lane reads all of them. When such scans become slow, a process spends at most one part in `SHARE` of its time on
//! them. In between, the count, which reads all rows anyway, returns the first ids of each lane. That costs more than a scan where millions
//! of jobs wait, and less where few jobs wait behind many dead entries.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::low_water::ScanBudget;

/// Looks from the beginning may take one part in so many of the time.
const SHARE: u32 = 100;
/// Jobs that are looked at in all lanes together, and at least one in each.
const LOOKS: i64 = 10_000;

/// A part of a lane in which jobs wait, and the first of them if the count was asked for it.
pub(super) struct Waiting {
    pub(super) lane: i32,
    pub(super) first: Option<Uuid>,
    /// It was put back.
    pub(super) again: bool,
}

impl Store {
    /// Whether the count shall tell the first ids of each lane, for a look would meet too many dead.
    pub(super) fn is_front_far(&self) -> bool {
        let last = self.last_front_scan();
        last.is_slow() && !last.is_due(Instant::now(), SHARE)
    }

    /// Writes to the census since when the oldest job of each queue waits: of those that the count named, or of the first ones
    /// of each lane: twenty, or fewer where there are more than 500 lanes. One that was leased since the count is still counted.
    pub(super) async fn read_front(&self, unit: &mut Unit, waiting: &[Waiting]) -> Result<(), StoreError> {
        let began = Instant::now();
        let lanes: Vec<i32> = waiting.iter().map(|one| one.lane).collect();
        let firsts: Vec<Option<Uuid>> = waiting.iter().map(|one| one.first).collect();
        let again: Vec<bool> = waiting.iter().map(|one| one.again).collect();
        let looked = sqlx::query!(
            "-- store.census.front
            UPDATE jobqueue.census c SET oldest_at = o.since
            FROM (SELECT n.queue_id, min(greatest(jobqueue.created_at(f.job_id), b.run_at,
                                                  (SELECT max(a.finished_at) FROM jobqueue.attempt a
                                                   WHERE f.again AND a.job_id = f.job_id))) AS since
                  FROM unnest($1::int[], $2::uuid[], $3::boolean[]) AS s (lane, first, again)
                  JOIN jobqueue.lane n ON n.id = s.lane
                  LEFT JOIN LATERAL (
                      SELECT s.first AS job_id, s.again WHERE s.first IS NOT NULL
                      UNION ALL
                      (SELECT job_id, attempt > 0 FROM jobqueue.ready w WHERE s.first IS NULL AND w.lane = s.lane
                       ORDER BY job_id LIMIT $4)) f ON true
                  -- a look by key: a join planned in quiet times would walk all bodies
                  LEFT JOIN LATERAL (SELECT run_at FROM jobqueue.body WHERE id = f.job_id LIMIT 1) b ON true
                  GROUP BY n.queue_id) o
            WHERE c.queue_id = o.queue_id AND c.oldest_at IS DISTINCT FROM o.since",
            &lanes,
            &firsts as _,
            &again,
            (LOOKS / i64::try_from(lanes.len().max(1)).unwrap_or(LOOKS)).clamp(1, 20),
        )
        .execute(&mut **unit)
        .await;
        // whether or not it came to an end: one that took too long would do so again
        if waiting.iter().any(|one| one.first.is_none()) {
            *self.last_front_scan() = ScanBudget::after(Instant::now(), began.elapsed(), false);
        }
        looked.map(|_| ()).map_err(StoreError::from)
    }

    fn last_front_scan(&self) -> MutexGuard<'_, ScanBudget> {
        self.front_scan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
