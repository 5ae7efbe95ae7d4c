//! The slots of a worker and the leased jobs that wait for one. Owns how many jobs may run and how many are leased ahead;
//! starts nothing itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::Outcome;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::pace::Pace;
use crate::handler::{Slot, StopReason};
use crate::running::Attempt;

/// A prefetched job that finds no free slot within this time is released.
const PREFETCH_HOLD: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Slots {
    total: usize,
    free: Arc<Semaphore>,
    /// Slots that exist beyond `total`, because jobs run in them. They are removed as they become free.
    excess: usize,
    /// Leased jobs that have not started, with the time of their lease.
    waiting: VecDeque<(Attempt, Instant)>,
    pace: Pace,
}

/// What to do with the job that has waited longest.
pub(super) enum Next {
    /// Start it in this slot. When it has ended, pass the number to `Slots::ended`.
    Start(Attempt, Slot, u64),
    /// End it without starting it.
    End(Attempt, Outcome),
}

impl Slots {
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            free: Arc::new(Semaphore::new(total)),
            excess: 0,
            waiting: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    /// Changes the number of slots. Running jobs keep theirs.
    pub(super) fn resize(&mut self, total: usize) {
        if total >= self.total {
            let added = total - self.total;
            let kept = added.min(self.excess);
            self.excess -= kept;
            self.free.add_permits(added - kept);
        } else {
            self.excess += self.total - total;
        }
        self.total = total;
        if self.excess > 0 {
            self.excess -= self.free.forget_permits(self.excess);
        }
    }

    /// The number of slots, without those that are removed when their jobs end.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Records the payload sizes of a leased batch.
    pub(super) fn leased(&mut self, payload_bytes: impl ExactSizeIterator<Item = usize>) {
        self.pace.leased(payload_bytes);
    }

    /// Adds a leased job.
    pub(super) fn push(&mut self, attempt: Attempt) {
        self.waiting.push_back((attempt, Instant::now()));
    }

    /// Removes the job that has waited longest and says what to do with it; `None` if there is none, or it must wait on. A job
    /// that was cancelled or whose lease was lost while it waited is ended; a job that waited too long is released.
    pub(super) fn next(&mut self, may_start: bool) -> Option<Next> {
        let (attempt, since) = self.waiting.pop_front()?;
        let outcome = match attempt.held.stop.reason() {
            Some(StopReason::Cancel) => Outcome::Cancelled,
            Some(StopReason::LeaseLost) => Outcome::LeaseLost,
            Some(_) => Outcome::Released,
            None => match self.free.clone().try_acquire_owned() {
                Ok(slot) if may_start => {
                    let number = self.pace.started(Instant::now());
                    return Some(Next::Start(attempt, slot, number));
                }
                _ if since.elapsed() >= PREFETCH_HOLD => {
                    // slots turn over more slowly than estimated: prefetch nothing until more jobs have ended
                    self.pace.reset();
                    Outcome::Released
                }
                _ => {
                    self.waiting.push_front((attempt, since));
                    return None;
                }
            },
        };
        Some(Next::End(attempt, outcome))
    }

    /// Removes all jobs that have not started.
    pub(super) fn take_waiting(&mut self) -> VecDeque<(Attempt, Instant)> {
        std::mem::take(&mut self.waiting)
    }

    /// Records the end of a started attempt. `ran` is `None` if its handler did not run.
    pub(super) fn ended(&mut self, number: u64, ran: Option<Duration>) {
        self.pace.ended(number, ran);
    }

    /// How many more jobs may be leased, at most `batch`, while calls in flight already request `requested`.
    pub(super) fn capacity(&self, batch: usize, requested: usize) -> usize {
        let wanted = self.free.available_permits() + self.pace.prefetch(self.total, batch, Instant::now());
        wanted.saturating_sub(self.waiting.len() + requested).min(batch)
    }

    /// Whether a slot is free that no waiting job will take.
    pub(super) fn are_idle(&self) -> bool {
        self.free.available_permits() > self.waiting.len()
    }

    /// When the job that has waited longest is released.
    pub(super) fn hold_until(&self) -> Option<Instant> {
        self.waiting.front().map(|(_, since)| *since + PREFETCH_HOLD)
    }

    /// The number of slots in use.
    pub(super) fn in_use(&self) -> usize {
        (self.total + self.excess).saturating_sub(self.free.available_permits())
    }

    /// The number of attempts that have started and not ended.
    pub(super) fn running(&self) -> usize {
        self.pace.active()
    }

    /// The number of leased jobs that have not started.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_slots_wait_for_their_jobs_and_come_back_first() {
        let mut slots = Slots::new(3);
        let mut held: Vec<_> = (0..3).map(|_| slots.free.clone().try_acquire_owned().unwrap()).collect();
        slots.resize(1);
        assert_eq!((slots.in_use(), slots.excess, slots.capacity(10, 0)), (3, 2, 0));
        held.pop();
        slots.resize(1);
        assert_eq!((slots.in_use(), slots.excess, slots.capacity(10, 0)), (2, 1, 0), "one is gone");
        slots.resize(4);
        assert_eq!((slots.in_use(), slots.excess, slots.capacity(10, 0)), (2, 0, 2));
        held.clear();
        assert_eq!((slots.in_use(), slots.capacity(10, 0)), (0, 4));
        slots.resize(2);
        assert_eq!((slots.in_use(), slots.capacity(10, 0)), (0, 2));
    }
}
