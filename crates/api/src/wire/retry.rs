//! The retry policy in the API document. `jobqueue_core::RetryPolicy` parses the real ones.

use serde::Serialize;
use utoipa::ToSchema;

/// When a failed attempt is tried again. All delays in seconds, at most a week.
#[derive(Serialize, ToSchema)]
#[serde(tag = "strategy", rename_all = "lowercase")]
#[schema(as = RetryPolicy)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum RetryPolicyBody {
    /// After failure n: `base · factor^(n-1)`, at most `max`, shortened at random by up to the share `jitter`.
    #[schema(title = "Exponential")]
    Exponential {
        /// Delay after the first failure in seconds, up to a week; default 5.
        #[schema(required = false, minimum = 0, maximum = 604_800)]
        base_seconds: f64,
        /// Factor by which the delay grows with each failure, 1 to 10; default 2.
        #[schema(required = false, minimum = 1, maximum = 10)]
        factor: f64,
        /// Longest delay in seconds, up to a week; default 3600.
        #[schema(required = false, minimum = 0, maximum = 604_800)]
        max_seconds: f64,
        /// Share of the delay that can be taken off at random, 0 to 1; default 0.5.
        #[schema(required = false, minimum = 0, maximum = 1)]
        jitter: f64,
    },
    /// Always the same delay.
    #[schema(title = "Fixed")]
    Fixed {
        /// Delay in seconds, up to a week.
        #[schema(minimum = 0, maximum = 604_800)]
        delay_seconds: f64,
    },
    /// After failure n: `step · n`, at most `max`.
    #[schema(title = "Linear")]
    Linear {
        /// Delay that each failure adds, in seconds, up to a week.
        #[schema(minimum = 0, maximum = 604_800)]
        step_seconds: f64,
        /// Longest delay in seconds, up to a week; default 3600.
        #[schema(required = false, minimum = 0, maximum = 604_800)]
        max_seconds: f64,
    },
    /// After failure n: entry n; the last entry repeats.
    #[schema(title = "List")]
    List {
        /// 1 to 100 delays in seconds, each up to a week.
        #[schema(value_type = Vec<super::name::DelayNumber>, min_items = 1, max_items = 100)]
        delays_seconds: Vec<f64>,
    },
}
