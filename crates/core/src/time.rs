//! The rule for timestamps and durations in requests, the same for every field of every interface.
//!
//! - A timestamp is an existing RFC 3339 date and time with an offset, in the years 1970 to 9999: the range of job ids and
//!   Postgres. A new job's timestamps are also at most [`HORIZON`] ahead of the database's clock.
//! - A duration is a finite number of seconds, fractions included. A delay is 0 or more, a time limit at least [`MIN_LIMIT`].
//!   Each has a maximum; that of a delay before the first start is [`HORIZON`] too.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// How far ahead a job may be scheduled: 100 years of 365 days. A later time is most likely a wrong unit.
pub const HORIZON: Duration = Duration::from_hours(100 * 365 * 24);
/// Minimum time limit. Starting a handler takes longer than a shorter one.
pub const MIN_LIMIT: Duration = Duration::from_millis(1);
/// The rule for timestamps, for error messages.
pub const TIMESTAMP_RULE: &str =
    "must be an existing RFC 3339 timestamp with an offset, from 1970 to 9999, such as 2027-01-31T09:00:00Z";

const YEARS: RangeInclusive<i32> = 1970..=9999;

/// Parses a timestamp. A leap second is refused, because Postgres would move it to the next minute.
pub fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (YEARS.contains(&at.year()) && at.nanosecond() < 1_000_000_000).then_some(at)
}

/// Converts seconds to a duration inside `range`. `None` for NaN, infinity and negative numbers.
pub fn seconds(value: f64, range: RangeInclusive<Duration>) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().filter(|duration| range.contains(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_exist_and_lie_between_1970_and_9999() {
        for good in [
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "2028-02-29T12:00:00.5+05:30",
            "1969-12-31T23:30:00-01:00",
        ] {
            assert!(timestamp(good).is_some(), "{good}");
        }
        for bad in [
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:30:00+01:00",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "2027-01-01T00:00:00",
            "2027-01-01",
            "2026-12-31T23:59:60Z",
            "1e9",
            "now",
            "",
        ] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_finite_and_in_their_range() {
        let limit = MIN_LIMIT..=HORIZON;
        for (value, expected) in
            [(0.001, Some(MIN_LIMIT)), (3_153_600_000.0, Some(HORIZON)), (0.25, Some(MIN_LIMIT * 250))]
        {
            assert_eq!(seconds(value, limit.clone()), expected, "{value}");
        }
        for value in
            [0.0, 1e-7, 0.000_999, -1.0, 3_153_600_001.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
        {
            assert_eq!(seconds(value, limit.clone()), None, "{value}");
        }
        assert_eq!(seconds(0.0, Duration::ZERO..=HORIZON), Some(Duration::ZERO));
        assert_eq!(seconds(-0.0, Duration::ZERO..=HORIZON), Some(Duration::ZERO));
    }
}
