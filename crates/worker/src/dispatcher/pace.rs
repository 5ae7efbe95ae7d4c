//! How many jobs may wait here for a slot. Owns the estimate of how fast slots turn over, and since
//! when each attempt runs; never leases.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Prefetched jobs start within about this long, or they are better left to another worker.
const AHEAD: Duration = Duration::from_millis(50);
/// Share of the newest job in the mean, as 1/n.
const MEMORY: u32 = 8;
/// Payloads of prefetched jobs fill about so many bytes at most.
const PREFETCH_BYTES: usize = 8 << 20;

/// The recent mean time and size of a job on this worker, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Pace {
    mean: Option<Duration>,
    /// Mean payload of the batches that were leased lately: grows at once, and shrinks slowly.
    payload_bytes: usize,
    /// When each attempt under way was started. The numbers grow, so the first is the oldest.
    started: BTreeMap<u64, Instant>,
    next: u64,
}

impl Pace {
    /// An attempt starts. Gives the number by which its end is told.
    pub(super) fn started(&mut self, now: Instant) -> u64 {
        self.next += 1;
        self.started.insert(self.next, now);
        self.next
    }

    /// The attempt of this number ended; `None` if its handler did not run.
    pub(super) fn ended(&mut self, number: u64, ran: Option<Duration>) {
        self.started.remove(&number);
        if let Some(ran) = ran {
            self.took(ran);
        }
    }

    /// Payloads of these sizes were leased together.
    pub(super) fn leased(&mut self, payload_bytes: impl ExactSizeIterator<Item = usize>) {
        let jobs = payload_bytes.len();
        if let Some(mean) = payload_bytes.sum::<usize>().checked_div(jobs) {
            self.payload_bytes = mean.max(self.payload_bytes / 8 * 7);
        }
    }

    /// Attempts under way.
    pub(super) fn active(&self) -> usize {
        self.started.len()
    }

    /// The estimate was wrong: nothing is known until the next job ends.
    pub(super) fn forget(&mut self) {
        self.mean = None;
    }

    fn took(&mut self, ran: Duration) {
        self.mean = Some(match self.mean {
            Some(mean) => (mean * (MEMORY - 1) + ran) / MEMORY,
            None => ran,
        });
    }

    /// Jobs to lease beyond the free slots: as many as `slots` can start within 50 ms, at most two batches, so that one runs
    /// while the next is fetched, and at most about 8 MiB of payloads; none while jobs are slow or nothing is known. The mean
    /// knows only jobs that ended, so one that has not for so long counts as slow too.
    pub(super) fn prefetch(&self, slots: usize, batch: usize, now: Instant) -> usize {
        let stuck = self.started.first_key_value().is_some_and(|(_, began)| now > *began + AHEAD);
        match self.mean {
            Some(mean) if mean < AHEAD && !stuck => {
                let turns = AHEAD.as_nanos() / mean.as_nanos().max(1);
                usize::try_from(turns)
                    .unwrap_or(usize::MAX)
                    .saturating_mul(slots)
                    .min(batch.saturating_mul(2))
                    .min(PREFETCH_BYTES / self.payload_bytes.max(1))
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_jobs_are_prefetched_and_only_as_many_as_start_soon() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.prefetch(10, 100, now), 0, "nothing is known");
        pace.took(Duration::from_millis(10));
        assert_eq!(pace.prefetch(10, 100, now), 50);
        assert_eq!(pace.prefetch(10, 20, now), 40, "never more than two batches");
        for _ in 0..100 {
            pace.took(Duration::from_secs(1));
        }
        assert_eq!(pace.prefetch(10, 100, now), 0, "slow jobs");
        for _ in 0..200 {
            pace.took(Duration::ZERO);
        }
        assert_eq!(pace.prefetch(10, 100, now), 200);
    }

    #[test]
    fn what_is_prefetched_fits_into_memory() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.took(Duration::ZERO);
        assert_eq!(pace.prefetch(100, 500, now), 1000);
        pace.leased([60_000, 68_000].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 131);
        pace.leased([].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 131, "an empty look says nothing of sizes");
        pace.leased([16 << 20].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 0);
        pace.leased([100].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 0, "one small job says little");
        for _ in 0..100 {
            pace.leased([100].into_iter());
        }
        assert_eq!(pace.prefetch(100, 500, now), 1000);
    }

    #[test]
    fn slots_full_of_jobs_that_do_not_end_stop_it_although_the_mean_is_short() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let short = pace.started(now);
        pace.ended(short, Some(Duration::from_millis(1)));
        let long = pace.started(now);
        let young = pace.started(now + AHEAD);
        assert_eq!((pace.active(), pace.prefetch(10, 20, now + AHEAD)), (2, 40));
        let later = now + AHEAD + Duration::from_millis(1);
        assert_eq!(pace.prefetch(10, 20, later), 0, "the oldest runs for too long");
        pace.ended(long, None);
        assert_eq!(pace.prefetch(10, 20, later), 40, "and has ended");
        pace.forget();
        assert_eq!(pace.prefetch(10, 20, later), 0, "what was prefetched had to go back");
        pace.ended(young, Some(Duration::from_millis(1)));
        assert_eq!((pace.active(), pace.prefetch(10, 20, later)), (0, 40));
    }
}
