//! The store calls in flight: at most two, and never two that touch the same lease. Owns their tasks and
//! their time limit; does not decide what they contain.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::call::{Call, Done};
use crate::ended::EndedAttempt;
use crate::running::Report;

/// Two: Postgres executes the second while the dispatcher handles the reply of the first. A third would only
/// wait for the disk.
const MAX_CALLS: usize = 2;
/// Longer than the statement timeout. A call that takes this long has a dead connection that reported no
/// error.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(45);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InFlight(Vec<Flight>);

/// One store call in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) task: JoinHandle<Done>,
    pub(super) call: Arc<Call>,
    /// Its number among the lease calls, if it leases.
    pub(super) lease_call: Option<u64>,
    pub(super) began: Instant,
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Lost {
    Late,
    Broken(JoinError),
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_CALLS
    }

    pub(super) fn add(&mut self, flight: Flight) {
        self.0.push(flight);
    }

    /// How many jobs the calls may lease.
    pub(super) fn requested_jobs(&self) -> usize {
        self.0.iter().filter_map(|flight| flight.call.request.as_ref()).map(|request| request.limit).sum()
    }

    /// When the oldest call reaches its time limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|flight| flight.began + CALL_LIMIT).min()
    }

    /// Removes and returns those of `ends` whose lease is not used by any of the calls. Another settle of a
    /// used lease would wait for its row lock, and could overtake a report of its own attempt.
    pub(super) fn take_free(&self, ends: &mut Vec<Arc<EndedAttempt>>) -> Vec<Arc<EndedAttempt>> {
        let used = self.used_leases();
        ends.extract_if(.., |end| used.binary_search(&end.lease.epoch()).is_err()).collect()
    }

    /// The same for reports. Reports of used leases are put back for later.
    pub(super) fn take_free_reports(&self, reports: Vec<Report>) -> Vec<Report> {
        let used = self.used_leases();
        let is_free = |report: &Report| used.binary_search(&report.lease.epoch()).is_err();
        let (free, later): (Vec<Report>, Vec<Report>) = reports.into_iter().partition(is_free);
        later.iter().for_each(Report::put_back);
        free
    }

    /// The sorted epochs of the leases that the calls use.
    fn used_leases(&self) -> Vec<i64> {
        let calls = || self.0.iter().map(|flight| &*flight.call);
        let settled = calls().flat_map(|call| &call.ends).map(|end| end.lease.epoch());
        let reported = calls().flat_map(|call| &call.reports).map(|report| report.lease.epoch());
        let mut used: Vec<i64> = settled.chain(reported).collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// Waits until a call ends or exceeds its time limit; never returns if there is no call. Cancel-safe: the
    /// calls continue. The time limit is checked only when this is polled, so the caller must wake up at
    /// [`deadline`](Self::deadline).
    pub(super) async fn next(&mut self) -> (Flight, Result<Done, Lost>) {
        let (place, outcome) = poll_fn(|context| {
            for (place, flight) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(done) = Pin::new(&mut flight.task).poll(context) {
                    return Poll::Ready((place, done.map_err(Lost::Broken)));
                }
                if flight.began.elapsed() >= CALL_LIMIT {
                    flight.task.abort();
                    return Poll::Ready((place, Err(Lost::Late)));
                }
            }
            Poll::Pending
        })
        .await;
        (self.0.swap_remove(place), outcome)
    }
}
