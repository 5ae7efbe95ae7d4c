//! The request to end an attempt, and its reason. Owns the precedence of reasons; only asks, and stops
//! nothing itself.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why a handler is asked to stop. A reason that is later in this list overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// The soft timeout has passed: finish soon, before the hard timeout.
    SoftTimeout,
    /// The worker shuts down and the grace period is over: the job is released, which costs it no attempt.
    Drain,
    /// The hard timeout has passed.
    Timeout,
    /// A user cancelled the job.
    Cancel,
    /// The database says that the lease is lost: another worker may already run the job.
    LeaseLost,
}

/// The stop request of one attempt. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<Request>);

#[derive(Debug)]
struct Request {
    reason: watch::Sender<Option<StopReason>>,
    token: CancellationToken,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Request { reason: watch::Sender::new(None), token: CancellationToken::new() }))
    }

    /// Asks the attempt to stop. A reason with lower precedence than the current one changes nothing.
    pub(crate) fn ask(&self, reason: StopReason) {
        self.0.reason.send_if_modified(|current| {
            let stronger = current.is_none_or(|current| reason > current);
            if stronger {
                *current = Some(reason);
            }
            stronger
        });
        self.0.token.cancel();
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        *self.0.reason.borrow()
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.0.token
    }

    /// A receiver that is notified of every new reason.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<StopReason>> {
        self.0.reason.subscribe()
    }

    /// Waits for a reason other than the warning of the soft timeout.
    pub(crate) async fn must_stop(&self) -> StopReason {
        let mut reasons = self.watch();
        loop {
            let seen = *reasons.borrow_and_update();
            match seen {
                Some(reason) if reason > StopReason::SoftTimeout => return reason,
                // the sender lives in `self`
                _ => drop(reasons.changed().await),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reason_with_the_highest_precedence_wins() {
        let stop = Stop::new();
        stop.ask(StopReason::Cancel);
        stop.ask(StopReason::SoftTimeout);
        assert_eq!(stop.reason(), Some(StopReason::Cancel));
        stop.ask(StopReason::LeaseLost);
        assert_eq!(stop.must_stop().await, StopReason::LeaseLost);
        assert!(stop.token().is_cancelled());
    }
}
