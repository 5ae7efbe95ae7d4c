//! Timestamps for people. "Now" is the `Date` of the API's last response, because the clock of this machine may be wrong.

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};

/// A duration in at most two units, as `kubectl` writes it: `5s`, `3m20s`, `2h5m`, `9d4h`.
pub(crate) fn short(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "0s".to_owned();
    }
    let whole = seconds.floor().min(1e12);
    if whole < 10.0 && seconds > 0.0 && whole < seconds {
        return format!("{seconds:.1}s");
    }
    let units = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = whole;
    let mut parts = Vec::new();
    for (name, size) in units {
        let count = (rest / size).floor();
        rest -= count * size;
        if count > 0.0 || (name == "s" && parts.is_empty()) {
            parts.push(format!("{count}{name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.concat()
}

/// A measured duration in three digits and one unit: `850µs`, `12.3ms`, `4.56s`. From a minute on in at most two units.
pub(crate) fn brief(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if !seconds.is_finite() || seconds < 0.0 => return "0s".to_owned(),
        seconds if seconds >= 60.0 => return short(seconds),
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 0.001 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    let digits = if value >= 100.0 || unit == "µs" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

/// Parses a timestamp of the API.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// A timestamp of the API from its milliseconds since 1970; `None` outside of the years that the API accepts.
pub(crate) fn at_millis(millis: i64) -> Option<String> {
    let at = DateTime::from_timestamp_millis(millis)?;
    (1970..=9999).contains(&at.year()).then(|| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// How long ago a timestamp of the API was, or how long until it comes.
pub(crate) fn distance(text: &str, now: Option<DateTime<Utc>>) -> String {
    let (Some(at), Some(now)) = (parse(text), now) else { return text.to_owned() };
    let milliseconds = now.signed_duration_since(at).num_milliseconds();
    // the `Date` of a response has no fraction, so an event may seem to be up to a second in the future
    let seconds = i32::try_from(milliseconds / 1_000).map_or(f64::MAX, f64::from);
    if milliseconds <= -1_000 { format!("in {}", short(-seconds)) } else { short(seconds) }
}

/// The age of a timestamp of the API; nothing for none.
pub(crate) fn age(text: &str, now: Option<DateTime<Utc>>) -> String {
    if text.is_empty() { String::new() } else { distance(text, now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (0.25, "0.2s"),
            (5.0, "5s"),
            (200.0, "3m20s"),
            (3_600.0, "1h"),
            (7_500.0, "2h5m"),
            (7_205.0, "2h"),
            (792_000.0, "9d4h"),
            (-1.0, "0s"),
        ] {
            assert_eq!(short(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn measured_durations_have_three_digits() {
        for (seconds, expected) in [
            (0.0, "0µs"),
            (0.000_85, "850µs"),
            (0.001_234, "1.23ms"),
            (0.012_34, "12.3ms"),
            (0.5, "500ms"),
            (4.555, "4.55s"),
            (59.0, "59.0s"),
            (75.0, "1m15s"),
            (f64::NAN, "0s"),
        ] {
            assert_eq!(brief(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_timestamp_is_before_or_after_now() {
        let now = parse("2026-01-31T09:00:10Z");
        assert_eq!(age("2026-01-31T09:00:05.123Z", now), "4s");
        assert_eq!(age("2026-01-31T09:01:10Z", now), "in 1m");
        assert_eq!(age("2026-01-31T09:00:10.9Z", now), "0s");
        assert_eq!((age("", now), age("x", now)), (String::new(), "x".to_owned()));
    }
}
