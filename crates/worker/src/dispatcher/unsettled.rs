//! Ended attempts that the database has not confirmed. Owns when they are settled, and keeps each until its verdict is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::in_flight::InFlight;
use crate::ended::EndedAttempt;

/// While no slot is idle, results wait this long at most for more results to be settled with.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// Settles as soon as this many results wait.
const FLUSH_AT: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    ends: Vec<Arc<EndedAttempt>>,
    /// Since when the oldest of `ends` waits.
    since: Option<Instant>,
}

impl Unsettled {
    pub(super) fn push(&mut self, ended: EndedAttempt) {
        self.ends.push(Arc::new(ended));
        self.since.get_or_insert_with(Instant::now);
    }

    /// Puts ends that may not be settled back in front of newer ones, for another attempt.
    pub(super) fn put_back(&mut self, open: Vec<Arc<EndedAttempt>>) {
        if open.is_empty() {
            return;
        }
        for end in &open {
            end.set_tried();
        }
        let newer = std::mem::replace(&mut self.ends, open);
        self.ends.extend(newer);
        self.since = Some(Instant::now());
    }

    /// Whether to settle now, even if no jobs are leased.
    pub(super) fn are_due(&self, slots_idle: bool, now: Instant) -> bool {
        let waited = self.since.is_some_and(|since| now >= since + FLUSH_AFTER);
        !self.ends.is_empty() && (slots_idle || waited || self.ends.len() >= FLUSH_AT)
    }

    /// When they are due without a further event.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + FLUSH_AFTER)
    }

    /// Removes all ends.
    pub(super) fn take(&mut self) -> Vec<Arc<EndedAttempt>> {
        std::mem::take(&mut self.ends)
    }

    /// Removes the ends that a second call settles: at least `FLUSH_AT` of them, or any number if the call is made `anyway`.
    pub(super) fn take_beside(&mut self, calls: &InFlight, anyway: bool) -> Vec<Arc<EndedAttempt>> {
        if !anyway && self.ends.len() < FLUSH_AT {
            return Vec::new();
        }
        let mut free = calls.take_free(&mut self.ends);
        if !anyway && free.len() < FLUSH_AT {
            self.ends.append(&mut free);
        }
        free
    }

    /// A call was sent with the ends that were taken. The others wait from now on.
    pub(super) fn sent(&mut self, now: Instant) {
        self.since = self.ends.first().map(|_| now);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}
