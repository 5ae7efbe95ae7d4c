//! The wish that an attempt ends, and why. Owns the order of reasons; it asks and never stops anything itself.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why a handler is asked to stop. A later one in this list overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// The soft limit has passed: finish soon, the hard one follows.
    SoftTimeout,
    /// The worker ends and the grace is over: the job goes back without costing an attempt.
    Drain,
    /// The hard limit has passed.
    Timeout,
    /// A user cancelled the job.
    Cancel,
    /// The database says that the lease is gone: another worker may run the job already.
    LeaseLost,
}

/// One attempt's wish to end. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<Wish>);

#[derive(Debug)]
struct Wish {
    reason: watch::Sender<Option<StopReason>>,
    token: CancellationToken,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Wish { reason: watch::Sender::new(None), token: CancellationToken::new() }))
    }

    /// Asks to stop. A weaker reason than the one that stands changes nothing.
    pub(crate) fn ask(&self, reason: StopReason) {
        self.0.reason.send_if_modified(|stands| {
            let stronger = stands.is_none_or(|stands| reason > stands);
            if stronger {
                *stands = Some(reason);
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

    /// Sees every new reason.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<StopReason>> {
        self.0.reason.subscribe()
    }

    /// The first reason that is more than a warning.
    pub(crate) async fn firm(&self) -> StopReason {
        let mut news = self.watch();
        loop {
            let seen = *news.borrow_and_update();
            match seen {
                Some(reason) if reason > StopReason::SoftTimeout => return reason,
                // the sender lives in `self`
                _ => drop(news.changed().await),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_stronger_reason_stands() {
        let stop = Stop::new();
        stop.ask(StopReason::Cancel);
        stop.ask(StopReason::SoftTimeout);
        assert_eq!(stop.reason(), Some(StopReason::Cancel));
        stop.ask(StopReason::LeaseLost);
        assert_eq!(stop.firm().await, StopReason::LeaseLost);
        assert!(stop.token().is_cancelled());
    }
}
