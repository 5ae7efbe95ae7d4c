//! The front of each lane, and since when the oldest job there waits. Leased rows stay in the index as dead entries until a vacuum
//! can remove them, which a long transaction of anybody's prevents; a look from the beginning walks them all. So a process remembers
//! what it found at the front and starts there, and looks from the beginning as often as a small share of the time allows.
//!
//! A job that was put back behind has waited for no longer than since the last look from the beginning. Owns no clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jobqueue_core::JobId;

use crate::connect::Unit;
use crate::error::StoreError;

/// Looks from the beginning may take one part in so many of the time.
const SHARE: u32 = 100;
/// Ids were made at most about so long before their transactions committed.
const LATE: Duration = Duration::from_secs(10);

/// What one process remembers.
#[derive(Debug, Default)]
pub(crate) struct Fronts(Mutex<Front>);

#[derive(Debug, Default)]
struct Front {
    /// Where to start in each lane.
    starts: HashMap<i32, JobId>,
    /// When the next look from the beginning is due.
    due: Option<Instant>,
}

impl Fronts {
    /// Writes to the census since when the oldest job of each queue waits, of those queues where the count has just found any.
    pub(super) async fn look(&self, unit: &mut Unit) -> Result<(), StoreError> {
        let began = Instant::now();
        let starts = self.lock().starts(began);
        let (lanes, ids): (Vec<i32>, Vec<_>) = starts.iter().map(|(lane, id)| (*lane, id.as_uuid())).unzip();
        let found = sqlx::query!(
            r#"-- store.census.front
            WITH front AS MATERIALIZED (
                SELECT n.id AS lane, n.queue_id, f.job_id,
                       greatest(jobqueue.created_at(f.job_id), b.run_at,
                                (SELECT max(a.finished_at) FROM jobqueue.attempt a
                                 WHERE f.attempt > 0 AND a.job_id = f.job_id)) AS since
                FROM jobqueue.census c
                JOIN jobqueue.lane n ON n.queue_id = c.queue_id
                LEFT JOIN unnest($1::int[], $2::uuid[]) AS s (lane, start) ON s.lane = n.id
                CROSS JOIN LATERAL (SELECT job_id, attempt FROM jobqueue.ready w
                                    WHERE w.lane = n.id AND w.job_id >= coalesce(s.start, '00000000-0000-0000-0000-000000000000')
                                    ORDER BY job_id LIMIT 20) f
                -- a look by key: a join planned in quiet times would walk all bodies
                CROSS JOIN LATERAL (SELECT run_at FROM jobqueue.body WHERE id = f.job_id LIMIT 1) b
                WHERE c.queued > 0),
            oldest AS (
                UPDATE jobqueue.census c SET oldest_at = (SELECT min(f.since) FROM front f WHERE f.queue_id = c.queue_id))
            SELECT DISTINCT ON (lane) lane AS "lane!", job_id AS "job_id!" FROM front ORDER BY lane, job_id"#,
            &lanes,
            &ids,
        )
        .fetch_all(&mut **unit)
        .await;
        // one that failed because it took too long is not taken again at once either
        self.lock().looked(starts.is_empty(), began, Instant::now());
        let found = found?.into_iter().map(|row| (row.lane, JobId::from_uuid(row.job_id)));
        self.lock().found(found);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Front> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    /// Lanes and where to start in them; none if a look from the beginning is due.
    fn starts(&self, now: Instant) -> Vec<(i32, JobId)> {
        if self.due.is_none_or(|due| due <= now) {
            return Vec::new();
        }
        self.starts.iter().map(|(lane, id)| (*lane, *id)).collect()
    }

    /// A look has ended.
    fn looked(&mut self, from_the_beginning: bool, began: Instant, now: Instant) {
        if from_the_beginning {
            self.due = Some(now + now.saturating_duration_since(began) * SHARE);
        }
    }

    /// The first job in each lane that has any. The start of a lane that is empty for now stays where it is.
    fn found(&mut self, first: impl Iterator<Item = (i32, JobId)>) {
        self.starts.extend(first.map(|(lane, id)| (lane, id.earlier(LATE))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(seconds: u64) -> JobId {
        JobId::from_ticks((1_790_000_000_000 + seconds * 1000) << 12, 7)
    }

    #[test]
    fn a_look_from_the_beginning_that_took_long_is_taken_again_after_long() {
        let (mut front, began) = (Front::default(), Instant::now());
        assert!(front.starts(began).is_empty(), "nothing is known yet");
        front.looked(true, began, began + SECOND);
        front.found([(1, id(100)), (2, id(7))].into_iter());
        let mut starts = front.starts(began + 2 * SECOND);
        starts.sort_unstable();
        assert_eq!(starts, [(1, id(90).earlier(Duration::ZERO)), (2, id(0).earlier(3 * SECOND))]);
        front.looked(false, began + 2 * SECOND, began + 3 * SECOND);
        front.found([(1, id(300))].into_iter());
        assert_eq!(front.starts(began + 100 * SECOND).len(), 2);
        assert!(front.starts(began + 100 * SECOND).contains(&(1, id(290).earlier(Duration::ZERO))));
        assert!(front.starts(began + 101 * SECOND).is_empty());
    }
}
