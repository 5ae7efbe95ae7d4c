//! The store calls under way: at most two, and never two that touch one lease. Owns their tasks and their time limit;
//! never what they ask for.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use jobqueue_core::WorkerId;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::call::{Call, Done, End};
use crate::running::Report;

/// Postgres works on the second while we take in the first; a third would only wait for the disk behind them.
const MOST: usize = 2;
/// A call that hangs longer than the database lets any statement run: the connection is dead and nobody told us.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(45);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InFlight(Vec<Flight>);

/// One of them.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) task: JoinHandle<Done>,
    pub(super) call: Arc<Call>,
    pub(super) worker_id: WorkerId,
    pub(super) began: Instant,
}

/// Why a call has no outcome.
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
        self.0.len() >= MOST
    }

    pub(super) fn add(&mut self, flight: Flight) {
        self.0.push(flight);
    }

    /// Jobs that they may bring.
    pub(super) fn asked(&self) -> usize {
        self.0.iter().filter_map(|flight| flight.call.request.as_ref()).map(|request| request.limit).sum()
    }

    /// When the first of them is late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|flight| flight.began + CALL_LIMIT).min()
    }

    /// Takes out of `ends` those whose lease none of the calls touches: the others would only wait for its row, and could
    /// overtake a report of their own attempt.
    pub(super) fn take_free(&self, ends: &mut Vec<Arc<End>>) -> Vec<Arc<End>> {
        let busy = self.busy();
        ends.extract_if(.., |end| busy.binary_search(&end.lease.epoch()).is_err()).collect()
    }

    /// The same for reports; the others are put back for later.
    pub(super) fn free_reports(&self, reports: Vec<Report>) -> Vec<Report> {
        let busy = self.busy();
        let is_free = |report: &Report| busy.binary_search(&report.lease.epoch()).is_err();
        let (free, later): (Vec<Report>, Vec<Report>) = reports.into_iter().partition(is_free);
        later.iter().for_each(Report::put_back);
        free
    }

    /// The leases that the calls touch, in order.
    fn busy(&self) -> Vec<i64> {
        let calls = || self.0.iter().map(|flight| &*flight.call);
        let settled = calls().flat_map(|call| &call.ends).map(|end| end.lease.epoch());
        let reported = calls().flat_map(|call| &call.reports).map(|report| report.lease.epoch());
        let mut busy: Vec<i64> = settled.chain(reported).collect();
        busy.sort_unstable();
        busy.dedup();
        busy
    }

    /// Waits for the first to end or to be late; for ever, if there is none. Cancel-safe: the calls go on without us. Who
    /// waits wakes up at [`deadline`](Self::deadline) by himself.
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
