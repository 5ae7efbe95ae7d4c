//! The lease calls in flight. Owns up to which epoch this process knows its leases. A lease whose reply is still on its way must not be
//! taken for one whose reply was lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module. The dispatcher and the heartbeat's thread use it under one lock, which is held only briefly.
#[derive(Debug, Default)]
pub(crate) struct LeaseCalls(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    /// The newest epoch of any lease when the last heartbeat was answered; 0 before that.
    newest: i64,
    /// The number of the next call.
    next: u64,
    /// The calls in flight: the number of each, and `newest` when it began. The database grants epochs in ascending order, so a call can
    /// only return leases with an epoch above that.
    in_flight: Vec<(u64, i64)>,
}

impl LeaseCalls {
    /// A call begins. Returns its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut calls = self.lock();
        let call = (calls.next, calls.newest);
        calls.next += 1;
        calls.in_flight.push(call);
        call.0
    }

    /// A call has ended: its leases are in the table of attempts, or its reply was lost.
    pub(crate) fn end(&self, number: u64) {
        self.lock().in_flight.retain(|(call, _)| *call != number);
    }

    /// Records the newest epoch from the reply to a heartbeat.
    pub(crate) fn set_newest(&self, epoch: i64) {
        self.lock().newest = epoch;
    }

    /// No call in flight returns a lease with this epoch or a smaller one. Read it before the table of attempts: then the table has all
    /// leases up to it whose reply was not lost.
    pub(crate) fn known_up_to(&self) -> i64 {
        let calls = self.lock();
        calls.in_flight.iter().map(|(_, newest)| *newest).fold(calls.newest, i64::min)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_of_calls_in_flight_are_not_known() {
        let calls = LeaseCalls::default();
        let first = calls.begin();
        calls.set_newest(2999);
        assert_eq!(calls.known_up_to(), 0, "the first call can return any epoch");
        let second = calls.begin();
        calls.end(first);
        calls.set_newest(5999);
        assert_eq!(calls.known_up_to(), 2999, "the second one began when 2999 was the newest");
        let third = calls.begin();
        calls.end(second);
        assert_eq!(calls.known_up_to(), 5999);
        calls.set_newest(999);
        assert_eq!(calls.known_up_to(), 999, "a failover can lose epochs");
        calls.end(third);
        assert_eq!(calls.known_up_to(), 999);
    }
}
