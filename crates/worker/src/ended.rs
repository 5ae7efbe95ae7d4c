//! An ended attempt: what becomes of its job is decided, and is kept until the database has confirmed it. Does not use the
//! store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jobqueue_core::{Failure, Job, Lease, Outcome, Settlement, Status, settle};
use jobqueue_store::{AttemptEnd, AttemptReport};
use tokio::time::Instant;

use crate::running::Attempt;

/// See the module.
#[derive(Debug)]
pub(crate) struct EndedAttempt {
    pub(crate) job: Arc<Job>,
    pub(crate) lease: Arc<Lease>,
    /// How long the handler ran; `None` if it was not started.
    pub(crate) ran: Option<Duration>,
    /// What becomes of the job. Decided once, when the attempt ends.
    settlement: Settlement,
    /// When the attempt ended. The settlement may be stored much later, for example after an outage.
    ended_at: Instant,
    /// The handler's last progress and log lines.
    report: Option<AttemptReport>,
    /// Set once the report is stored, so that a retry does not store it again.
    reported: AtomicBool,
    /// Set after a call without a reply: the settlement may have been applied.
    tried: AtomicBool,
}

impl EndedAttempt {
    /// Decides what the outcome means for the job.
    pub(crate) fn new(attempt: Attempt, outcome: Outcome, ran: Option<Duration>) -> Self {
        let Attempt { job, held } = attempt;
        Self {
            settlement: settle(&job, outcome, rand::random()),
            report: held.report.take(),
            lease: held.lease,
            job,
            ran,
            ended_at: Instant::now(),
            reported: AtomicBool::new(false),
            tried: AtomicBool::new(false),
        }
    }

    /// A copy for the store, which consumes it. The original is kept for a retry.
    pub(crate) fn for_store(&self) -> AttemptEnd {
        self.with(self.settlement.clone())
    }

    /// The end for an attempt whose own end the database rejects: the job fails.
    pub(crate) fn unsettlable(&self) -> AttemptEnd {
        let failure = Failure::new("unsettlable", "the database rejected the result of the attempt");
        self.with(Settlement::Fail { failure })
    }

    fn with(&self, settlement: Settlement) -> AttemptEnd {
        let ran = self.ran.map(|ran| ran + self.ended_at.elapsed());
        AttemptEnd { lease: self.lease.copy_to_repeat(), settlement, ran }
    }

    /// The report of the handler, unless it is stored.
    pub(crate) fn unstored_report(&self) -> Option<AttemptReport> {
        self.report.clone().filter(|_| !self.reported.load(Ordering::Relaxed))
    }

    /// The report was stored or rejected.
    pub(crate) fn set_reported(&self) {
        self.reported.store(true, Ordering::Relaxed);
    }

    /// A call with this end had no reply.
    pub(crate) fn set_tried(&self) {
        self.tried.store(true, Ordering::Relaxed);
    }

    /// Whether an earlier call may have applied the settlement.
    pub(crate) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Logs the end once the database has confirmed it. Success is logged at debug level: there may be thousands a second.
    pub(crate) fn log(&self, status: Status) {
        let (job, settlement, status) = (&self.job, &self.settlement, status.as_str());
        let ran_ms = self.ran.map(|ran| u64::try_from(ran.as_millis()).unwrap_or(u64::MAX));
        if settlement.is_snooze() {
            // a snooze costs no attempt, so a job may snooze for long; the status `failed` means that its limit was reached
            tracing::info!(
                job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind, ran_ms, status,
                delay_seconds = settlement.delay().map(|delay| delay.as_secs_f64()), "job snoozed"
            );
        } else if let Some(failure) = settlement.failure() {
            tracing::warn!(
                job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind, ran_ms, status,
                error.type = failure.kind, "attempt ended"
            );
        } else {
            tracing::debug!(
                job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind, ran_ms, status,
                "attempt ended"
            );
        }
    }
}
