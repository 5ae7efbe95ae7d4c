//! Takes the tallies out of their table: their sums for the counters, and what they say about series for the statistics.

use std::collections::HashMap;

use jobqueue_core::statistics::{Counts, Sample, Statistic};

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// How many tallies are read at once, which bounds the memory that they take.
const AT_ONCE: i64 = 5_000;

/// The sums of all tallies of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) created: i64,
    pub(super) completed: i64,
    pub(super) failed: i64,
    pub(super) cancelled: i64,
    pub(super) retried: i64,
    pub(super) leased: i64,
    pub(super) lost: i64,
    pub(super) pruned: i64,
    pub(super) snoozed: i64,
    pub(super) attempts: i64,
    pub(super) run_ms: i64,
}

/// The numbers of a minute by queue and kind. A kind that is not known is `None`.
pub(crate) type MinuteNumbers = HashMap<MinuteKey, Statistic>;

/// What the numbers are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MinuteKey {
    /// Minutes since 1970.
    pub(crate) minute: i64,
    /// The queue's number; that of deleted queues, if the queue was deleted after the event.
    pub(crate) queue_id: i32,
    /// The kind's number.
    pub(crate) kind_id: Option<i32>,
}

/// A row of the table.
struct Tally {
    queue_id: i32,
    created: i32,
    completed: i32,
    failed: i32,
    cancelled: i32,
    retried: i32,
    leased: i32,
    lost: i32,
    pruned: i32,
    snoozed: i32,
    attempts: i32,
    run_ms: i64,
    minute: i64,
    kinds: Option<Vec<i32>>,
    samples: Option<Vec<i32>>,
}

/// Removes up to a number of tallies, adds them to `sums`, and returns their numbers. The second result is false when none is left.
///
/// Only the holder of the lock of the census deletes or changes tallies, so each one is counted once.
pub(super) async fn drain(
    unit: &mut Unit,
    sums: &mut HashMap<i32, Sums>,
) -> Result<(MinuteNumbers, bool), StoreError> {
    let rows = sqlx::query_as!(
        Tally,
        // A row that was written by hand must not stop the census: of times and arrays that we cannot read, it says nothing.
        r#"-- store.census.drain
        DELETE FROM jobqueue.tally WHERE ctid = ANY (ARRAY(SELECT ctid FROM jobqueue.tally LIMIT $1))
        RETURNING queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms,
                  floor(extract(epoch FROM CASE WHEN isfinite(at) THEN at ELSE jobqueue.now() END) / 60)::bigint AS "minute!",
                  CASE WHEN kinds = '{}' OR array_ndims(kinds) = 1 AND array_lower(kinds, 1) = 1 AND array_position(kinds, NULL) IS NULL
                       THEN kinds END AS kinds,
                  CASE WHEN array_ndims(samples) = 1 AND array_lower(samples, 1) = 1 AND array_position(samples, NULL) IS NULL
                       THEN samples END AS samples"#,
        AT_ONCE,
    )
    .fetch_all(&mut **unit)
    .await?;
    let full = i64::try_from(rows.len()).unwrap_or(0) >= AT_ONCE;
    let mut numbers = MinuteNumbers::new();
    for row in &rows {
        sums.entry(row.queue_id).or_default().add(row);
        row.add_to(&mut numbers);
    }
    numbers.retain(|_, statistic| !statistic.is_empty());
    Ok((numbers, full))
}

impl Sums {
    fn add(&mut self, tally: &Tally) {
        self.created += i64::from(tally.created);
        self.completed += i64::from(tally.completed);
        self.failed += i64::from(tally.failed);
        self.cancelled += i64::from(tally.cancelled);
        self.retried += i64::from(tally.retried);
        self.leased += i64::from(tally.leased);
        self.lost += i64::from(tally.lost);
        self.pruned += i64::from(tally.pruned);
        self.snoozed += i64::from(tally.snoozed);
        self.attempts += i64::from(tally.attempts);
        self.run_ms += tally.run_ms;
    }

    /// Whether it shows that the queue is in use.
    pub(super) const fn is_used(&self) -> bool {
        self.created > 0 || self.retried > 0 || self.leased > 0
    }
}

