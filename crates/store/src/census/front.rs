//! The front of each lane, and since when the oldest job there waits. Leased rows stay in the index as dead entries until a vacuum
//! can remove them, which a long transaction of anybody's prevents; a look from the beginning of a lane walks them all. So once that
//! takes long, a process does it in a small part of the time. In between, the count, which reads all rows anyway, tells a few of the
//! first ids of each lane: dearer where millions wait, cheaper where little does among many dead.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use crate::connect::Unit;
use crate::error::StoreError;
use crate::low_water::{SLOW, Turn};

/// Looks from the beginning may take one part in so many of the time.
const SHARE: u32 = 100;

/// The last look from the beginning of this process.
#[derive(Debug, Default)]
pub(crate) struct Front(Mutex<Turn>);

/// A part of a lane in which jobs wait, and the first of them if the count was asked for it.
pub(super) struct Waiting {
    pub(super) lane: i32,
    pub(super) first: Option<Uuid>,
    /// It was put back.
    pub(super) again: bool,
}

impl Front {
    /// Whether the count shall tell the first ids of each lane, for a look would meet too many dead.
    pub(super) fn is_far(&self) -> bool {
        let last = self.last();
        last.took >= SLOW && !last.is_due(Instant::now(), SHARE)
    }

    /// Writes to the census since when the oldest job of each queue waits: of those that the count named, or of the first twenty of
    /// each lane. One that was leased since the count is still counted.
    pub(super) async fn look(&self, unit: &mut Unit, waiting: &[Waiting]) -> Result<(), StoreError> {
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
                  CROSS JOIN LATERAL (
                      SELECT s.first AS job_id, s.again WHERE s.first IS NOT NULL
                      UNION ALL
                      (SELECT job_id, attempt > 0 FROM jobqueue.ready w WHERE s.first IS NULL AND w.lane = s.lane
                       ORDER BY job_id LIMIT 20)) f
                  -- a look by key: a join planned in quiet times would walk all bodies
                  CROSS JOIN LATERAL (SELECT run_at FROM jobqueue.body WHERE id = f.job_id LIMIT 1) b
                  GROUP BY n.queue_id) o
            WHERE c.queue_id = o.queue_id",
            &lanes,
            &firsts as _,
            &again,
        )
        .execute(&mut **unit)
        .await;
        // whether or not it came to an end: one that took too long would do so again
        if waiting.iter().any(|one| one.first.is_none()) {
            *self.last() = Turn { last: Some(Instant::now()), took: began.elapsed(), paid: false };
        }
        looked.map(|_| ()).map_err(StoreError::from)
    }

    fn last(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
