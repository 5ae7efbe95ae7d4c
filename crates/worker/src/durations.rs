//! Durations in the handler file. They follow the rules of `jobqueue_core::time`, with the limits of a job's fields.

use std::time::Duration;

use jobqueue_core::Limits;
use jobqueue_core::retry::MAX_DELAY;
use jobqueue_core::time::{self, MIN_LIMIT};

/// The time limit of an attempt: like `timeout_seconds` of a job.
pub(crate) fn time_limit(seconds: f64) -> Result<Duration, String> {
    let most = Duration::from_secs(Limits::default().timeout_seconds.into());
    time::seconds(seconds, MIN_LIMIT..=most).ok_or_else(|| {
        let least = MIN_LIMIT.as_secs_f64();
        format!("timeout_seconds {seconds}: must be between {least} and {} seconds", most.as_secs())
    })
}

/// The delay of a snooze: like `delay_seconds` of a settle. Less than a second counts as one.
pub(crate) fn snooze_delay(text: &str) -> Result<Duration, String> {
    let delay =
        text.trim().parse().ok().and_then(|seconds| time::seconds(seconds, Duration::ZERO..=MAX_DELAY));
    delay.ok_or_else(|| format!("must be between 0 and {} seconds", MAX_DELAY.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_has_the_range_of_a_jobs_timeout() {
        for (seconds, millis) in [(0.001, 1), (2.5, 2_500), (604_800.0, 604_800_000)] {
            assert_eq!(time_limit(seconds), Ok(Duration::from_millis(millis)));
        }
        for seconds in [0.0, 1e-7, -1.0, 604_801.0, 31_622_400.0, f64::NAN, f64::INFINITY] {
            let refused = time_limit(seconds).unwrap_err();
            assert!(refused.ends_with("must be between 0.001 and 604800 seconds"), "{refused}");
        }
    }

    #[test]
    fn a_snooze_has_the_range_of_a_settle() {
        for (text, millis) in [("0", 0), ("0.5", 500), (" 30 ", 30_000), ("604800", 604_800_000)] {
            assert_eq!(snooze_delay(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30s", "-1", "NaN", "inf", "604801"] {
            assert_eq!(snooze_delay(text).unwrap_err(), "must be between 0 and 604800 seconds", "{text}");
        }
    }
}
