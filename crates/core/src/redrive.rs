//! Redrives: how fast dead letters are retried, and when their failures have returned.

use std::time::Duration;

use crate::field::FieldError;

/// Highest rate, in jobs per second.
pub const MAX_RATE: f64 = 1000.0;
/// Lowest rate: one job a day.
pub const MIN_RATE: f64 = 1.0 / 86_400.0;
/// Smallest share of failures at which a redrive stops.
pub const MIN_SHARE: f64 = 0.001;
/// Largest window.
pub const MAX_WINDOW: u32 = 1000;
/// A reaper that was late does not make up for more than this.
const MAX_BURST: Duration = Duration::from_secs(2);
/// At most the jobs of so many seconds are under way, or a window of them if that is more.
const SECONDS_UNDER_WAY: f64 = 10.0;

/// The rules of a redrive, unchecked. A field that is not set has its default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RedriveDraft {
    /// Jobs per second; default 10.
    pub rate: Option<f64>,
    /// Share of failures at which it stops; default 0.25.
    pub stop_share: Option<f64>,
    /// Number of results that the share is about; default 20.
    pub stop_window: Option<i64>,
}

/// The rules of a redrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RedriveRules {
    /// Jobs per second.
    pub rate: f64,
    /// It stops when this share of the window failed: 0.001 to 1.
    pub stop_share: f64,
    /// The window: so many of the last results.
    pub stop_window: u32,
}

/// How the first attempt of a redriven job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedriveResult {
    /// The job is completed.
    Succeeded,
    /// An attempt failed, whether or not it is retried.
    Failed,
    /// The job was cancelled or deleted, which says nothing about the failure.
    Other,
}

impl RedriveDraft {
    /// Checks the rules, and reports all errors at once.
    pub fn parse(self) -> Result<RedriveRules, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut note = |pointer, message| errors.push(FieldError::new(pointer, "out_of_range", message));
        let (rate, stop_share) = (self.rate.unwrap_or(10.0), self.stop_share.unwrap_or(0.25));
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            note("/rate", "must be between one a day (0.0000116) and 1000 jobs per second");
        }
        if !(MIN_SHARE..=1.0).contains(&stop_share) {
            note("/stop_share", "must be between 0.001 and 1");
        }
        let stop_window = u32::try_from(self.stop_window.unwrap_or(20)).unwrap_or(0);
        if !(1..=MAX_WINDOW).contains(&stop_window) {
            note("/stop_window", "must be between 1 and 1000");
        }
        if errors.is_empty() { Ok(RedriveRules { rate, stop_share, stop_window }) } else { Err(errors) }
    }
}

impl RedriveRules {
    /// How many jobs may be retried after so much more time, fractions included.
    pub fn credit(&self, before: f64, elapsed: Duration) -> f64 {
        let most = (self.rate * MAX_BURST.as_secs_f64()).max(1.0);
        (before + self.rate * elapsed.as_secs_f64()).min(most)
    }

    /// How many jobs may be under way: without results it is not known whether the failures have returned.
    pub fn most_under_way(&self) -> u32 {
        whole(self.rate * SECONDS_UNDER_WAY).max(self.stop_window)
    }

    /// How many jobs to retry now.
    pub fn batch(&self, credit: f64, under_way: u32, most: u32) -> u32 {
        whole(credit).min(self.most_under_way().saturating_sub(under_way)).min(most)
    }

    /// How many failures among the last [`stop_window`](Self::stop_window) results stop it.
    pub fn stops_at(&self) -> u32 {
        whole((self.stop_share * f64::from(self.stop_window)).ceil()).max(1)
    }

    /// Whether the failures have returned, given the last results.
    pub fn stops(&self, recent: &[RedriveResult]) -> bool {
        let failed = recent.iter().filter(|result| **result == RedriveResult::Failed).count();
        failed >= usize::try_from(self.stops_at()).unwrap_or(usize::MAX)
    }
}

/// The whole part of a number that is not negative; at most a million.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is within the range"
)]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(rate: f64, stop_share: f64, stop_window: u32) -> RedriveRules {
        RedriveRules { rate, stop_share, stop_window }
    }

    #[test]
    fn rules_have_defaults_and_bounds() {
        assert_eq!(RedriveDraft::default().parse().unwrap(), rules(10.0, 0.25, 20));
        for rate in [0.0, -1.0, 1000.1, f64::NAN, f64::INFINITY] {
            assert!(RedriveDraft { rate: Some(rate), ..Default::default() }.parse().is_err(), "{rate}");
        }
        let all = RedriveDraft { rate: Some(0.0), stop_share: Some(1.5), stop_window: Some(0) };
        assert_eq!(all.parse().unwrap_err().len(), 3);
        assert_eq!(RedriveDraft { stop_window: Some(-1), ..all }.parse().unwrap_err().len(), 3);
    }

    #[test]
    fn it_stops_when_the_share_of_the_window_has_failed() {
        use RedriveResult::{Failed, Other, Succeeded};
        let rules = rules(1.0, 0.5, 4);
        assert!(!rules.stops(&[]) && !rules.stops(&[Failed]) && !rules.stops(&[Failed, Succeeded, Other]));
        // the first failures are enough: it does not wait for a full window
        assert!(rules.stops(&[Failed, Failed]) && rules.stops(&[Failed, Succeeded, Succeeded, Failed]));
        assert_eq!(self::rules(1.0, 1e-9, 1000).stops_at(), 1);
        assert_eq!(self::rules(1.0, 1.0, 20).stops_at(), 20);
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_over_any_pauses(rate in 0.01..1000.0f64, pauses in prop::collection::vec(0u64..5000, 1..200)) {
            let rules = rules(rate, 0.5, 20);
            let (mut credit, mut retried, mut elapsed) = (1.0, 0.0, 0.0);
            for pause in pauses {
                let pause = Duration::from_millis(pause);
                elapsed += pause.as_secs_f64();
                credit = rules.credit(credit, pause);
                let batch = f64::from(rules.batch(credit, 0, 500));
                credit -= batch;
                retried += batch;
            }
            prop_assert!(retried <= rate * elapsed + 1.0 + 1e-6, "{retried} of {}", rate * elapsed);
        }

        #[test]
        fn no_more_are_under_way_than_allowed(rate in 0.01..1000.0f64, window in 1u32..1000, under_way in 0u32..20_000) {
            let rules = rules(rate, 0.5, window);
            let batch = rules.batch(1e6, under_way, 500);
            prop_assert!(batch == 0 || under_way + batch <= rules.most_under_way());
            prop_assert!(rules.most_under_way() >= window);
        }
    }
}
