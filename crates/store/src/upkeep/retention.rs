//! How long final jobs are kept.

use std::time::Duration;

/// How long final jobs are kept, unless their queue has its own settings. Days are deleted as a whole, so jobs may stay longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Retention of completed jobs.
    pub completed: Duration,
    /// Retention of failed and cancelled jobs.
    pub failed: Duration,
}
