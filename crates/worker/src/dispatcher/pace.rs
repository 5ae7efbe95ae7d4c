//! How many jobs to prefetch beyond the free slots. Owns the estimate of how fast slots turn over and the
//! start time of each attempt; does not lease.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Prefetched jobs should start within this time. Jobs that would start later are left to other workers.
const PREFETCH_WITHIN: Duration = Duration::from_millis(50);
/// The newest job has a share of 1/n in the mean.
const MEAN_OVER: u32 = 8;
/// Approximate limit of the total payload size of prefetched jobs.
const PREFETCH_BYTES: usize = 8 << 20;

/// The recent mean duration and size of jobs on this worker, and the running attempts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Mean duration of recent attempts; `None` until one has ended, and after `reset`.
    mean: Option<Duration>,
    /// Mean payload size of recently leased batches. It rises at once and falls slowly.
    payload_bytes: usize,
    /// The start time of each running attempt by number. Numbers increase, so the first entry is the oldest.
    started: BTreeMap<u64, Instant>,
    /// The number of the latest attempt.
    last: u64,
}

impl Pace {
    /// Records the start of an attempt. Returns the number to pass to `ended`.
    pub(super) fn started(&mut self, now: Instant) -> u64 {
        self.last += 1;
        self.started.insert(self.last, now);
        self.last
    }

    /// Records the end of an attempt. `ran` is `None` if its handler did not run.
    pub(super) fn ended(&mut self, number: u64, ran: Option<Duration>) {
        self.started.remove(&number);
        if let Some(ran) = ran {
            self.took(ran);
        }
    }

    /// Records the payload sizes of one leased batch.
    pub(super) fn leased(&mut self, payload_bytes: impl ExactSizeIterator<Item = usize>) {
        let jobs = payload_bytes.len();
        if let Some(mean) = payload_bytes.sum::<usize>().checked_div(jobs) {
            self.payload_bytes = mean.max(self.payload_bytes / 8 * 7);
        }
    }

    /// The number of running attempts.
    pub(super) fn active(&self) -> usize {
        self.started.len()
    }

    /// Discards the estimate, because it was wrong. Nothing is prefetched until the next job ends.
    pub(super) fn reset(&mut self) {
        self.mean = None;
    }

    fn took(&mut self, ran: Duration) {
        self.mean = Some(match self.mean {
            Some(mean) => (mean * (MEAN_OVER - 1) + ran) / MEAN_OVER,
            None => ran,
        });
    }

    /// How many jobs to lease beyond the free slots: as many as `slots` can start within `PREFETCH_WITHIN`,
    /// at most two batches (so that one runs while the next is fetched), and at most `PREFETCH_BYTES` of
    /// payloads. None while jobs are slow or no estimate exists. The mean covers only ended jobs, so an
    /// attempt that has run for longer than `PREFETCH_WITHIN` also counts as slow.
    pub(super) fn prefetch(&self, slots: usize, batch: usize, now: Instant) -> usize {
        let stuck = self.started.first_key_value().is_some_and(|(_, began)| now > *began + PREFETCH_WITHIN);
        match self.mean {
            Some(mean) if mean < PREFETCH_WITHIN && !stuck => {
                let turns = PREFETCH_WITHIN.as_nanos() / mean.as_nanos().max(1);
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
        assert_eq!(pace.prefetch(10, 100, now), 0, "no estimate yet");
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
    fn prefetched_payloads_are_bounded() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.took(Duration::ZERO);
        assert_eq!(pace.prefetch(100, 500, now), 1000);
        pace.leased([60_000, 68_000].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 131);
        pace.leased([].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 131, "an empty batch does not change the estimate");
        pace.leased([16 << 20].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 0);
        pace.leased([100].into_iter());
        assert_eq!(pace.prefetch(100, 500, now), 0, "the estimate falls slowly");
        for _ in 0..100 {
            pace.leased([100].into_iter());
        }
        assert_eq!(pace.prefetch(100, 500, now), 1000);
    }

    #[test]
    fn one_long_attempt_stops_prefetching_although_the_mean_is_short() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let short = pace.started(now);
        pace.ended(short, Some(Duration::from_millis(1)));
        let long = pace.started(now);
        let young = pace.started(now + PREFETCH_WITHIN);
        assert_eq!((pace.active(), pace.prefetch(10, 20, now + PREFETCH_WITHIN)), (2, 40));
        let later = now + PREFETCH_WITHIN + Duration::from_millis(1);
        assert_eq!(pace.prefetch(10, 20, later), 0, "the oldest runs for too long");
        pace.ended(long, None);
        assert_eq!(pace.prefetch(10, 20, later), 40, "and has ended");
        pace.reset();
        assert_eq!(pace.prefetch(10, 20, later), 0, "the prefetched jobs were released");
        pace.ended(young, Some(Duration::from_millis(1)));
        assert_eq!((pace.active(), pace.prefetch(10, 20, later)), (0, 40));
    }
}
