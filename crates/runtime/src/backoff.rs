//! How long to wait before the next attempt. Owns the formula (exponential, full jitter); does not sleep and
//! does not decide whether to retry.

use std::time::Duration;

/// The delay before try number `failures + 1`, drawn at random from zero to the ceiling ("full jitter"), so
/// that a thousand processes that lost the same database do not reconnect at the same time.
///
/// The ceiling is `base` after the first failure, doubles with each further one and stops at `cap`. `dice` is
/// a random number in `0.0..1.0`; values outside are clamped, and NaN counts as 0.
pub fn next_delay(failures: u32, base: Duration, cap: Duration, dice: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let ceiling = base.saturating_mul(1 << doublings).min(cap);
    let share = if dice.is_nan() { 0.0 } else { dice.clamp(0.0, 1.0) };
    ceiling.mul_f64(share)
}

/// Counts consecutive failures and computes the delay after each.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts without a failure. `base` is the upper bound of the first delay, `cap` that of all later ones.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts one more failure and returns how long to wait before the next attempt.
    pub fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        next_delay(self.failures, self.base, self.cap, rand::random::<f64>())
    }

    /// Records a success: resets the count and returns how many failures there were.
    pub fn reset(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }

    /// The number of consecutive failures so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_and_stops_at_the_cap() {
        let ceilings: Vec<u64> = (1..=7).map(|n| next_delay(n, BASE, CAP, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(next_delay(u32::MAX, BASE, CAP, 1.0), CAP);
        assert_eq!(next_delay(u32::MAX, Duration::MAX, Duration::MAX, 0.5), Duration::MAX.mul_f64(0.5));
    }

    #[test]
    fn the_whole_range_is_used_and_invalid_dice_are_clamped() {
        assert_eq!(next_delay(3, BASE, CAP, 0.0), Duration::ZERO);
        assert_eq!(next_delay(3, BASE, CAP, 0.5), Duration::from_secs(2));
        assert_eq!(next_delay(3, BASE, CAP, f64::NAN), Duration::ZERO);
        assert_eq!(next_delay(3, BASE, CAP, f64::INFINITY), Duration::from_secs(4));
        assert_eq!(next_delay(3, BASE, CAP, -1.0), Duration::ZERO);
    }

    #[test]
    fn a_success_resets_the_count() {
        let mut backoff = Backoff::new(BASE, CAP);
        assert!(backoff.fail() <= BASE);
        backoff.fail();
        assert_eq!(backoff.failures(), 2);
        assert_eq!(backoff.reset(), 2);
        assert_eq!(backoff.failures(), 0);
    }
}
