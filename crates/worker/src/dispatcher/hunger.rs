//! When to look for work again: polls, wake-ups, and the short quiet after a look that found nothing. Owns the moments;
//! never leases.

use std::time::Duration;

use tokio::time::Instant;

/// A wake-up this soon after an empty answer is heard a little later: it is most likely the one that every idle worker got,
/// and whoever came first has taken the job.
const QUIET: Duration = Duration::from_millis(5);
/// Most that chance adds to it, so that a crowd of workers does not look in step.
const JITTER_MS: f64 = 3.0;

/// The wish to look.
#[derive(Debug)]
pub(super) struct Hunger {
    /// There may be more to lease.
    hungry: bool,
    /// The last look brought all that it asked for.
    plenty: bool,
    poll_at: Instant,
    quiet_until: Option<Instant>,
}

impl Hunger {
    /// A new worker looks at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { hungry: true, plenty: false, poll_at: now, quiet_until: None }
    }

    /// There may be work.
    pub(super) fn wake(&mut self) {
        self.hungry = true;
    }

    /// A look is under way; a wake-up from now on asks for another.
    pub(super) fn looking(&mut self) {
        self.hungry = false;
    }

    /// A look for `asked` jobs found `got`; the next is due after `poll` if nothing wakes us. `chance` is in `0..1`.
    pub(super) fn looked(&mut self, got: usize, asked: usize, (now, poll): (Instant, Duration), chance: f64) {
        self.poll_at = now + poll;
        // a full batch says that there is more
        self.plenty = got >= asked;
        self.hungry |= self.plenty;
        let quiet = QUIET + Duration::from_secs_f64(chance * JITTER_MS / 1000.0);
        self.quiet_until = (got == 0).then(|| now + quiet);
    }

    /// Whether there is so much that two may look at once.
    pub(super) fn has_plenty(&self) -> bool {
        self.plenty
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        (self.hungry || now >= self.poll_at) && self.quiet_until.is_none_or(|until| now >= until)
    }

    /// The next moment at which it becomes time by itself, if that is yet to come.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let wanted_at = if self.hungry { now } else { self.poll_at };
        let at = self.quiet_until.map_or(wanted_at, |until| until.max(wanted_at));
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn after_a_look(got: usize, now: Instant) -> Hunger {
        let mut hunger = Hunger::new(now);
        assert!(hunger.is_due(now), "a new worker looks at once");
        hunger.looking();
        hunger.looked(got, 10, (now, POLL), 1.0);
        assert!(!hunger.is_due(now));
        assert_eq!(hunger.due_at(now), Some(now + POLL));
        hunger
    }

    #[test]
    fn a_wake_up_right_after_an_empty_look_is_delayed_and_not_lost() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        hunger.wake();
        assert!(!hunger.is_due(now + 7 * MS));
        assert_eq!(hunger.due_at(now + MS), Some(now + 8 * MS));
        assert!(hunger.is_due(now + 8 * MS));
        assert_eq!(hunger.due_at(now + 8 * MS), None, "nothing to wait for");
    }

    #[test]
    fn whoever_was_idle_for_longer_or_found_something_looks_at_once() {
        let now = Instant::now();
        let mut idle = after_a_look(0, now);
        idle.wake();
        assert!(idle.is_due(now + 20 * MS));
        let mut busy = after_a_look(3, now);
        busy.wake();
        assert!(busy.is_due(now));
        assert!(after_a_look(0, now).is_due(now + POLL), "the poll comes without a wake-up");
    }

    #[test]
    fn a_full_batch_is_followed_by_another_look() {
        let now = Instant::now();
        let mut hunger = Hunger::new(now);
        hunger.looking();
        assert!(!hunger.has_plenty(), "nothing is known");
        hunger.looked(10, 10, (now, POLL), 0.0);
        assert!(hunger.is_due(now) && hunger.has_plenty());
        hunger.looked(9, 10, (now, POLL), 0.0);
        assert!(!hunger.has_plenty());
    }
}