impl Tally {
    fn add_to(&self, numbers: &mut MinuteNumbers) {
        let samples = || self.samples.iter().flatten().map(|packed| Sample::from_packed(*packed));
        match self.kinds.as_deref() {
            Some(kinds) if kinds.len() > 1 && self.is_of_one_event(kinds.len()) => {
                for kind in kinds {
                    let counts = &mut self.statistic_of(Some(*kind), numbers).counts;
                    counts.created += u64::from(self.created > 0);
                    counts.completed += u64::from(self.completed > 0);
                }
                for (kind, sample) in kinds.iter().zip(samples()) {
                    self.statistic_of(Some(*kind), numbers).add_sample(sample);
                }
            }
            kinds => {
                let one = kinds.and_then(|kinds| if let [kind] = kinds { Some(*kind) } else { None });
                let statistic = self.statistic_of(one, numbers);
                // without any kind these jobs were moved here: they were created before, in another queue
                let is_move = kinds.is_some_and(<[i32]>::is_empty);
                let counts = self.counts();
                let created = if is_move { 0 } else { counts.created };
                statistic.counts.add(&Counts { created, ..counts });
                samples().for_each(|sample| statistic.add_sample(sample));
            }
        }
    }

    fn statistic_of<'a>(&self, kind_id: Option<i32>, numbers: &'a mut MinuteNumbers) -> &'a mut Statistic {
        numbers.entry(MinuteKey { minute: self.minute, queue_id: self.queue_id, kind_id }).or_default()
    }

    /// Whether it counts so many jobs that were created, or so many that were completed, and nothing else.
    fn is_of_one_event(&self, jobs: usize) -> bool {
        let events = self.counts().events();
        u64::try_from(jobs) == Ok(events)
            && (to_count(self.created.into()) == events || to_count(self.completed.into()) == events)
    }

    fn counts(&self) -> Counts {
        let count = |number: i32| to_count(number.into());
        Counts {
            created: count(self.created),
            completed: count(self.completed),
            failed: count(self.failed),
            retried: count(self.retried),
            cancelled: count(self.cancelled),
            snoozed: count(self.snoozed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            queue_id: 1,
            created: 0,
            completed: 0,
            failed: 0,
            cancelled: 0,
            retried: 0,
            leased: 0,
            lost: 0,
            pruned: 0,
            snoozed: 0,
            attempts: 0,
            run_ms: 0,
            minute: 7,
            kinds: None,
            samples: None,
        }
    }

    fn numbers(tally: &Tally) -> Vec<(Option<i32>, u64, u64)> {
        let mut numbers = MinuteNumbers::new();
        tally.add_to(&mut numbers);
        let of = |(key, one): (MinuteKey, Statistic)| (key.kind_id, one.counts.events(), one.run.count());
        let mut of_kinds: Vec<_> = numbers.into_iter().map(of).collect();
        of_kinds.sort_unstable();
        of_kinds
    }

    #[test]
    fn kinds_are_of_all_jobs_or_of_each() {
        let samples = Some(vec![1, 2, 0]);
        let one = Tally { completed: 3, kinds: Some(vec![5]), samples: samples.clone(), ..tally() };
        assert_eq!(numbers(&one), [(Some(5), 3, 2)]);
        let each = Tally { completed: 3, kinds: Some(vec![5, 6, 5]), samples, ..tally() };
        assert_eq!(numbers(&each), [(Some(5), 2, 1), (Some(6), 1, 1)]);
    }

    #[test]
    fn no_event_is_lost_if_its_kind_is_not_known() {
        for kinds in [None, Some(vec![5, 6])] {
            let unknown = Tally { created: 2, cancelled: 1, kinds, ..tally() };
            assert_eq!(numbers(&unknown), [(None, 3, 0)]);
        }
    }

    #[test]
    fn jobs_that_were_moved_were_created_before() {
        let moved = Tally { created: 2, kinds: Some(vec![]), ..tally() };
        assert_eq!(numbers(&moved), [(None, 0, 0)]);
        // one that is cancelled in the same transaction has a tally with its kind for that
        let cancelled = Tally { cancelled: 1, kinds: Some(vec![5]), ..tally() };
        assert_eq!(numbers(&cancelled), [(Some(5), 1, 0)]);
        let mut sums = Sums::default();
        sums.add(&moved);
        assert_eq!((sums.created, sums.is_used()), (2, true), "the counters of the queue count them");
    }
}
