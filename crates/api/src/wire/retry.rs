//! The retry policy, for the description of the API alone; `jobqueue_core::RetryPolicy` reads it.

use serde::Serialize;
use utoipa::ToSchema;

/// When a failed attempt is tried again. All delays in seconds, at most a week.
#[derive(Serialize, ToSchema)]
#[serde(tag = "strategy", rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum RetryPolicy {
    /// `base · factor^(n-1)`, at most `max`, of which chance takes off up to the share `jitter`.
    Exponential {
        /// Delay after the first failure; default 5.
        #[schema(required = false)]
        base_seconds: f64,
        /// Growth by each failure, 1 to 10; default 2.
        #[schema(required = false)]
        factor: f64,
        /// Ceiling; default 3600.
        #[schema(required = false)]
        max_seconds: f64,
        /// 0 to 1; default 0.5.
        #[schema(required = false)]
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
        /// Ceiling; default 3600.
        #[schema(required = false)]
        max_seconds: f64,
    },
    /// The n-th entry; the last one repeats.
    List {
        /// 1 to 100 delays.
        delays_seconds: Vec<f64>,
    },
}
