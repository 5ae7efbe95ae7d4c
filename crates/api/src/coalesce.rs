//! Requests that share calls of the store: what queued up while the last call ran goes with the next. Nobody waits for a timer, and the
//! more there is to do, the less each costs. Owns the requests between their arrival and their call, and their bound.

use std::sync::Arc;

use jobqueue_runtime::Shutdown;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// Takes requests. Calls go on, and answers are for nobody, when those who asked go away.
#[derive(Debug)]
pub(crate) struct Coalescer<Q, A>(mpsc::Sender<Ticket<Q, A>>);

/// A request, and who waits for its answer. Dropped without one, it was lost by a defect.
#[derive(Debug)]
pub(crate) struct Ticket<Q, A> {
    pub(crate) request: Q,
    pub(crate) reply: oneshot::Sender<A>,
}

/// How much there may be of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Calls under way at once.
    pub(crate) calls: usize,
    /// Requests that go with one call.
    pub(crate) together: usize,
    /// Requests that wait.
    pub(crate) waiting: usize,
}

/// The request was not taken: as many as may wait do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<Q: Send + 'static, A: Send + 'static> Coalescer<Q, A> {
    /// Starts the tasks, which end when the coalescer is gone and nothing waits any more. `call` sees to every ticket's answer.
    pub(crate) fn start<F, Fut>(bounds: Bounds, shutdown: &Shutdown, call: F) -> Self
    where
        F: Fn(Vec<Ticket<Q, A>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(bounds.waiting.max(1));
        let desk = Arc::new((Mutex::new(receiver), call));
        for _ in 0..bounds.calls {
            let (desk, contained) = (desk.clone(), shutdown.clone());
            shutdown.spawn(async move {
                let mut tickets = Vec::new();
                // Whoever holds the lock waits for the first; the others are busy with their calls.
                while desk.0.lock().await.recv_many(&mut tickets, bounds.together).await > 0 {
                    // a call that panics costs its own requests alone
                    let _panicked = contained.spawn_contained((desk.1)(std::mem::take(&mut tickets))).await;
                }
            });
        }
        Self(sender)
    }

    /// Leaves a request. The answer is an error if the call panicked.
    pub(crate) fn ask(&self, request: Q) -> Result<oneshot::Receiver<A>, Full> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Ticket { request, reply }) {
            // The tasks live as long as we do.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(Full),
        }
    }

    /// Requests that wait for their call.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}

/// What a client is told whose request was not taken. `bound` is its name in the metrics.
pub(crate) fn refused(bound: &str, metrics: &Metrics) -> Problem {
    metrics.rejected(bound);
    Problem::new(Kind::TooBusy, "too many requests of this kind wait for the database; send it again")
}
