//! Requests that share calls of the store: the requests that arrived during a call go into the next one. So a request
//! costs less when there are more of them. Owns the requests from their arrival to their call, and how many may wait.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::Shutdown;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::metrics::ApiMetrics;
use crate::problem::{Problem, ProblemKind};

/// The longest time that a call is delayed because it is smaller than the calls in flight.
const MAX_DELAY: Duration = Duration::from_millis(5);

/// Accepts requests. A call continues if the senders of its requests are gone; their answers are dropped.
#[derive(Debug)]
pub(crate) struct Coalescer<Q, A>(mpsc::Sender<Pending<Q, A>>);

/// A request that has no answer yet. If it is dropped without an answer, which only a defect causes, its sender gets an
/// error.
#[derive(Debug)]
pub(crate) struct Pending<Q, A> {
    pub(crate) request: Q,
    pub(crate) reply: oneshot::Sender<A>,
}

/// The limits of a coalescer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Calls in flight at the same time.
    pub(crate) calls: usize,
    /// Requests in one call.
    pub(crate) together: usize,
    /// Requests that wait, in addition to those that a task has already collected for the next call.
    pub(crate) waiting: usize,
}

/// The request was refused, because too many requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The state that the tasks of a coalescer share.
struct Shared<Q, A, F> {
    /// The task with the lock collects requests; the other tasks are making calls.
    receiver: Mutex<mpsc::Receiver<Pending<Q, A>>>,
    /// The number of requests in the calls in flight.
    in_flight: watch::Sender<usize>,
    call: F,
}

impl<Q, A, F> Shared<Q, A, F> {
    /// Collects the requests of the next call; none when all senders are gone. While other calls are in flight, it waits
    /// for as many requests as those have together. Without this, the first few senders that return after their answers
    /// would get a call, and so a transaction and a flush, for themselves.
    async fn collect(&self, most: usize) -> Vec<Pending<Q, A>> {
        let mut pending = Vec::new();
        let mut receiver = self.receiver.lock().await;
        if receiver.recv_many(&mut pending, most).await == 0 {
            return pending;
        }
        let more = async {
            let mut in_flight = self.in_flight.subscribe();
            while pending.len() < (*in_flight.borrow_and_update()).min(most) {
                let missing = most - pending.len();
                tokio::select! {
                    _ = in_flight.changed() => {}
                    count = receiver.recv_many(&mut pending, missing) => if count == 0 { break },
                }
            }
        };
        // after the delay, the requests that have arrived are sent
        let _late = timeout(MAX_DELAY, more).await;
        self.in_flight.send_modify(|in_flight| *in_flight += pending.len());
        pending
    }
}

impl<Q: Send + 'static, A: Send + 'static> Coalescer<Q, A> {
    /// Starts the tasks. They end when the coalescer is dropped and no request waits. `call` must answer every request.
    pub(crate) fn start<F, Fut>(bounds: Bounds, shutdown: &Shutdown, call: F) -> Self
    where
        F: Fn(Vec<Pending<Q, A>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(bounds.waiting.max(1));
        let shared =
            Arc::new(Shared { receiver: Mutex::new(receiver), in_flight: watch::Sender::new(0), call });
        for _ in 0..bounds.calls {
            let (shared, contained) = (shared.clone(), shutdown.clone());
            shutdown.spawn(async move {
                loop {
                    let pending = shared.collect(bounds.together).await;
                    let count = pending.len();
                    if count == 0 {
                        return;
                    }
                    // a panic affects only the requests of its own call
                    let _panicked = contained.spawn_contained((shared.call)(pending)).await;
                    shared.in_flight.send_modify(|in_flight| *in_flight -= count);
                }
            });
        }
        Self(sender)
    }

    /// Sends a request and returns the receiver of its answer, which fails if the call panicked.
    pub(crate) fn ask(&self, request: Q) -> Result<oneshot::Receiver<A>, Full> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Pending { request, reply }) {
            // closed cannot happen: the tasks run as long as the coalescer exists
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(Full),
        }
    }

    /// The number of requests that wait, without those that a task has already collected.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}

/// The answer to a refused request. `bound` is the name of the limit in the metrics.
pub(crate) fn refused(bound: &str, metrics: &ApiMetrics) -> Problem {
    metrics.rejected(bound);
    Problem::new(
        ProblemKind::TooBusy,
        "too many requests of this kind wait for the database; repeat the request later",
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;

    /// Calls that last until they are released, and report how many requests they have and when they began.
    struct Calls {
        coalescer: Coalescer<(), ()>,
        begun: mpsc::UnboundedReceiver<(usize, Duration)>,
        go: Arc<Semaphore>,
    }

    impl Calls {
        fn start() -> Self {
            let (go, started) = (Arc::new(Semaphore::new(0)), Instant::now());
            let (tell, begun) = mpsc::unbounded_channel();
            let ends = go.clone();
            let bounds = Bounds { calls: 2, together: 4, waiting: 100 };
            let coalescer =
                Coalescer::start(bounds, &Shutdown::new(), move |pending: Vec<Pending<(), ()>>| {
                    let (tell, ends) = (tell.clone(), ends.clone());
                    async move {
                        tell.send((pending.len(), started.elapsed())).unwrap();
                        ends.acquire().await.unwrap().forget();
                    }
                });
            Self { coalescer, begun, go }
        }

        /// With a call of this many requests in flight.
        async fn beside(count: usize) -> Self {
            let mut calls = Self::start();
            calls.ask(count);
            assert_eq!(calls.next().await, (count, Duration::ZERO));
            calls
        }

        fn ask(&self, count: usize) {
            for _ in 0..count {
                let _no_receiver = self.coalescer.ask(()).unwrap();
            }
        }

        async fn next(&mut self) -> (usize, Duration) {
            self.begun.recv().await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_request_is_sent_at_once() {
        let mut calls = Calls::start();
        for _ in 0..2 {
            calls.ask(1);
            assert_eq!(calls.next().await, (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beside_another_is_as_large_or_waits_for_its_end() {
        let mut calls = Calls::beside(3).await;
        calls.ask(1);
        tokio::task::yield_now().await;
        calls.ask(2);
        assert_eq!(calls.next().await, (3, Duration::ZERO), "as many as the first");
        calls.ask(1);
        calls.go.add_permits(2);
        assert_eq!(calls.next().await, (1, Duration::ZERO), "no other call is in flight");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beside_one_that_hangs_is_delayed_briefly() {
        let mut calls = Calls::beside(4).await;
        calls.ask(2);
        assert_eq!(calls.next().await, (2, MAX_DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_panics_does_not_block_later_calls() {
        let mut calls = Calls::beside(4).await;
        calls.go.close();
        tokio::task::yield_now().await;
        calls.ask(1);
        assert_eq!(calls.next().await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn collected_requests_are_sent_at_once_when_all_senders_are_gone() {
        let calls = Calls::beside(4).await;
        calls.ask(2);
        let Calls { coalescer, mut begun, .. } = calls;
        drop(coalescer);
        assert_eq!(begun.recv().await, Some((2, Duration::ZERO)));
    }
}
