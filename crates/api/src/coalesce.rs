//! Requests that share calls of the store: what queued up while the last call ran goes with the next. Nobody waits for a timer, and the
//! more there is to do, the less each costs. Owns the requests between their arrival and their call, and their bound.

use std::sync::Arc;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_runtime::Shutdown;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// Takes requests and hands each its answer. The calls go on, and answers are for nobody, when those who asked go away.
#[derive(Debug)]
pub(crate) struct Coalescer<Q, A>(mpsc::Sender<Ticket<Q, A>>);

#[derive(Debug)]
struct Ticket<Q, A> {
    request: Q,
    reply: oneshot::Sender<A>,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// As many as may wait do so.
    Full,
    /// The process goes down.
    Closed,
}

/// An answer to come.
pub(crate) type Pending<A> = oneshot::Receiver<A>;

impl<Q: Send + 'static, A: Send + 'static> Coalescer<Q, A> {
    /// Starts `calls` tasks, which end when the coalescer is gone and nothing waits any more: so many calls are under way at
    /// most. `capacity` bounds what waits. `call` takes up to 1000 requests and gives an answer each, in order.
    pub(crate) fn start<F, Fut>(calls: usize, capacity: usize, shutdown: &Shutdown, call: F) -> Self
    where
        F: Fn(Vec<Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<A>> + Send,
    {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let desk = Arc::new((Mutex::new(receiver), call));
        for _ in 0..calls {
            let desk = desk.clone();
            shutdown.spawn(async move { serve(&desk.0, &desk.1).await });
        }
        Self(sender)
    }

    /// Leaves a request.
    pub(crate) fn ask(&self, request: Q) -> Result<Pending<A>, NotTaken> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Ticket { request, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(NotTaken::Full),
            Err(TrySendError::Closed(_)) => Err(NotTaken::Closed),
        }
    }

    /// Requests that wait for their call.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}

async fn serve<Q, A, Fut: Future<Output = Vec<A>>>(
    desk: &Mutex<mpsc::Receiver<Ticket<Q, A>>>,
    call: impl Fn(Vec<Q>) -> Fut,
) {
    let mut tickets = Vec::new();
    loop {
        // Whoever holds the lock waits for the first; the others are busy with their calls.
        if desk.lock().await.recv_many(&mut tickets, MAX_BATCH).await == 0 {
            return;
        }
        let (requests, replies): (Vec<Q>, Vec<_>) =
            tickets.drain(..).map(|Ticket { request, reply }| (request, reply)).unzip();
        for (reply, answer) in replies.into_iter().zip(call(requests).await) {
            // The client went away; what it asked for is done all the same.
            let _gone = reply.send(answer);
        }
    }
}

impl NotTaken {
    /// For the client; `what` waits, in the plural.
    pub(crate) fn into_problem(self, what: &str, metrics: &Metrics) -> Problem {
        match self {
            Self::Full => {
                metrics.rejected("pending_jobs");
                Problem::new(Kind::TooBusy, format!("too many {what} wait for their commit; send it again"))
            }
            Self::Closed => Problem::shutting_down(),
        }
    }
}
