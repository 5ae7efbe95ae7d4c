//! How many attempts ended in the last minute. Owns samples of a counter; reads no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The period that the number is about.
const PERIOD: Duration = Duration::from_mins(1);
/// The shortest time between two samples. It bounds their number.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct EndRate(VecDeque<(Instant, u64)>);

impl EndRate {
    /// The number of ends since the newest sample that is at least a minute old, or since the first one. `total` counts all ends.
    pub(crate) fn per_minute(&mut self, total: u64, now: Instant) -> u32 {
        while self.0.get(1).is_some_and(|(at, _)| now - *at >= PERIOD) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(at, _)| now - *at >= SAMPLE_EVERY) {
            self.0.push_back((now, total));
        }
        let before = self.0.front().map_or(total, |(_, before)| *before);
        u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_of_the_last_minute_count() {
        let (mut rate, start) = (EndRate::default(), Instant::now());
        let mut at = |seconds: u64, total: u64| rate.per_minute(total, start + Duration::from_secs(seconds));
        assert_eq!(at(0, 5), 0, "the first sample");
        assert_eq!(at(10, 15), 10);
        assert_eq!(at(60, 25), 20);
        assert_eq!(at(75, 25), 10, "those of the first ten seconds are older");
        assert_eq!(at(200, 25), 0);
    }
}
