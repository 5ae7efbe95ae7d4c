//! The shutdown of a worker: it leases nothing more, lets running jobs finish, and releases the rest. Owns
//! the phases and their time limits.

use std::sync::atomic::Ordering;

use jobqueue_runtime::Shutdown;
use tokio::time::Instant;

use crate::handler::StopReason;
use crate::shared::Shared;
use crate::stop_times::{FORCED_WITHIN, STOP_WITHIN};

/// See the module.
#[derive(Debug)]
pub(super) struct Drain(Phase);

/// The phase of the shutdown.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No shutdown was requested.
    Working,
    /// An operator drains the worker. Nothing more is leased. Running jobs may finish without a time limit.
    Draining,
    /// Nothing more is leased. Running jobs may finish until this time.
    Finishing(Instant),
    /// All jobs were asked to stop. The worker exits at this time at the latest.
    Stopping(Instant),
}

/// What a worker still has to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remaining {
    /// Attempts that have started and not ended.
    pub(super) running: usize,
    /// Leased jobs that have not started.
    pub(super) waiting: usize,
    /// Ended attempts that are not settled.
    pub(super) unsettled: usize,
    /// Whether a store call is in flight.
    pub(super) calling: bool,
}

impl Remaining {
    fn is_nothing(self) -> bool {
        self.running == 0 && self.waiting == 0 && self.unsettled == 0 && !self.calling
    }
}

impl Drain {
    pub(super) fn new() -> Self {
        Self(Phase::Working)
    }

    /// Moves to the next phase when it is due.
    pub(super) fn advance(&mut self, shutdown: &Shutdown, shared: &Shared, remaining: Remaining) {
        let now = Instant::now();
        let Remaining { running, waiting, .. } = remaining;
        let control = &shared.control;
        if matches!(self.0, Phase::Working) && control.drain().is_cancelled() {
            self.0 = Phase::Draining;
            shared.draining.store(true, Ordering::Relaxed);
            tracing::info!(running, waiting, "draining by command; running jobs have no time limit");
        }
        let must_end = shutdown.soft().is_cancelled() || control.shutdown().is_cancelled();
        if matches!(self.0, Phase::Working | Phase::Draining) && must_end {
            let grace = shared.options.grace;
            self.0 = Phase::Finishing(now + grace);
            shared.draining.store(true, Ordering::Relaxed);
            tracing::info!(running, waiting, grace_seconds = grace.as_secs_f64(), "draining");
        }
        let forced = shutdown.hard().is_cancelled();
        match self.0 {
            Phase::Finishing(at) if forced || now >= at => {
                shared.forced.store(forced, Ordering::Relaxed);
                tracing::warn!(running, forced, "stopping the jobs that still run and releasing them");
                shared.running.stop_all(StopReason::Drain);
                self.0 = Phase::Stopping(now + if forced { FORCED_WITHIN } else { STOP_WITHIN });
            }
            _ => {}
        }
    }

    /// Whether nothing more is leased.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.0, Phase::Working)
    }

    /// Whether running jobs have a time limit.
    pub(super) fn has_deadline(&self) -> bool {
        self.deadline().is_some()
    }

    /// Whether all jobs were asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.0, Phase::Stopping(_))
    }

    /// When the phase ends at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.0 {
            Phase::Working | Phase::Draining => None,
            Phase::Finishing(at) | Phase::Stopping(at) => Some(at),
        }
    }

    /// Whether no lease is held, or the time limit has passed.
    pub(super) fn is_over(&self, remaining: Remaining) -> bool {
        let done = remaining.is_nothing();
        match self.0 {
            Phase::Working => false,
            Phase::Draining | Phase::Finishing(_) => done,
            Phase::Stopping(at) => {
                let late = Instant::now() >= at;
                if late && !done {
                    let Remaining { running, unsettled, .. } = remaining;
                    tracing::error!(
                        running,
                        unsettled,
                        "exiting with unsettled jobs; the reaper reclaims them"
                    );
                }
                done || late
            }
        }
    }
}
