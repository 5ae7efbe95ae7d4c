//! Cron expressions, and the instants that they name in a time zone.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};

use super::dst::Dst;
use super::zone::{Stretch, Zone};

/// Most fields of an expression, and most characters.
const MAX_LENGTH: usize = 255;
/// How many changes of the offset are searched. Zones change it at most a few times a year; the rarest date comes once in 40 years.
const MAX_STRETCHES: usize = 400;

/// A cron expression: minute, hour, day of the month, month, day of the week, with an optional field for seconds in front.
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    pattern: Box<Pattern>,
}

/// Why an expression was refused, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(CronError(format!("must have at most {MAX_LENGTH} characters")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|error| CronError(error.to_string()))?;
        let cron = Self { text: text.to_owned(), pattern: Box::new(pattern) };
        if cron.next_local(DateTime::UNIX_EPOCH, true).is_none() {
            return Err(CronError("names no date that exists".to_owned()));
        }
        Ok(cron)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({:?})", self.text)
    }
}

impl Cron {
    /// The expression in English words.
    pub fn describe(&self) -> String {
        self.pattern.describe()
    }

    /// The first local time at or after `from`. A local time is written as if it were UTC, so that nothing shifts it.
    fn next_local(&self, from: DateTime<Utc>, inclusive: bool) -> Option<DateTime<Utc>> {
        self.pattern.find_next_occurrence(&from, inclusive).ok()
    }

    /// Whether it fires in every hour, so that it counts hours that pass and not times of day.
    fn fires_every_hour(&self) -> bool {
        self.pattern.pattern.hours.values().len() == 24
    }
}

/// The first instant after `after` that the expression names. Searches stretch by stretch, because inside one the local time is
/// UTC plus a constant.
pub(super) fn next_after(cron: &Cron, zone: &Zone, dst: Dst, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut stretch = zone.stretch(after);
    let mut from = after;
    for _ in 0..MAX_STRETCHES {
        let found = next_in(cron, dst, &stretch, from, from == after);
        match (found, stretch.ends) {
            (Some(found), None) => return Some(found),
            (Some(found), Some(ends)) if found < ends => return Some(found),
            (_, None) => return None,
            (_, Some(ends)) => {
                cron.next_local(ends, true)?;
                stretch = zone.stretch(ends);
                from = ends;
            }
        }
    }
    None
}

/// The first instant of a stretch, after `from` or (unless `exclusive`) at it. It may lie behind the end of the stretch.
fn next_in(
    cron: &Cron,
    dst: Dst,
    stretch: &Stretch,
    from: DateTime<Utc>,
    exclusive: bool,
) -> Option<DateTime<Utc>> {
    let direct = next_direct(cron, dst, stretch, from, exclusive);
    let shifted = next_shifted(cron, dst, stretch, from, exclusive);
    direct.into_iter().chain(shifted).min()
}

/// By local times that exist in the stretch. Those that the stretch before had too are left out, unless they have two ticks.
fn next_direct(
    cron: &Cron,
    dst: Dst,
    stretch: &Stretch,
    from: DateTime<Utc>,
    exclusive: bool,
) -> Option<DateTime<Utc>> {
    let (mut local, mut inclusive) = (from + stretch.offset, !exclusive);
    if let Some(begins) = stretch.begins
        && dst != Dst::Both
        && !cron.fires_every_hour()
    {
        let first_new = begins + stretch.offset_before;
        if local < first_new {
            (local, inclusive) = (first_new, true);
        }
    }
    Some(cron.next_local(local, inclusive)? - stretch.offset)
}

