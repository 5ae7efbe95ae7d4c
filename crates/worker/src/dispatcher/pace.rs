//! How many jobs may wait here for a slot. Owns the estimate of how fast slots turn over; never leases.

use std::time::Duration;

/// Prefetched jobs start within about this long, or they are better left to another worker.
const AHEAD: Duration = Duration::from_millis(50);
/// Share of the newest job in the mean, as 1/n.
const MEMORY: u32 = 8;

/// The recent mean time of a job on this worker.
#[derive(Debug, Default)]
pub(super) struct Pace {
    mean: Option<Duration>,
}

impl Pace {
    /// A job took this long.
    pub(super) fn took(&mut self, ran: Duration) {
        self.mean = Some(match self.mean {
            Some(mean) => (mean * (MEMORY - 1) + ran) / MEMORY,
            None => ran,
        });
    }

    /// Jobs to lease beyond the free slots: as many as `slots` can start within 50 ms, at most `batch`; none while jobs are
    /// slow or nothing is known.
    pub(super) fn prefetch(&self, slots: usize, batch: usize) -> usize {
        match self.mean {
            Some(mean) if mean < AHEAD => {
                let turns = AHEAD.as_nanos() / mean.as_nanos().max(1);
                usize::try_from(turns).unwrap_or(usize::MAX).saturating_mul(slots).min(batch)
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
        let mut pace = Pace::default();
        assert_eq!(pace.prefetch(10, 100), 0, "nothing is known");
        pace.took(Duration::from_millis(10));
        assert_eq!(pace.prefetch(10, 100), 50);
        assert_eq!(pace.prefetch(10, 20), 20, "never more than a batch");
        for _ in 0..100 {
            pace.took(Duration::from_secs(1));
        }
        assert_eq!(pace.prefetch(10, 100), 0, "slow jobs");
        for _ in 0..200 {
            pace.took(Duration::ZERO);
        }
        assert_eq!(pace.prefetch(10, 100), 100);
    }
}
