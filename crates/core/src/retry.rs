//! When a failed attempt is retried. Pure: the same attempt number and the same `dice` give the same delay.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::field::FieldError;

/// Maximum delay between two attempts: a week.
pub const MAX_DELAY: Duration = Duration::from_hours(7 * 24);
/// Maximum number of entries of a list policy.
const MAX_LIST: usize = 100;

/// The delay after failure number `n`, where the first failure is 1. Delays are in seconds in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "lowercase", deny_unknown_fields)]
pub enum RetryPolicy {
    /// `base · factor^(n-1)`, at most `max`, reduced by a random part of up to `jitter` times the delay.
    Exponential {
        /// Delay after the first failure; default 5.
        #[serde(default = "default_base")]
        base_seconds: f64,
        /// Factor by which each failure multiplies the delay; default 2.
        #[serde(default = "default_factor")]
        factor: f64,
        /// Maximum delay; default 3600.
        #[serde(default = "default_max")]
        max_seconds: f64,
        /// Maximum random reduction as a fraction of the delay, 0 to 1. Default 0.5, which spreads a burst of retries.
        #[serde(default = "default_jitter")]
        jitter: f64,
    },
    /// Always the same delay.
    Fixed {
        /// The delay.
        delay_seconds: f64,
    },
    /// `step · n`, at most `max`.
    Linear {
        /// Delay added by each failure.
        step_seconds: f64,
        /// Maximum delay; default 3600.
        #[serde(default = "default_max")]
        max_seconds: f64,
    },
    /// The n-th entry. After the end of the list, the last entry applies.
    List {
        /// 1 to 100 delays.
        delays_seconds: Vec<f64>,
    },
}

fn default_base() -> f64 {
    5.0
}

fn default_factor() -> f64 {
    2.0
}

fn default_max() -> f64 {
    3600.0
}

fn default_jitter() -> f64 {
    0.5
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::Exponential {
            base_seconds: default_base(),
            factor: default_factor(),
            max_seconds: default_max(),
            jitter: default_jitter(),
        }
    }
}

impl RetryPolicy {
    /// The delay after failure number `failures` (1 = the first). `dice` is a random number, uniform in `[0, 1)`.
    pub fn delay(&self, failures: u16, dice: f64) -> Duration {
        let n = f64::from(failures.max(1));
        let seconds = match self {
            Self::Exponential { base_seconds, factor, max_seconds, jitter } => {
                let full = (base_seconds * factor.powf(n - 1.0)).min(*max_seconds);
                full * (1.0 - jitter * dice.clamp(0.0, 1.0))
            }
            Self::Fixed { delay_seconds } => *delay_seconds,
            Self::Linear { step_seconds, max_seconds } => (step_seconds * n).min(*max_seconds),
            Self::List { delays_seconds } => {
                let index = usize::from(failures.max(1)) - 1;
                delays_seconds.get(index).or(delays_seconds.last()).copied().unwrap_or_default()
            }
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(MAX_DELAY).min(MAX_DELAY)
    }

    /// All field errors of the policy, with pointers below `/retry`.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut within = |field: &str, value: f64, min: f64, max: f64| {
            if !(min..=max).contains(&value) {
                let message = format!("must be between {min} and {max}");
                errors.push(FieldError::new(format!("/retry/{field}"), "out_of_range", message));
            }
        };
        let week = MAX_DELAY.as_secs_f64();
        match self {
            Self::Exponential { base_seconds, factor, max_seconds, jitter } => {
                within("base_seconds", *base_seconds, 0.0, week);
                within("factor", *factor, 1.0, 10.0);
                within("max_seconds", *max_seconds, 0.0, week);
                within("jitter", *jitter, 0.0, 1.0);
            }
            Self::Fixed { delay_seconds } => within("delay_seconds", *delay_seconds, 0.0, week),
            Self::Linear { step_seconds, max_seconds } => {
                within("step_seconds", *step_seconds, 0.0, week);
                within("max_seconds", *max_seconds, 0.0, week);
            }
            Self::List { delays_seconds } => {
                for (index, delay) in delays_seconds.iter().take(MAX_LIST).enumerate() {
                    within(&format!("delays_seconds/{index}"), *delay, 0.0, week);
                }
                if delays_seconds.is_empty() || delays_seconds.len() > MAX_LIST {
                    let message = format!("must have 1 to {MAX_LIST} entries");
                    errors.push(FieldError::new("/retry/delays_seconds", "out_of_range", message));
                }
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_strategy_returns_its_series_of_delays() {
        let series =
            |policy: &RetryPolicy| (1..=4).map(|n| policy.delay(n, 0.0).as_secs_f64()).collect::<Vec<_>>();
        assert_eq!(series(&RetryPolicy::default()), [5.0, 10.0, 20.0, 40.0]);
        assert_eq!(series(&RetryPolicy::Fixed { delay_seconds: 0.5 }), [0.5; 4]);
        assert_eq!(
            series(&RetryPolicy::Linear { step_seconds: 3.0, max_seconds: 8.0 }),
            [3.0, 6.0, 8.0, 8.0]
        );
        assert_eq!(series(&RetryPolicy::List { delays_seconds: vec![1.0, 60.0] }), [1.0, 60.0, 60.0, 60.0]);
    }

    proptest! {
        #[test]
        fn delays_stay_in_bounds(failures in 0u16.., dice in 0.0..1.0f64, base in 0.0..1e6f64, factor in 1.0..10.0f64) {
            let policy = RetryPolicy::Exponential { base_seconds: base, factor, max_seconds: 3600.0, jitter: 0.5 };
            let delay = policy.delay(failures, dice).as_secs_f64();
            prop_assert!(delay <= 3600.0);
            prop_assert!(delay >= 0.5 * base.min(3600.0) - 1e-6);
        }
    }

    #[test]
    fn every_wrong_field_is_reported() {
        let text = r#"{"strategy":"exponential","factor":0.5,"jitter":2}"#;
        let errors = serde_json::from_str::<RetryPolicy>(text).unwrap().check();
        assert_eq!(
            errors.iter().map(|e| e.pointer.as_str()).collect::<Vec<_>>(),
            ["/retry/factor", "/retry/jitter"]
        );
        assert!(serde_json::from_str::<RetryPolicy>(r#"{"strategy":"fixed","delay":1}"#).is_err());
    }
}
