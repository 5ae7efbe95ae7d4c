//! When to look for work again: polls, wake-ups, and the short quiet after a look that found nothing. Owns the moments;
//! never leases.
//!
//! Polls keep pace with what they find, so that work whose wake-up is not sent (SQL in a busy transaction) or not heard (a pooler)
//! waits long only after a quiet time. Work that wake-ups announce leaves nothing for polls to find, and they stay rare.

use std::time::Duration;

use tokio::time::Instant;

/// A wake-up this soon after an empty answer is heard a little later: it is most likely the one that every idle worker got,
/// and whoever came first has taken the job. Polls are about as far apart at least.
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
    looked_at: Instant,
    poll_at: Instant,
    /// What the last poll found, with the looks for the rest of it, and since when that came. Nothing after a wake-up.
    found: Option<(Instant, u32)>,
    /// The distance of polls; the longest one unless they find something.
    poll: Duration,
    longest_poll: Duration,
    quiet_until: Option<Instant>,
}

impl Hunger {
    /// A new worker looks at once, and then every `longest_poll` while nothing comes.
    pub(super) fn new(now: Instant, longest_poll: Duration) -> Self {
        Self {
            hungry: true,
            plenty: false,
            looked_at: now,
            poll_at: now,
            found: None,
            poll: longest_poll,
            longest_poll,
            quiet_until: None,
        }
    }

    /// There may be work.
    pub(super) fn wake(&mut self) {
        self.hungry = true;
    }

    /// A look is under way; a wake-up from now on asks for another.
    pub(super) fn looking(&mut self) {
        if !self.plenty {
            self.found = (!self.hungry).then_some((self.looked_at, 0));
        }
        self.hungry = false;
    }

    /// A look for `asked` jobs found `got`. `chance` is in `0..1`.
    pub(super) fn looked(&mut self, got: usize, asked: usize, now: Instant, chance: f64) {
        // a full batch says that there is more
        self.plenty = got >= asked;
        self.hungry |= self.plenty;
        let quiet = QUIET + Duration::from_secs_f64(chance * JITTER_MS / 1000.0);
        self.quiet_until = (got == 0).then(|| now + quiet);
        if let Some((since, jobs)) = &mut self.found {
            *jobs = jobs.saturating_add(u32::try_from(got).unwrap_or(u32::MAX));
            // at that pace one job will have come until the next poll
            let paced = (now - *since).checked_div(*jobs).unwrap_or_else(|| self.poll.mul_f64(1.5));
            self.poll = paced.max(QUIET).min(self.longest_poll);
        }
        self.looked_at = now;
        self.poll_at = now + self.poll.mul_f64(0.9 + 0.2 * chance);
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
        let mut hunger = Hunger::new(now, POLL);
        assert!(hunger.is_due(now), "a new worker looks at once");
        hunger.looking();
        hunger.looked(got, 10, now, 0.5);
        assert!(!hunger.is_due(now));
        assert_eq!(hunger.due_at(now), Some(now + POLL));
        hunger
    }

    #[test]
    fn a_wake_up_right_after_an_empty_look_is_delayed_and_not_lost() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        hunger.wake();
        assert!(!hunger.is_due(now + 6 * MS));
        assert_eq!(hunger.due_at(now + MS), Some(now + 6 * MS + MS / 2));
        assert!(hunger.is_due(now + 7 * MS));
        assert_eq!(hunger.due_at(now + 7 * MS), None, "nothing to wait for");
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
        let mut hunger = Hunger::new(now, POLL);
        hunger.looking();
        assert!(!hunger.has_plenty(), "nothing is known");
        hunger.looked(10, 10, now, 0.0);
        assert!(hunger.is_due(now) && hunger.has_plenty());
        hunger.looked(9, 10, now, 0.0);
        assert!(!hunger.has_plenty());
    }

    /// Looks that nothing asked for, as soon as they are due; `found` says what one finds after so long a time. Answers the
    /// distances between them.
    fn polls(hunger: &mut Hunger, from: Instant, found: impl Fn(Duration) -> usize) -> Vec<Duration> {
        let mut now = from;
        let mut distances = Vec::new();
        for _ in 0..30 {
            let due = hunger.due_at(now).unwrap();
            distances.push(due - now);
            hunger.looking();
            hunger.looked(found(due - now), 1000, due, 0.5);
            now = due;
        }
        distances
    }

    #[test]
    fn polls_keep_pace_with_what_they_find() {
        let now = Instant::now();
        let a_second = |per_second: u128| {
            let mut hunger = after_a_look(0, now);
            let distances = polls(&mut hunger, now, |passed| {
                usize::try_from(passed.as_millis() * per_second / 1000).unwrap()
            });
            assert_eq!(distances[0], POLL, "the first one after a quiet time is late");
            distances
        };
        assert!(
            a_second(500)[1..].iter().all(|distance| *distance == QUIET),
            "much comes: no closer than that"
        );
        assert!(a_second(50)[1..].iter().all(|distance| *distance == 20 * MS), "one job each");
        assert!(a_second(0)[1..].iter().all(|distance| *distance == POLL), "nothing comes");
    }

    #[test]
    fn the_looks_for_the_rest_of_what_a_poll_found_count_for_its_pace() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        let poll = now + POLL;
        for _ in 0..100 {
            hunger.looking();
            hunger.looked(1, 1, poll, 0.5);
        }
        hunger.looking();
        hunger.looked(0, 1, poll, 0.5);
        assert_eq!(hunger.due_at(poll), Some(poll + POLL / 100));
    }

    #[test]
    fn two_looks_at_once_for_what_a_wake_up_announced_make_no_polls() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        hunger.wake();
        hunger.looking();
        hunger.looked(10, 10, now, 0.5);
        hunger.looking();
        hunger.looking();
        hunger.looked(10, 10, now, 0.5);
        hunger.looked(3, 10, now, 0.5);
        assert_eq!(hunger.due_at(now), None, "the first of the two asks for another");
        hunger.looking();
        hunger.looked(0, 10, now, 0.5);
        assert_eq!(hunger.due_at(now), Some(now + POLL));
    }

    #[test]
    fn polls_become_rare_again_when_nothing_comes() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        polls(&mut hunger, now, |_| 900);
        let quiet_from = hunger.looked_at;
        let distances = polls(&mut hunger, quiet_from, |_| 0);
        assert!(distances[0] < 10 * MS && distances[0] <= distances[1], "{distances:?}");
        assert_eq!(distances.last(), Some(&POLL));
        let spent: Duration = distances[..14].iter().sum();
        assert!(spent >= POLL, "fourteen looks cover {spent:?}");
    }

    #[test]
    fn what_wake_ups_announce_makes_no_polls() {
        let now = Instant::now();
        let mut hunger = after_a_look(0, now);
        for _ in 0..10 {
            hunger.wake();
            hunger.looking();
            hunger.looked(5, 10, now + 20 * MS, 0.5);
        }
        assert_eq!(hunger.due_at(now + 20 * MS), Some(now + 20 * MS + POLL));
    }
}
