//! Makes job ids by the database's clock. The process's own clock is never asked: it only measures how long ago the
//! database last told the time.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_core::JobId;

/// Ticks of an id per microsecond, times 1000: 4096 per millisecond.
const TICKS_PER_MILLI: u64 = 4096;
/// Slower answers do not set the clock anew.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// A stream of ascending ids.
#[derive(Debug, Default)]
pub(crate) struct IdClock {
    told: RwLock<Option<(DateTime<Utc>, Instant)>>,
    last: AtomicU64,
}

impl IdClock {
    /// The database said that it was `now` when we asked at `asked`. An answer that took long says little (the statement may
    /// have waited for a lock) and is only better than none.
    pub(crate) fn tell(&self, now: DateTime<Utc>, asked: Instant) {
        if self.is_told() && asked.elapsed() > TOLD_WITHIN {
            return;
        }
        if let Ok(mut told) = self.told.write() {
            *told = Some((now, asked));
        }
    }

    /// Whether the database has told the time yet.
    pub(crate) fn is_told(&self) -> bool {
        self.told.read().is_ok_and(|told| told.is_some())
    }

    /// The next id: later than every id that this process made before.
    pub(crate) fn next(&self) -> JobId {
        let now = self.ticks();
        let next = |last: u64| Some(now.max(last + 1));
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(now);
        JobId::from_ticks(now.max(before + 1), rand::random())
    }

    fn ticks(&self) -> u64 {
        let told = self.told.read().ok().and_then(|told| *told);
        let Some((now, asked)) = told else { return 0 };
        let micros = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        let since = u64::try_from(asked.elapsed().as_micros()).unwrap_or(0);
        micros.saturating_add(since).saturating_mul(TICKS_PER_MILLI) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_even_when_the_clock_steps_back() {
        let clock = IdClock::default();
        clock.tell(DateTime::from_timestamp(2_000_000_000, 0).unwrap(), Instant::now());
        let first = clock.next();
        clock.tell(DateTime::from_timestamp(1_000_000_000, 0).unwrap(), Instant::now());
        let rest: Vec<_> = (0..10_000).map(|_| clock.next()).collect();
        assert!(rest.iter().all(|id| *id > first) && rest.is_sorted());
        assert!(first.created_at().unwrap().timestamp() - 2_000_000_000 < 60);
    }
}
