//! The leased attempts of this process, each until its end is settled. Owns which of them receive a cancel or
//! the loss of a lease; does not decide outcomes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{Job, JobId, Lease};
use jobqueue_store::AttemptReport;
use tokio::time::Instant;

use crate::handler::{ReportBuffer, Stop, StopReason};

/// The table of attempts. The dispatcher and the heartbeat's thread use it under one lock, which is held only
/// briefly.
#[derive(Debug, Default)]
pub(crate) struct Running {
    attempts: Mutex<HashMap<Key, Held>>,
    dirty: Arc<AtomicBool>,
}

/// A job whose lease was lost and which the same worker leased again appears twice, with two epochs.
type Key = (JobId, i64);

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: Arc<Lease>,
    /// When the reply that granted the lease arrived. This is after the commit.
    pub(crate) since: Instant,
    pub(crate) stop: Stop,
    pub(crate) report: Arc<ReportBuffer>,
}

/// A leased job whose attempt has not ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) job: Arc<Job>,
    pub(crate) held: Held,
}

impl Running {
    /// Adds a new lease.
    pub(crate) fn hold(&self, lease: Arc<Lease>) -> Held {
        let report = Arc::new(ReportBuffer::new(self.dirty.clone()));
        let held = Held { lease, since: Instant::now(), stop: Stop::new(), report };
        self.lock().insert(key(&held.lease), held.clone());
        held
    }

    /// Removes a lease whose end was settled or can never be settled.
    pub(crate) fn remove(&self, lease: &Lease) {
        self.lock().remove(&key(lease));
    }

    /// How long each attempt has been held.
    pub(crate) fn run_times(&self, now: Instant) -> Vec<Duration> {
        self.lock().values().map(|held| now.saturating_duration_since(held.since)).collect()
    }

    /// Asks the attempts of these jobs to stop, because a user cancelled them.
    pub(crate) fn cancel(&self, ids: &[JobId]) {
        if ids.is_empty() {
            return;
        }
        for held in self.lock().values().filter(|held| ids.contains(&held.lease.job_id())) {
            held.stop.ask(StopReason::Cancel);
        }
    }

    /// Asks every attempt to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        for held in self.lock().values() {
            held.stop.ask(reason);
        }
    }

    /// Stops the attempts whose lease has one of these epochs, because the database says that this process no longer holds it.
    pub(crate) fn stop_lost(&self, epochs: &[i64]) {
        if epochs.is_empty() {
            return;
        }
        for held in self.lock().values().filter(|held| epochs.contains(&held.lease.epoch())) {
            held.stop.ask(StopReason::LeaseLost);
        }
    }

    /// The epochs of all leases that this process holds.
    pub(crate) fn epochs(&self) -> Vec<i64> {
        let epochs: HashSet<i64> = self.lock().values().map(|held| held.lease.epoch()).collect();
        epochs.into_iter().collect()
    }

    /// Removes and returns what handlers have reported since the last call.
    pub(crate) fn take_reports(&self) -> Vec<Report> {
        if !self.dirty.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let attempts = self.lock();
        let reported = |held: &Held| {
            let content = held.report.take()?;
            Some(Report { lease: held.lease.clone(), buffer: held.report.clone(), content })
        };
        attempts.values().filter_map(reported).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(lease: &Lease) -> Key {
    (lease.job_id(), lease.epoch())
}

/// A report to store for one attempt, and the buffer to put it back into.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) lease: Arc<Lease>,
    pub(crate) buffer: Arc<ReportBuffer>,
    pub(crate) content: AttemptReport,
}

impl Report {
    /// Puts the report back, because it was not stored.
    pub(crate) fn put_back(&self) {
        self.buffer.put_back(self.content.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn lease(epoch: i64, job: u64) -> Arc<Lease> {
        Arc::new(Lease::grant(epoch, Uuid::nil(), JobId::from_ticks(job, 0), 0, 1).unwrap())
    }

    #[test]
    fn only_attempts_of_lost_leases_are_stopped() {
        let running = Running::default();
        let [first, second, kept] =
            [(1, 1), (1, 2), (2, 3)].map(|(epoch, job)| running.hold(lease(epoch, job)));
        running.stop_lost(&[1, 7]);
        assert_eq!([first, second].map(|held| held.stop.reason()), [Some(StopReason::LeaseLost); 2]);
        assert_eq!(kept.stop.reason(), None);
        running.remove(&lease(1, 1));
        assert_eq!(running.epochs().into_iter().collect::<HashSet<_>>(), HashSet::from([1, 2]));
        running.remove(&lease(1, 2));
        assert_eq!(running.epochs(), [2]);
    }
}
