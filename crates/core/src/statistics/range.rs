//! Which periods a reader may ask for: a range of time, cut into steps. All times are UTC. Steps begin at multiples of their length since
//! 1970, so equal requests at different times have equal periods.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{HOURS_KEPT, MINUTES_KEPT};

/// Most steps in one answer.
pub const MOST_POINTS: i64 = 3_000;
/// The range without `from`.
const DEFAULT_RANGE: TimeDelta = TimeDelta::hours(1);
/// Without a step, the shortest of these with which a range has at most [`DEFAULT_POINTS`] steps.
const STEPS: [i64; 7] = [MINUTE, 300, 900, HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR];
const DEFAULT_POINTS: i64 = 120;
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const LONGEST_STEP: i64 = 400 * 24 * HOUR;
/// A request for "the last 400 days" was computed with another clock, and its first step begins earlier.
const SLACK: TimeDelta = TimeDelta::days(2);

/// What a reader asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeRequest {
    /// Begin. Without it an hour before the end.
    pub from: Option<DateTime<Utc>>,
    /// End. Without it now.
    pub to: Option<DateTime<Utc>>,
    /// Length of a step in seconds. Without it, one that gives a good number of steps.
    pub step_seconds: Option<u32>,
}

/// The stored numbers that a range is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Those of minutes.
    Minute,
    /// Those of hours.
    Hour,
}

/// A checked range: whole steps that contain everything that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    from: i64,
    steps: i64,
    step: i64,
}

/// Why a range is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` {message}")]
pub struct RangeError {
    /// The part of the request.
    pub parameter: &'static str,
    /// What would be accepted.
    pub message: String,
}

impl RangeError {
    fn new(parameter: &'static str, message: impl Into<String>) -> Self {
        Self { parameter, message: message.into() }
    }
}

impl RangeRequest {
    /// Whether nothing was asked for.
    pub const fn is_empty(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.step_seconds.is_none()
    }

    /// The checked range, or the first mistake in it.
    pub fn check(self, now: DateTime<Utc>) -> Result<Range, RangeError> {
        let to = self.to.unwrap_or(now);
        let from = self.from.unwrap_or_else(|| to.checked_sub_signed(DEFAULT_RANGE).unwrap_or(to));
        if from >= to {
            return Err(RangeError::new("from", "must be before `to`"));
        }
        if from < oldest(HOUR, now) {
            let message = "must be within the last 400 days, because older statistics are deleted";
            return Err(RangeError::new("from", message));
        }
        let step = self.step(from, to, now)?;
        let first = from.timestamp().div_euclid(step);
        let last = to.timestamp().div_euclid(step) + i64::from(is_within(to, step));
        let range = Range { from: first * step, steps: last - first, step };
        if range.steps > MOST_POINTS {
            let message = format!(
                "gives {} steps, and at most {MOST_POINTS} are returned; use a longer one",
                range.steps
            );
            return Err(RangeError::new("step", message));
        }
        Ok(range)
    }

    fn step(self, from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Result<i64, RangeError> {
        let seconds = (to - from).num_seconds();
        let Some(step) = self.step_seconds.map(i64::from) else {
            let fits = |step: &&i64| seconds / **step < DEFAULT_POINTS && from >= oldest(**step, now);
            return Ok(STEPS.iter().find(fits).or(STEPS.last()).copied().unwrap_or(HOUR));
        };
        if step < MINUTE || step % MINUTE != 0 || step > LONGEST_STEP {
            let message =
                format!("must be a whole number of minutes in seconds, from {MINUTE} to {LONGEST_STEP}");
            return Err(RangeError::new("step", message));
        }
        if from < oldest(step, now) {
            let message =
                "must be a multiple of 3600, because the numbers of minutes are deleted after 14 days";
            return Err(RangeError::new("step", message));
        }
        Ok(step)
    }
}

/// The earliest begin for which numbers of steps of this length are kept.
fn oldest(step: i64, now: DateTime<Utc>) -> DateTime<Utc> {
    now - if step % HOUR == 0 { age(HOURS_KEPT) + SLACK } else { age(MINUTES_KEPT) }
}

fn age(kept: Duration) -> TimeDelta {
    TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX)
}

/// Whether a time lies inside of a step and not at its begin.
fn is_within(at: DateTime<Utc>, step: i64) -> bool {
    at.timestamp().rem_euclid(step) != 0 || at.timestamp_subsec_nanos() != 0
}

impl Range {
    /// Begin of the first step.
    pub fn from(&self) -> DateTime<Utc> {
        self.begin(0)
    }

    /// End of the last step.
    pub fn to(&self) -> DateTime<Utc> {
        self.begin(self.steps)
    }

