//! Backpressure: how many jobs a queue with `max_queued` still takes, and when a refused client shall try again.
//!
//! The count of a queue is an estimate that is read now and then. In between, a process counts what it lets in itself.

/// The largest `max_queued`.
pub const MAX_MAX_QUEUED: u64 = 1_000_000_000;

/// The longest `Retry-After`, in seconds.
pub const LONGEST_WAIT: u32 = 300;
/// The `Retry-After` while it is not known when the queue will have room: it is paused, or no attempt has ended there lately.
pub const UNKNOWN_WAIT: u32 = 30;

/// A queue with `max_queued`, as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueRoom {
    /// Most jobs that may be `queued` after a submission.
    pub max_queued: u64,
    /// Jobs that are `queued`.
    pub queued: u64,
    /// Attempts that end per second.
    pub drain_per_second: f64,
    /// Whether no job of the queue is started.
    pub paused: bool,
}

/// What one process lets into a queue with `max_queued`.
///
/// `admitted` counts the jobs that this process let in, and `ended` those whose transaction has ended. A job that was let in and whose transaction
/// had not ended before a reading may be in its count or not, so it counts again. One process alone therefore never exceeds `max_queued`, as far
/// as the readings are exact. A transaction that was certainly undone frees its places.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueGate {
    room: QueueRoom,
    admitted: u64,
    ended: u64,
    /// `admitted` may reach this.
    bound: u64,
    /// Jobs refused since the last reading.
    refused: u64,
}

impl QueueGate {
    /// Jobs of transactions that have ended. Ask before the reading whose result is given to [`QueueGate::read`].
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// Takes over a reading. `ended_before` is the value of [`QueueGate::ended`] before it began.
    pub const fn read(&mut self, room: QueueRoom, ended_before: u64) {
        self.room = room;
        self.bound = ended_before.saturating_add(room.max_queued.saturating_sub(room.queued));
        self.refused = 0;
    }

    /// Lets all of these jobs in.
    ///
    /// # Errors
    /// There is no room for all of them, and none is let in. The error is the number of seconds after which the client shall try again.
    pub fn admit(&mut self, jobs: u64) -> Result<(), u32> {
        let after = self.admitted.saturating_add(jobs);
        if after <= self.bound {
            self.admitted = after;
            return Ok(());
        }
        if jobs > self.room.max_queued {
            // they never fit, so others need not wait for their turn
            return Err(UNKNOWN_WAIT);
        }
        self.refused = self.refused.saturating_add(jobs);
        // those that were refused before come first
        let taken = self.admitted.saturating_sub(self.ended).saturating_add(self.room.queued);
        let over = taken.saturating_sub(self.room.max_queued);
        Err(retry_after(over.saturating_add(self.refused), &self.room))
    }

    /// Undoes [`QueueGate::admit`]: none of these jobs is stored.
    pub const fn withdraw(&mut self, jobs: u64) {
        self.admitted = self.admitted.saturating_sub(jobs);
    }

    /// The transaction of jobs that were let in has ended.
    pub const fn end(&mut self, jobs: u64) {
        self.ended = self.ended.saturating_add(jobs);
    }
}

/// Seconds in which the queue drains so many jobs, 1 to [`LONGEST_WAIT`].
pub fn retry_after(jobs: u64, room: &QueueRoom) -> u32 {
    if room.paused {
        return UNKNOWN_WAIT;
    }
    (1..=LONGEST_WAIT).find(|seconds| enough(f64::from(*seconds), jobs, room)).unwrap_or(
        // an average that fades away says nothing about the future
        if room.drain_per_second * f64::from(LONGEST_WAIT) < 1.0 { UNKNOWN_WAIT } else { LONGEST_WAIT },
    )
}

fn enough(seconds: f64, jobs: u64, room: &QueueRoom) -> bool {
    // no number of jobs in a queue needs more than 32 bits
    seconds * room.drain_per_second >= f64::from(u32::try_from(jobs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(max_queued: u64, queued: u64, drain_per_second: f64) -> QueueRoom {
        QueueRoom { max_queued, queued, drain_per_second, paused: false }
    }

    #[test]
    fn the_wait_is_the_time_in_which_the_queue_drains_the_jobs() {
        let drains = |rate| room(10, 10, rate);
        assert_eq!(retry_after(1, &drains(100.0)), 1, "at least one second");
        assert_eq!(retry_after(1_000, &drains(100.0)), 10);
        assert_eq!(retry_after(1_001, &drains(100.0)), 11);
        assert_eq!(retry_after(1, &drains(0.1)), 10);
        assert_eq!(retry_after(1_000_000, &drains(1.0)), LONGEST_WAIT);
        assert_eq!(retry_after(1, &drains(0.0)), UNKNOWN_WAIT);
        assert_eq!(retry_after(1, &drains(1e-9)), UNKNOWN_WAIT);
        assert_eq!(retry_after(1, &QueueRoom { paused: true, ..drains(100.0) }), UNKNOWN_WAIT);
    }

    #[test]
    fn a_gate_lets_in_what_fits_and_all_or_nothing() {
        let mut gate = QueueGate::default();
        gate.read(room(10, 4, 1.0), gate.ended());
        assert_eq!(gate.admit(7), Err(7), "seven jobs, one a second");
        gate.admit(6).unwrap();
        assert_eq!(gate.admit(1), Err(8), "after the seven");
        gate.withdraw(2);
        gate.admit(2).unwrap();
    }

    #[test]
    fn what_never_fits_makes_no_other_wait_longer() {
        let mut gate = QueueGate::default();
        gate.read(room(10, 10, 1.0), gate.ended());
        assert_eq!(gate.admit(1_000), Err(UNKNOWN_WAIT));
        assert_eq!(gate.admit(1), Err(1), "one place, one job a second");
        gate.read(room(0, 0, 1.0), gate.ended());
        assert_eq!(gate.admit(1), Err(UNKNOWN_WAIT));
    }

    #[test]
    fn jobs_in_flight_count_once_more_than_they_may_never_less() {
        let mut gate = QueueGate::default();
        gate.read(room(10, 0, 1.0), gate.ended());
        gate.admit(8).unwrap();
        let before = gate.ended();
        // their transaction ends during the reading, which has not seen them
        gate.end(8);
        gate.read(room(10, 0, 1.0), before);
        gate.admit(2).unwrap();
        gate.admit(1).unwrap_err();
        gate.end(2);
        // it sees all, and two were leased
        gate.read(room(10, 8, 1.0), gate.ended());
        gate.admit(2).unwrap();
        gate.admit(1).unwrap_err();
        // the limit was lowered below what is there
        gate.read(room(3, 8, 1.0), gate.ended());
        gate.admit(1).unwrap_err();
    }
}
