//! The pause after a failed store call, longer after each further failure. Owns when the next call may begin, and reports
//! failures and recoveries.

use std::time::Duration;

use jobqueue_runtime::Backoff;
use jobqueue_store::StoreError;
use tokio::time::Instant;

use crate::shared::Shared;

/// First and longest upper bound of the random pause while the database is unreachable.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The shortest pause after a failure.
const BACKOFF_FLOOR: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct RetryPause {
    backoff: Backoff,
    until: Option<Instant>,
}

impl RetryPause {
    pub(super) fn new() -> Self {
        Self { backoff: Backoff::new(BACKOFF.0, BACKOFF.1), until: None }
    }

    /// When the pause ends; `None` if there is none.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether no call may begin yet.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The pause is over: a call may begin.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// Whether the latest call succeeded.
    pub(super) fn is_healthy(&self) -> bool {
        self.backoff.failures() == 0
    }

    pub(super) fn call_succeeded(&mut self, shared: &Shared) {
        shared.health.set_last_failure(None);
        let failures = self.backoff.reset();
        if failures > 0 {
            tracing::info!(failures, "the database answers again");
        }
    }

    pub(super) fn call_failed(&mut self, shared: &Shared, error: &StoreError) {
        shared.metrics.store_failures.inc();
        self.until = Some(Instant::now() + self.backoff.fail().max(BACKOFF_FLOOR));
        shared.health.set_last_failure(Some(error.reason()));
        shared.outages.failed("leasing and settling", error.word(), error);
    }
}
