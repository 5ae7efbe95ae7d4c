//! When to poll for work: at intervals, after wake-ups, and not right after a poll that found nothing. Owns these times;
//! does not lease.
//!
//! Polls follow the rate at which they find jobs. So a job whose wake-up is not sent (SQL in a busy transaction) or not
//! received (a pooler) waits for long only after a quiet period. Polls find little where wake-ups announce the jobs, and
//! stay rare.

use std::time::Duration;

use tokio::time::Instant;

/// How long a wake-up is delayed after a poll that found nothing: every idle worker gets the same wake-up, and the first
/// one has probably leased the job. Also approximately the shortest interval between polls.
const QUIET: Duration = Duration::from_millis(5);
/// The largest random addition to the delay, so that many workers do not poll at the same time.
const JITTER_MS: f64 = 3.0;

/// Decides when the next poll is due.
#[derive(Debug)]
pub(super) struct PollSchedule {
    /// There may be more jobs to lease.
    wanted: bool,
    /// The last poll returned as many jobs as it requested.
    batch_was_full: bool,
    /// When the last poll ended.
    polled_at: Instant,
    /// When the next poll is due without a wake-up.
    poll_at: Instant,
    /// The number of jobs that the last poll found, with the polls that fetched the rest of them, and the end of the poll
    /// before. `None` after a wake-up.
    found: Option<(Instant, u32)>,
    /// The interval between polls: `longest_interval`, or less while polls find jobs.
    interval: Duration,
    longest_interval: Duration,
    /// No poll before this time, even after a wake-up.
    quiet_until: Option<Instant>,
}

impl PollSchedule {
    /// A new worker polls at once, and then every `longest_interval` while there is no work.
    pub(super) fn new(now: Instant, longest_interval: Duration) -> Self {
        Self {
            wanted: true,
            batch_was_full: false,
            polled_at: now,
            poll_at: now,
            found: None,
            interval: longest_interval,
            longest_interval,
            quiet_until: None,
        }
    }

    /// There may be work.
    pub(super) fn wake(&mut self) {
        self.wanted = true;
    }

    /// A poll starts. A wake-up from now on requests another one.
    pub(super) fn poll_started(&mut self) {
        if !self.batch_was_full {
            self.found = (!self.wanted).then_some((self.polled_at, 0));
        }
        self.wanted = false;
    }

    /// A poll for `requested` jobs found `found`. `chance` is in `0..1`.
    pub(super) fn poll_ended(&mut self, found: usize, requested: usize, now: Instant, chance: f64) {
        // after a full batch there are probably more jobs
        self.batch_was_full = found >= requested;
        self.wanted |= self.batch_was_full;
        let quiet = QUIET + Duration::from_secs_f64(chance * JITTER_MS / 1000.0);
        self.quiet_until = (found == 0).then(|| now + quiet);
        if let Some((since, jobs)) = &mut self.found {
            *jobs = jobs.saturating_add(u32::try_from(found).unwrap_or(u32::MAX));
            // at this interval each poll would find one job
            let paced = (now - *since).checked_div(*jobs).unwrap_or_else(|| self.interval.mul_f64(1.5));
            self.interval = paced.max(QUIET).min(self.longest_interval);
        }
        self.polled_at = now;
        self.poll_at = now + self.interval.mul_f64(0.9 + 0.2 * chance);
    }

    /// Whether there are probably enough jobs for two polls at the same time.
    pub(super) fn last_batch_was_full(&self) -> bool {
        self.batch_was_full
    }

