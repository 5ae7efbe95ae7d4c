//! Reads queues, workers and groups of dead letters in turn, one read a second, and none while there is no listener. Owns the board, which all listeners share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobqueue_runtime::{Backoff, OutageLog, Shutdown};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::board::{Board, Following};
use super::pace::{LONGEST_PAUSE, READ_EVERY};
use super::topic::{Topic, TopicSources};
use crate::problem::Problem;

/// How far the board can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoardState {
    /// Whether every topic has been read since the first listener came.
    pub(crate) is_current: bool,
    /// Whether the last read failed.
    pub(crate) is_unavailable: bool,
}

/// The board and its reader. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct BoardWatch(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    board: Mutex<Board>,
    state: watch::Sender<BoardState>,
    /// Notified when a listener comes.
    new_listener: Notify,
    /// Random for every process, because the numbers of changes mean nothing to another one.
    process: u32,
}

impl BoardWatch {
    /// Starts the reader, which ends with the soft shutdown.
    pub(crate) fn start(sources: TopicSources, outages: &Arc<OutageLog>, shutdown: &Shutdown) -> Self {
        let (state, _) = watch::channel(BoardState::default());
        let this = Self(Arc::new(Parts {
            board: Mutex::default(),
            state,
            new_listener: Notify::new(),
            process: rand::random(),
        }));
        let (watch, outages, soft) = (this.clone(), outages.clone(), shutdown.soft().clone());
        // reads run in tasks of their own, so this future may be dropped at any time
        shutdown.spawn(async move { soft.run_until_cancelled(watch.run(&sources, &outages)).await });
        this
    }

    /// Reads the board as long as the receiver exists. It is woken by each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BoardState> {
        let receiver = self.0.state.subscribe();
        self.0.new_listener.notify_one();
        receiver
    }

    /// What follows the change with this number.
    pub(crate) fn after(&self, number: u64, floor: u64) -> Following {
        self.board().after(number, floor)
    }

    /// See [`Board::last`].
    pub(crate) fn last(&self) -> u64 {
        self.board().last()
    }

    /// The number of this process.
    pub(crate) fn process(&self) -> u32 {
        self.0.process
    }

    async fn run(&self, sources: &TopicSources, outages: &OutageLog) {
        let mut backoff = Backoff::new(READ_EVERY, LONGEST_PAUSE);
        let mut topics = Topic::ALL.iter().cycle();
        let mut read = 0_usize;
        loop {
            if self.0.state.is_closed() {
                read = 0;
                // what was known then says nothing to the next listener
                self.0.state.send_replace(BoardState::default());
                self.listener().await;
            }
            let Some(topic) = topics.next() else { return };
            match topic.read(sources).await {
                Ok(objects) => {
                    backoff.reset();
                    read = read.saturating_add(1);
                    let changed = self.board().replace(*topic, objects);
                    self.set(
                        BoardState { is_current: read >= Topic::ALL.len(), is_unavailable: false },
                        changed,
                    );
                    // the first listener does not wait for a turn of each topic
                    if read >= Topic::ALL.len() {
                        sleep(READ_EVERY).await;
                    }
                }
                Err(problem) => {
                    log(outages, &problem);
                    let is_current = self.0.state.borrow().is_current;
                    self.set(BoardState { is_current, is_unavailable: true }, false);
                    sleep(READ_EVERY + backoff.fail()).await;
                }
            }
        }
    }

    /// Waits for a listener.
    async fn listener(&self) {
        while self.0.state.is_closed() {
            self.0.new_listener.notified().await;
        }
    }

    fn set(&self, state: BoardState, changed: bool) {
        self.0.state.send_if_modified(|before| std::mem::replace(before, state) != state || changed);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(outages: &OutageLog, problem: &Problem) {
    if let Some((cause, error)) = problem.outage() {
        outages.failed("the stream of queues, workers and dead letters", cause, &error);
    }
}