/// By local times that the change to this stretch left out, which are moved by the length of the gap.
fn next_shifted(
    cron: &Cron,
    dst: Dst,
    stretch: &Stretch,
    from: DateTime<Utc>,
    exclusive: bool,
) -> Option<DateTime<Utc>> {
    let begins = stretch.begins?;
    if dst == Dst::Skip || cron.fires_every_hour() || stretch.offset <= stretch.offset_before {
        return None;
    }
    let gap_begins = begins + stretch.offset_before;
    let local = (from + stretch.offset_before).max(gap_begins);
    let inclusive = !exclusive || local > from + stretch.offset_before;
    let found = cron.next_local(local, inclusive)?;
    let gap_ends = begins + stretch.offset;
    (found < gap_ends).then(|| found - stretch.offset_before)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDateTime, TimeDelta};

    use super::*;

    fn ticks(cron: &str, zone: &str, dst: Dst, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (cron.parse().unwrap(), Zone::named(zone).unwrap());
        let mut at = crate::time::timestamp(after).unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = next_after(&cron, &zone, dst, at).unwrap();
            found.push(
                (at + zone.offset(at)).format("%m-%d %H:%M").to_string() + &at.format(" %H:%MZ").to_string(),
            );
        }
        found
    }

    #[test]
    fn a_time_that_does_not_exist_is_shifted_or_skipped() {
        // Berlin, 2026-03-29: 02:00 is followed by 03:00
        let spring = |dst| ticks("30 2 * * *", "Europe/Berlin", dst, "2026-03-28T00:00:00Z", 3);
        let shifted = ["03-28 02:30 01:30Z", "03-29 03:30 01:30Z", "03-30 02:30 00:30Z"];
        assert_eq!(spring(Dst::Shift), shifted);
        assert_eq!(spring(Dst::Both), shifted);
        assert_eq!(spring(Dst::Skip), ["03-28 02:30 01:30Z", "03-30 02:30 00:30Z", "03-31 02:30 00:30Z"]);
    }

    #[test]
    fn a_time_that_exists_twice_fires_once_or_twice() {
        let autumn = |dst| ticks("30 2 * * *", "Europe/Berlin", dst, "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn(Dst::Shift), ["10-25 02:30 00:30Z", "10-26 02:30 01:30Z"]);
        assert_eq!(autumn(Dst::Skip), ["10-25 02:30 00:30Z", "10-26 02:30 01:30Z"]);
        assert_eq!(autumn(Dst::Both), ["10-25 02:30 00:30Z", "10-25 02:30 01:30Z"]);
    }

    #[test]
    fn what_fires_every_hour_has_no_pause_and_no_double() {
        for after in ["2026-03-29T00:00:00Z", "2026-10-24T23:00:00Z"] {
            for dst in [Dst::Skip, Dst::Shift, Dst::Both] {
                let found = ticks("*/30 * * * *", "Europe/Berlin", dst, after, 8);
                let utc: Vec<&str> = found.iter().map(|tick| &tick[tick.len() - 6..tick.len() - 1]).collect();
                let minutes: Vec<i64> = utc.iter().map(|t| minutes(t)).collect();
                assert!(minutes.windows(2).all(|two| (two[1] - two[0]).rem_euclid(1440) == 30), "{found:?}");
            }
        }
    }

    fn minutes(text: &str) -> i64 {
        let time = NaiveDateTime::parse_from_str(&format!("2026-01-01 {text}"), "%Y-%m-%d %H:%M").unwrap();
        time.and_utc().timestamp() / 60
    }

    #[test]
    fn a_shifted_time_and_a_real_one_are_one_tick() {
        let found = ticks("30 2,3 * * *", "Europe/Berlin", Dst::Shift, "2026-03-29T00:00:00Z", 3);
        assert_eq!(found, ["03-29 03:30 01:30Z", "03-30 02:30 00:30Z", "03-30 03:30 01:30Z"]);
    }

    #[test]
    fn a_day_that_a_zone_left_out_is_shifted_by_a_day() {
        // Samoa had no 2011-12-30
        let found = ticks("0 12 30 * *", "Pacific/Apia", Dst::Shift, "2011-12-01T00:00:00Z", 2);
        assert_eq!(found, ["12-31 12:00 22:00Z", "01-30 12:00 22:00Z"]);
        let found = ticks("0 12 30 * *", "Pacific/Apia", Dst::Skip, "2011-12-01T00:00:00Z", 1);
        assert_eq!(found, ["01-30 12:00 22:00Z"]);
    }

    #[test]
    fn expressions_that_the_field_knows_are_understood() {
        let first = |cron| ticks(cron, "UTC", Dst::Shift, "2026-01-01T00:00:30Z", 1).remove(0);
        for (cron, expected) in [
            ("0 0 L * *", "01-31 00:00 00:00Z"),
            ("0 9 * * FRI#2", "01-09 09:00 09:00Z"),
            ("0 9 * * 5L", "01-30 09:00 09:00Z"),
            ("0 9 15W * *", "01-15 09:00 09:00Z"),
            ("0 0 1 JAN,FEB *", "02-01 00:00 00:00Z"),
            ("5-59/10 8 * * MON-FRI", "01-01 08:05 08:05Z"),
            ("@daily", "01-02 00:00 00:00Z"),
            ("@hourly", "01-01 01:00 01:00Z"),
            ("30 0 0 * * *", "01-02 00:00 00:00Z"),
        ] {
            assert_eq!(first(cron), expected, "{cron}");
        }
    }

    #[test]
    fn expressions_that_make_no_sense_are_refused() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "0 0 30 2 *",
            "0 0 * * MOON",
            "@never",
            "* * * * * * *",
            "1-0-2 * * * *",
            "*/0 * * * *",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
        assert!("x".repeat(256).parse::<Cron>().is_err());
    }

    #[test]
    fn rare_dates_are_found() {
        assert_eq!(
            ticks("0 0 29 2 *", "America/New_York", Dst::Shift, "2026-01-01T00:00:00Z", 1),
            ["02-29 00:00 05:00Z"]
        );
        assert_eq!(ticks("0 0 29 2 MON#5", "UTC", Dst::Shift, "2026-01-01T00:00:00Z", 1).len(), 1);
    }

    #[test]
    fn searching_costs_little() {
        let (cron, zone): (Cron, _) =
            ("0 0 1 1 *".parse().unwrap(), Zone::named("Africa/Casablanca").unwrap());
        let mut at = DateTime::UNIX_EPOCH;
        for _ in 0..100 {
            let next = next_after(&cron, &zone, Dst::Shift, at).unwrap();
            assert!(next - at > TimeDelta::zero());
            at = next;
        }
    }
}
