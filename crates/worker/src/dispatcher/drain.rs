//! The end of a worker: nothing new, finish what runs, give the rest back. Owns the phases and their limits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_core::Outcome;
use jobqueue_runtime::Shutdown;
use tokio::time::Instant;

use super::Dispatcher;
use crate::handler::StopReason;

/// What stopping and giving back may take after the grace; the pod's own grace leaves room for it.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(6);
/// The same after a second signal.
const FORCED_WITHIN: Duration = Duration::from_secs(4);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No end in sight.
    Working,
    /// Nothing new is leased; what runs may finish until then.
    Finishing(Instant),
    /// Everything was told to stop; we leave then, in any case.
    Stopping(Instant),
}

impl Phase {
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Working => None,
            Self::Finishing(at) | Self::Stopping(at) => Some(at),
        }
    }

    pub(super) fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping(_))
    }
}

impl Dispatcher {
    /// Goes on to the next phase when it is time.
    pub(super) fn advance_phase(&mut self, shutdown: &Shutdown) {
        let now = Instant::now();
        if self.phase == Phase::Working && shutdown.soft().is_cancelled() {
            let grace = self.shared.options.grace;
            self.phase = Phase::Finishing(now + grace);
            self.shared.draining.store(true, Ordering::Relaxed);
            let waiting = self.ready.len();
            tracing::info!(
                running = self.pace.active(),
                waiting,
                grace_seconds = grace.as_secs_f64(),
                "draining"
            );
        }
        let forced = shutdown.hard().is_cancelled();
        match self.phase {
            Phase::Finishing(at) if forced || now >= at => {
                self.shared.forced.store(forced, Ordering::Relaxed);
                tracing::warn!(running = self.pace.active(), forced, "the rest is stopped and given back");
                self.shared.running.stop_all(StopReason::Drain);
                self.phase = Phase::Stopping(now + if forced { FORCED_WITHIN } else { STOP_WITHIN });
            }
            _ => {}
        }
        if self.phase != Phase::Working {
            // what has not started goes back at once, and so does what a lease call still brings
            while let Some((attempt, _)) = self.ready.pop_front() {
                self.give_up(attempt, Outcome::Released);
            }
        }
    }

    /// Whether nothing is held any more, or time is up.
    pub(super) fn is_over(&self) -> bool {
        let done =
            self.pace.active() == 0 && self.ends.is_empty() && self.ready.is_empty() && self.calls.is_empty();
        match self.phase {
            Phase::Working => false,
            Phase::Finishing(_) => done,
            Phase::Stopping(at) => {
                let late = Instant::now() >= at;
                if late && !done {
                    let (running, unsettled) = (self.pace.active(), self.ends.len());
                    tracing::error!(
                        running,
                        unsettled,
                        "leaving with jobs unsettled; the reaper gives them back"
                    );
                }
                done || late
            }
        }
    }
}