    /// Length of a step in seconds.
    pub const fn step_seconds(&self) -> i64 {
        self.step
    }

    /// How many steps it has.
    pub fn len(&self) -> usize {
        usize::try_from(self.steps).unwrap_or(0)
    }

    /// Whether it has no step. A checked range has at least one.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// The begins of the steps.
    pub fn begins(&self) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        (0..self.steps).map(|step| self.begin(step))
    }

    /// The index of the step in which a time lies. `None` outside of the range.
    pub fn step_of(&self, at: DateTime<Utc>) -> Option<usize> {
        let step = (at.timestamp() - self.from).div_euclid(self.step);
        usize::try_from(step).ok().filter(|step| *step < self.len())
    }

    /// What it is read from. Hours are the sums of their minutes.
    pub const fn resolution(&self) -> Resolution {
        if self.step % HOUR == 0 { Resolution::Hour } else { Resolution::Minute }
    }

    fn begin(&self, step: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(self.from + step * self.step, 0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        at("2027-06-15T12:34:56.5Z")
    }

    fn request(from: &str, to: &str, step_seconds: u32) -> Result<Range, RangeError> {
        RangeRequest { from: Some(at(from)), to: Some(at(to)), step_seconds: Some(step_seconds) }.check(now())
    }

    #[test]
    fn without_anything_it_is_the_last_hour_in_minutes() {
        let range = RangeRequest::default().check(now()).unwrap();
        assert_eq!((range.from(), range.to()), (at("2027-06-15T11:34:00Z"), at("2027-06-15T12:35:00Z")));
        assert_eq!((range.step_seconds(), range.len(), range.resolution()), (60, 61, Resolution::Minute));
    }

    #[test]
    fn steps_begin_at_their_multiples_and_cover_the_range() {
        let range = request("2027-06-15T01:30:00+02:00", "2027-06-15T09:00:00Z", 4 * 3600).unwrap();
        let begins: Vec<_> = range.begins().collect();
        assert_eq!(
            begins,
            ["2027-06-14T20:00:00Z", "2027-06-15T00:00:00Z", "2027-06-15T04:00:00Z", "2027-06-15T08:00:00Z"]
                .map(at)
        );
        assert_eq!((range.to(), range.resolution()), (at("2027-06-15T12:00:00Z"), Resolution::Hour));
        assert_eq!(range.step_of(at("2027-06-15T03:59:59.9Z")), Some(1));
        assert_eq!(range.step_of(at("2027-06-14T19:59:59.9Z")), None);
        assert_eq!(range.step_of(range.to()), None);
        let exact = request("2027-06-15T00:00:00Z", "2027-06-15T01:00:00Z", 900).unwrap();
        assert_eq!((exact.len(), exact.resolution()), (4, Resolution::Minute));
    }

    #[test]
    fn the_default_step_follows_the_range() {
        for (hours, step, points) in [
            (2, 300, 25),
            (24, 900, 97),
            (14 * 24, 6 * 3600, 57),
            (30 * 24, 24 * 3600, 31),
            (400 * 24, 7 * 24 * 3600, 58),
        ] {
            let from = Some(now() - TimeDelta::hours(hours));
            let range = RangeRequest { from, ..RangeRequest::default() }.check(now()).unwrap();
            assert_eq!(range.step_seconds(), step, "{hours} hours");
            assert!(range.len().abs_diff(points) <= 1, "{hours} hours: {}", range.len());
        }
        let from = Some(now() - TimeDelta::days(20));
        let to = from.map(|from| from + TimeDelta::hours(1));
        let range = RangeRequest { from, to, step_seconds: None }.check(now()).unwrap();
        assert_eq!(range.resolution(), Resolution::Hour, "minutes of that time are deleted");
    }

    #[test]
    fn mistakes_are_named() {
        let day = "2027-06-14T00:00:00Z";
        for (from, to, step, parameter) in [
            (day, day, 60, "from"),
            ("2027-06-15T00:00:00Z", day, 60, "from"),
            ("2026-01-01T00:00:00Z", day, 86_400, "from"),
            (day, "2027-06-15T00:00:00Z", 0, "step"),
            (day, "2027-06-15T00:00:00Z", 90, "step"),
            (day, "2027-06-15T00:00:00Z", 40_000_020, "step"),
            ("2027-05-01T00:00:00Z", day, 5_400, "step"),
            ("2027-06-02T00:00:00Z", "2027-06-15T00:00:00Z", 60, "step"),
            ("2027-06-14T00:00:00Z", "9999-12-31T00:00:00Z", 86_400, "step"),
        ] {
            let error = request(from, to, step).unwrap_err();
            assert_eq!(error.parameter, parameter, "{from} {to} {step}: {error}");
        }
    }
}
