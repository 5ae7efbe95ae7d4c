//! What this process holds: every leased attempt until its end is settled. Owns who must hear of a cancel or a lost
//! lease; it decides on no outcome.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{JobId, Lease, WorkerId};
use jobqueue_store::AttemptReport;
use tokio::time::Instant;

use crate::handler::{ReportBuffer, Stop, StopReason};

/// The table. One lock, held for moments; both the dispatcher and the heartbeat's thread use it.
#[derive(Debug, Default)]
pub(crate) struct Running {
    attempts: Mutex<HashMap<Key, Held>>,
    dirty: Arc<AtomicBool>,
}

/// A job that was lost and leased again by the same worker is there twice, with two epochs.
type Key = (JobId, i64);

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: Arc<Lease>,
    pub(crate) worker_id: WorkerId,
    /// When we learned that we hold it; after the commit that granted it.
    pub(crate) since: Instant,
    pub(crate) stop: Stop,
    pub(crate) report: Arc<ReportBuffer>,
}

impl Running {
    /// Takes note of a new lease.
    pub(crate) fn hold(&self, lease: Arc<Lease>, worker_id: WorkerId) -> Held {
        let report = Arc::new(ReportBuffer::new(self.dirty.clone()));
        let held = Held { lease, worker_id, since: Instant::now(), stop: Stop::new(), report };
        self.lock().insert(key(&held.lease), held.clone());
        held
    }

    /// Its end was settled, or refused.
    pub(crate) fn let_go(&self, lease: &Lease) {
        self.lock().remove(&key(lease));
    }

    /// How long each has run.
    pub(crate) fn spans(&self, now: Instant) -> Vec<Duration> {
        self.lock().values().map(|held| now.saturating_duration_since(held.since)).collect()
    }

    /// A user wants these stopped.
    pub(crate) fn cancel(&self, ids: &[JobId]) {
        if ids.is_empty() {
            return;
        }
        for held in self.lock().values().filter(|held| ids.contains(&held.lease.job_id())) {
            held.stop.ask(StopReason::Cancel);
        }
    }

    /// Stops everything.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        for held in self.lock().values() {
            held.stop.ask(reason);
        }
    }

    /// Stops what the database said, when asked at `asked_at`, that `worker_id` does not hold any more. Leases learned of
    /// later are left alone: the answer cannot know them.
    pub(crate) fn stop_unheld(&self, worker_id: WorkerId, held_epochs: &[i64], asked_at: Instant) {
        let held_epochs: HashSet<i64> = held_epochs.iter().copied().collect();
        for held in self.lock().values() {
            let gone = !held_epochs.contains(&held.lease.epoch());
            if held.worker_id == worker_id && held.since < asked_at && gone {
                held.stop.ask(StopReason::LeaseLost);
            }
        }
    }

    /// The epochs that this process knows of under `worker_id`.
    pub(crate) fn epochs(&self, worker_id: WorkerId) -> HashSet<i64> {
        let attempts = self.lock();
        attempts.values().filter(|held| held.worker_id == worker_id).map(|held| held.lease.epoch()).collect()
    }

    /// Takes what handlers reported since the last time.
    pub(crate) fn take_reports(&self) -> Vec<Report> {
        if !self.dirty.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let attempts = self.lock();
        let reported = |held: &Held| {
            let news = held.report.take()?;
            Some(Report { lease: held.lease.clone(), buffer: held.report.clone(), news })
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

/// Something to store for one attempt, and where to put it back.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) lease: Arc<Lease>,
    pub(crate) buffer: Arc<ReportBuffer>,
    pub(crate) news: AttemptReport,
}

impl Report {
    /// It was not stored.
    pub(crate) fn put_back(&self) {
        self.buffer.put_back(self.news.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn lease(epoch: i64, job: u64) -> Arc<Lease> {
        Arc::new(Lease::grant(epoch, Uuid::nil(), JobId::from_ticks(job, 0), 0, 1).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_says_nothing_about_leases_that_came_after_the_question() {
        let running = Running::default();
        let (worker, other) =
            (WorkerId::from_uuid(Uuid::from_u128(1)), WorkerId::from_uuid(Uuid::from_u128(2)));
        let lost = running.hold(lease(1, 1), worker);
        let kept = running.hold(lease(2, 2), worker);
        let foreign = running.hold(lease(3, 3), other);
        tokio::time::advance(Duration::from_millis(1)).await;
        let asked_at = Instant::now();
        let later = running.hold(lease(4, 4), worker);
        running.stop_unheld(worker, &[2], asked_at);
        assert_eq!(lost.stop.reason(), Some(StopReason::LeaseLost));
        for fine in [kept, foreign, later] {
            assert_eq!(fine.stop.reason(), None);
        }
        running.let_go(&lease(1, 1));
        assert_eq!(running.epochs(worker), HashSet::from([2, 4]));
    }
}
