//! Creates job ids from the database's clock. The process's wall clock is never read. Its monotonic clock measures how
//! long ago the database last returned its time.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_core::JobId;

/// Ticks of an id per microsecond, times 1000: 4096 per millisecond.
const TICKS_PER_MILLI: u64 = 4096;
/// An answer that took longer than this does not set the clock again.
const SYNCED_WITHIN: Duration = Duration::from_millis(100);

/// A stream of ascending ids.
#[derive(Debug, Default)]
pub(crate) struct IdClock {
    synced: RwLock<Option<(DateTime<Utc>, Instant)>>,
    last: AtomicU64,
}

impl IdClock {
    /// Records that the database returned `now` to a statement that was sent at `asked`. A slow answer is inexact, because
    /// the statement may have waited for a lock. It is used only if there is no other.
    pub(crate) fn sync(&self, now: DateTime<Utc>, asked: Instant) {
        if self.is_synced() && asked.elapsed() > SYNCED_WITHIN {
            return;
        }
        if let Ok(mut synced) = self.synced.write() {
            *synced = Some((now, asked));
        }
    }

    /// Whether the database has returned its time at least once.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.read().is_ok_and(|synced| synced.is_some())
    }

    /// The database's time: its last answer plus the time since then. `None` before the first answer.
    pub(crate) fn time(&self) -> Option<DateTime<Utc>> {
        let (now, asked) = (*self.synced.read().ok()?)?;
        now.checked_add_signed(TimeDelta::from_std(asked.elapsed()).ok()?)
    }

    /// The next id. It is larger than every earlier id of this process.
    pub(crate) fn next(&self) -> JobId {
        let now = self.ticks();
        let next = |last: u64| Some(now.max(last + 1));
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(now);
        JobId::from_ticks(now.max(before + 1), rand::random())
    }

    fn ticks(&self) -> u64 {
        let synced = self.synced.read().ok().and_then(|synced| *synced);
        let Some((now, asked)) = synced else { return 0 };
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
        clock.sync(DateTime::from_timestamp(2_000_000_000, 0).unwrap(), Instant::now());
        let first = clock.next();
        clock.sync(DateTime::from_timestamp(1_000_000_000, 0).unwrap(), Instant::now());
        let rest: Vec<_> = (0..10_000).map(|_| clock.next()).collect();
        assert!(rest.iter().all(|id| *id > first) && rest.is_sorted());
        assert!(first.created_at().unwrap().timestamp() - 2_000_000_000 < 60);
    }
}
