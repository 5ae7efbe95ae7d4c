//! Requests that share calls of the store: what queued up while the last call ran goes with the next. A request waits for nobody while no
//! larger call is under way, and the more there is to do, the less each costs. Owns the requests between their arrival and their call, and their bound.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::Shutdown;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// The longest that a call is held back because it is smaller than the one under way.
const PATIENCE: Duration = Duration::from_millis(5);

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
    /// Requests that wait, without those that are gathered for the next call.
    pub(crate) waiting: usize,
}

/// The request was not taken: as many as may wait do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What the tasks of a coalescer share.
struct Desk<Q, A, F> {
    /// Whoever holds the lock gathers; the others are busy with their calls.
    receiver: Mutex<mpsc::Receiver<Ticket<Q, A>>>,
    /// Requests that are in calls.
    under_way: watch::Sender<usize>,
    call: F,
}

impl<Q, A, F> Desk<Q, A, F> {
    /// The requests of the next call; none when all senders are gone. A call beside others must be worth it, with as many requests as those
    /// have together: right after answers the first few senders are back, and a call for them alone costs a transaction and a flush of its own.
    async fn gather(&self, most: usize) -> Vec<Ticket<Q, A>> {
        let mut tickets = Vec::new();
        let mut receiver = self.receiver.lock().await;
        if receiver.recv_many(&mut tickets, most).await == 0 {
            return tickets;
        }
        let more = async {
            let mut under_way = self.under_way.subscribe();
            while tickets.len() < (*under_way.borrow_and_update()).min(most) {
                let room = most - tickets.len();
                tokio::select! {
                    _ = under_way.changed() => {}
                    count = receiver.recv_many(&mut tickets, room) => if count == 0 { break },
                }
            }
        };
        // what has come goes all the same
        let _late = timeout(PATIENCE, more).await;
        self.under_way.send_modify(|under_way| *under_way += tickets.len());
        tickets
    }
}

impl<Q: Send + 'static, A: Send + 'static> Coalescer<Q, A> {
    /// Starts the tasks, which end when the coalescer is gone and nothing waits any more. `call` sees to every ticket's answer.
    pub(crate) fn start<F, Fut>(bounds: Bounds, shutdown: &Shutdown, call: F) -> Self
    where
        F: Fn(Vec<Ticket<Q, A>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(bounds.waiting.max(1));
        let desk = Arc::new(Desk { receiver: Mutex::new(receiver), under_way: watch::Sender::new(0), call });
        for _ in 0..bounds.calls {
            let (desk, contained) = (desk.clone(), shutdown.clone());
            shutdown.spawn(async move {
                loop {
                    let tickets = desk.gather(bounds.together).await;
                    let count = tickets.len();
                    if count == 0 {
                        return;
                    }
                    // a call that panics costs its own requests alone
                    let _panicked = contained.spawn_contained((desk.call)(tickets)).await;
                    desk.under_way.send_modify(|under_way| *under_way -= count);
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

    /// Requests that wait, without those that are gathered for the next call.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}

/// What a client is told whose request was not taken. `bound` is its name in the metrics.
pub(crate) fn refused(bound: &str, metrics: &Metrics) -> Problem {
    metrics.rejected(bound);
    Problem::new(Kind::TooBusy, "too many requests of this kind wait for the database; send it again")
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;

    /// Calls that last until they are let go, and tell how many requests they have and when they began.
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
                Coalescer::start(bounds, &Shutdown::new(), move |tickets: Vec<Ticket<(), ()>>| {
                    let (tell, ends) = (tell.clone(), ends.clone());
                    async move {
                        tell.send((tickets.len(), started.elapsed())).unwrap();
                        ends.acquire().await.unwrap().forget();
                    }
                });
            Self { coalescer, begun, go }
        }

        /// With a call of so many requests under way.
        async fn beside(count: usize) -> Self {
            let mut calls = Self::start();
            calls.ask(count);
            assert_eq!(calls.next().await, (count, Duration::ZERO));
            calls
        }

        fn ask(&self, count: usize) {
            for _ in 0..count {
                let _nobody_waits = self.coalescer.ask(()).unwrap();
            }
        }

        async fn next(&mut self) -> (usize, Duration) {
            self.begun.recv().await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_request_waits_for_nobody() {
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
        assert_eq!(calls.next().await, (1, Duration::ZERO), "nobody else has a call");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beside_one_that_hangs_is_held_back_for_a_moment() {
        let mut calls = Calls::beside(4).await;
        calls.ask(2);
        assert_eq!(calls.next().await, (2, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_panics_holds_nobody_back_afterwards() {
        let mut calls = Calls::beside(4).await;
        calls.go.close();
        tokio::task::yield_now().await;
        calls.ask(1);
        assert_eq!(calls.next().await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_gathered_goes_at_once_when_nobody_is_left_to_ask() {
        let calls = Calls::beside(4).await;
        calls.ask(2);
        let Calls { coalescer, mut begun, .. } = calls;
        drop(coalescer);
        assert_eq!(begun.recv().await, Some((2, Duration::ZERO)));
    }
}
