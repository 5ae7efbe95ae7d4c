//! The front of each lane, and since when the oldest job there waits. Leased rows stay in the index as dead entries until a vacuum
//! can remove them, which a long transaction of anybody's prevents; a look from the beginning of a lane walks them all. So a process
//! takes such looks in a small part of the time. In between, the count, which reads all rows anyway, tells the first id of each
//! lane: dearer where millions wait, cheaper where little does among many dead.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jobqueue_core::JobId;
use uuid::Uuid;

use crate::connect::Unit;
use crate::error::StoreError;

/// Looks from the beginning may take one part in so many of the time.
const SHARE: u32 = 100;
/// Until one takes so long, every look is one.
const SLOW: Duration = Duration::from_millis(100);
/// A look from the first job on does not go further than this, in the time of ids.
const AHEAD: Duration = Duration::from_secs(10);

/// When this process next looks from the beginning; `None`: whenever it looks.
#[derive(Debug, Default)]
pub(crate) struct Fronts(Mutex<Option<Instant>>);

/// A lane in which jobs wait, and the first of them if the count was asked for it.
pub(super) struct Waiting {
    pub(super) lane: i32,
    pub(super) first: Option<Uuid>,
}

impl Fronts {
    /// Whether the count shall tell the first id of each lane.
    pub(super) fn need_first(&self) -> bool {
        self.due().is_some_and(|due| Instant::now() < due)
    }

    /// Writes to the census since when the oldest job of each queue waits, as far as the front of these lanes tells.
    pub(super) async fn look(&self, unit: &mut Unit, waiting: &[Waiting]) -> Result<(), StoreError> {
        let began = Instant::now();
        let lanes: Vec<i32> = waiting.iter().map(|one| one.lane).collect();
        let (from, upto): (Vec<Uuid>, Vec<Uuid>) = waiting.iter().map(|one| stretch(one.first)).unzip();
        let looked = sqlx::query!(
            "-- store.census.front
            UPDATE jobqueue.census c SET oldest_at = o.since
            FROM (SELECT n.queue_id, min(greatest(jobqueue.created_at(f.job_id), b.run_at,
                                                  (SELECT max(a.finished_at) FROM jobqueue.attempt a
                                                   WHERE f.attempt > 0 AND a.job_id = f.job_id))) AS since
                  FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS s (lane, start, upto)
                  JOIN jobqueue.lane n ON n.id = s.lane
                  CROSS JOIN LATERAL (SELECT job_id, attempt FROM jobqueue.ready w
                                      WHERE w.lane = s.lane AND w.job_id >= s.start AND w.job_id <= s.upto
                                      ORDER BY job_id LIMIT 20) f
                  -- a look by key: a join planned in quiet times would walk all bodies
                  CROSS JOIN LATERAL (SELECT run_at FROM jobqueue.body WHERE id = f.job_id LIMIT 1) b
                  GROUP BY n.queue_id) o
            WHERE c.queue_id = o.queue_id",
            &lanes,
            &from,
            &upto,
        )
        .execute(&mut **unit)
        .await;
        // whether or not it came to an end: one that took too long would do so again
        if waiting.iter().any(|one| one.first.is_none()) {
            let now = Instant::now();
            *self.due() = next_from_the_beginning(began, now);
        }
        looked.map(|_| ()).map_err(StoreError::from)
    }

    fn due(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the next look from the beginning may be, after one that took from `began` until `now`.
fn next_from_the_beginning(began: Instant, now: Instant) -> Option<Instant> {
    let took = now.saturating_duration_since(began);
    (took >= SLOW).then(|| now + took * SHARE)
}

/// The ids between which a look goes, both included.
fn stretch(first: Option<Uuid>) -> (Uuid, Uuid) {
    let Some(first) = first else { return (Uuid::nil(), Uuid::max()) };
    let upto = JobId::from_uuid(first).created_at().map(|at| JobId::floor(at + AHEAD).as_uuid());
    (first, upto.unwrap_or(Uuid::max()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_look_from_the_beginning_that_took_long_is_taken_again_after_long() {
        let began = Instant::now();
        assert_eq!(next_from_the_beginning(began, began + 99 * MS), None);
        assert_eq!(next_from_the_beginning(began, began + 100 * MS), Some(began + 10_100 * MS));
    }

    #[test]
    fn a_look_from_the_first_job_on_is_bounded_and_one_from_the_beginning_is_not() {
        let first = JobId::from_ticks(1_790_000_000_000 << 12, 7);
        let (from, upto) = stretch(Some(first.as_uuid()));
        assert_eq!(
            (from, JobId::from_uuid(upto).earlier(AHEAD)),
            (first.as_uuid(), first.earlier(Duration::ZERO))
        );
        assert_eq!(stretch(None), (Uuid::nil(), Uuid::max()));
    }
}