    /// Whether a poll is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        (self.wanted || now >= self.poll_at) && self.quiet_until.is_none_or(|until| now >= until)
    }

    /// When a poll becomes due without a further event; `None` if one is due already.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let wanted_at = if self.wanted { now } else { self.poll_at };
        let at = self.quiet_until.map_or(wanted_at, |until| until.max(wanted_at));
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn after_a_poll(found: usize, now: Instant) -> PollSchedule {
        let mut schedule = PollSchedule::new(now, POLL);
        assert!(schedule.is_due(now), "a new worker polls at once");
        schedule.poll_started();
        schedule.poll_ended(found, 10, now, 0.5);
        assert!(!schedule.is_due(now));
        assert_eq!(schedule.due_at(now), Some(now + POLL));
        schedule
    }

    #[test]
    fn a_wake_up_right_after_an_empty_poll_is_delayed_and_not_lost() {
        let now = Instant::now();
        let mut schedule = after_a_poll(0, now);
        schedule.wake();
        assert!(!schedule.is_due(now + 6 * MS));
        assert_eq!(schedule.due_at(now + MS), Some(now + 6 * MS + MS / 2));
        assert!(schedule.is_due(now + 7 * MS));
        assert_eq!(schedule.due_at(now + 7 * MS), None, "nothing to wait for");
    }

    #[test]
    fn a_wake_up_after_a_longer_pause_or_a_found_job_causes_a_poll_at_once() {
        let now = Instant::now();
        let mut idle = after_a_poll(0, now);
        idle.wake();
        assert!(idle.is_due(now + 20 * MS));
        let mut busy = after_a_poll(3, now);
        busy.wake();
        assert!(busy.is_due(now));
        assert!(after_a_poll(0, now).is_due(now + POLL), "the poll comes without a wake-up");
    }

    #[test]
    fn a_full_batch_is_followed_by_another_poll() {
        let now = Instant::now();
        let mut schedule = PollSchedule::new(now, POLL);
        schedule.poll_started();
        assert!(!schedule.last_batch_was_full(), "no poll has ended");
        schedule.poll_ended(10, 10, now, 0.0);
        assert!(schedule.is_due(now) && schedule.last_batch_was_full());
        schedule.poll_ended(9, 10, now, 0.0);
        assert!(!schedule.last_batch_was_full());
    }

    /// Polls as soon as they are due, without wake-ups; `found` returns how many jobs a poll finds after the given interval.
    /// Returns the intervals between the polls.
    fn polls(schedule: &mut PollSchedule, from: Instant, found: impl Fn(Duration) -> usize) -> Vec<Duration> {
        let mut now = from;
        let mut intervals = Vec::new();
        for _ in 0..30 {
            let due = schedule.due_at(now).unwrap();
            intervals.push(due - now);
            schedule.poll_started();
            schedule.poll_ended(found(due - now), 1000, due, 0.5);
            now = due;
        }
        intervals
    }

    #[test]
    fn polls_follow_the_rate_of_the_jobs_that_they_find() {
        let now = Instant::now();
        let intervals_at = |per_second: u128| {
            let mut schedule = after_a_poll(0, now);
            let intervals = polls(&mut schedule, now, |passed| {
                usize::try_from(passed.as_millis() * per_second / 1000).unwrap()
            });
            assert_eq!(intervals[0], POLL, "the first poll after a quiet period is late");
            intervals
        };
        assert!(
            intervals_at(500)[1..].iter().all(|interval| *interval == QUIET),
            "many jobs: the shortest interval"
        );
        assert!(intervals_at(50)[1..].iter().all(|interval| *interval == 20 * MS), "one job in each poll");
        assert!(intervals_at(0)[1..].iter().all(|interval| *interval == POLL), "no jobs");
    }

    #[test]
    fn jobs_of_follow_up_polls_count_for_the_interval() {
        let now = Instant::now();
        let mut schedule = after_a_poll(0, now);
        let poll = now + POLL;
        for _ in 0..100 {
            schedule.poll_started();
            schedule.poll_ended(1, 1, poll, 0.5);
        }
        schedule.poll_started();
        schedule.poll_ended(0, 1, poll, 0.5);
        assert_eq!(schedule.due_at(poll), Some(poll + POLL / 100));
    }

    #[test]
    fn two_polls_in_parallel_after_a_wake_up_do_not_shorten_the_interval() {
        let now = Instant::now();
        let mut schedule = after_a_poll(0, now);
        schedule.wake();
        schedule.poll_started();
        schedule.poll_ended(10, 10, now, 0.5);
        schedule.poll_started();
        schedule.poll_started();
        schedule.poll_ended(10, 10, now, 0.5);
        schedule.poll_ended(3, 10, now, 0.5);
        assert_eq!(schedule.due_at(now), None, "the first of the two requests another poll");
        schedule.poll_started();
        schedule.poll_ended(0, 10, now, 0.5);
        assert_eq!(schedule.due_at(now), Some(now + POLL));
    }

    #[test]
    fn polls_become_rare_again_without_jobs() {
        let now = Instant::now();
        let mut schedule = after_a_poll(0, now);
        polls(&mut schedule, now, |_| 900);
        let quiet_from = schedule.polled_at;
        let intervals = polls(&mut schedule, quiet_from, |_| 0);
        assert!(intervals[0] < 10 * MS && intervals[0] <= intervals[1], "{intervals:?}");
        assert_eq!(intervals.last(), Some(&POLL));
        let spent: Duration = intervals[..14].iter().sum();
        assert!(spent >= POLL, "fourteen polls cover {spent:?}");
    }

    #[test]
    fn jobs_that_wake_ups_announce_do_not_shorten_the_interval() {
        let now = Instant::now();
        let mut schedule = after_a_poll(0, now);
        for _ in 0..10 {
            schedule.wake();
            schedule.poll_started();
            schedule.poll_ended(5, 10, now + 20 * MS, 0.5);
        }
        assert_eq!(schedule.due_at(now + 20 * MS), Some(now + 20 * MS + POLL));
    }
}
