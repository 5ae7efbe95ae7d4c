//! Many clients that submit one job each share transactions: what queued up while the last commit ran goes with the next.
//! Owns the submissions between their check and their commit, and their bound; an answer means committed.
//!
//! There are two lanes with connections of their own, because a submission with a key has to wait while somebody else's open transaction holds that key:
//! a plain submission must never wait behind it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::{QueueName, Status};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{Accepted, Answer, Notifier, Store, StoreError, Submission};
use tokio::time::timeout;

use crate::coalesce::Coalescer;
use crate::extract::Room;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// Commits of a lane that are under way at once: one is with the disk while the next is being filled.
const FLUSHERS: usize = 2;
/// The longest that a request waits for its commit.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// Takes single submissions.
#[derive(Debug)]
pub(crate) struct Submitter {
    plain: Lane,
    keyed: Lane,
    metrics: Metrics,
}

/// The room of a submission is held until its body is no longer in memory.
type Lane = Coalescer<(Submission, Room), Result<Answer, Problem>>;

/// What the calls of one lane use.
struct Flusher {
    store: Store,
    notifier: Notifier,
    metrics: Metrics,
}

impl Submitter {
    /// Starts the flushers, which end when the submitter is gone and their lane is empty. `capacity` bounds each lane.
    pub(crate) fn start(
        [plain, keyed]: [&Store; 2],
        notifier: &Notifier,
        capacity: usize,
        shutdown: &Shutdown,
        metrics: &Metrics,
    ) -> Self {
        let lane = |store: &Store| {
            let flusher = Arc::new(Flusher {
                store: store.clone(),
                notifier: notifier.clone(),
                metrics: metrics.clone(),
            });
            let flush = move |tickets| {
                let flusher = flusher.clone();
                async move { flusher.flush(tickets).await }
            };
            Coalescer::start(FLUSHERS, capacity, shutdown, flush)
        };
        Self { plain: lane(plain), keyed: lane(keyed), metrics: metrics.clone() }
    }

    /// Stores one request, together with those that came at the same time.
    pub(crate) async fn submit(&self, submission: Submission, room: Room) -> Result<Answer, Problem> {
        let lane = if is_keyed(&submission) { &self.keyed } else { &self.plain };
        let answer =
            lane.ask((submission, room)).map_err(|full| full.into_problem("submissions", &self.metrics))?;
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::internal()),
            Err(_) => Err(Problem::new(
                Kind::Unavailable,
                "the database did not answer in time; whether the job was stored is unknown, so send it again with its \
                 Idempotency-Key",
            )),
        }
    }

    /// Submissions that wait.
    pub(crate) fn depth(&self) -> usize {
        self.plain.waiting() + self.keyed.waiting()
    }
}

impl Flusher {
    async fn flush(&self, tickets: Vec<(Submission, Room)>) -> Vec<Result<Answer, Problem>> {
        self.metrics.flushed(tickets.len());
        let (submissions, _rooms): (Vec<Submission>, Vec<Room>) = tickets.into_iter().unzip();
        let answers = self.store_all(&submissions).await;
        self.wake(&submissions, &answers);
        answers
    }

    /// One transaction for all. If Postgres refuses it for what one of them holds, each goes alone, so that a neighbour
    /// does not suffer.
    async fn store_all(&self, submissions: &[Submission]) -> Vec<Result<Answer, Problem>> {
        match self.store.enqueue(submissions).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(StoreError::Refused(_)) if submissions.len() > 1 => {
                let mut answers = Vec::with_capacity(submissions.len());
                for submission in submissions {
                    let alone = self.store.enqueue(std::slice::from_ref(submission)).await;
                    let answer = alone.map_err(Problem::from);
                    answers.push(answer.and_then(|mut one| one.pop().ok_or_else(Problem::internal)));
                }
                answers
            }
            Err(error) => {
                let problem = Problem::from(error);
                submissions.iter().map(|_| Err(problem.clone())).collect()
            }
        }
    }

    fn wake(&self, submissions: &[Submission], answers: &[Result<Answer, Problem>]) {
        let mut queues = BTreeSet::new();
        for (submission, answer) in submissions.iter().zip(answers) {
            if let Ok(answer) = answer {
                queues.extend(runnable(submission, answer));
            }
        }
        for queue in queues {
            self.notifier.wake(queue);
        }
    }
}

/// Whether storing it can wait for a key that another transaction holds.
fn is_keyed(submission: &Submission) -> bool {
    submission.idempotency.is_some() || submission.jobs.iter().any(|job| !job.is_plain())
}

/// The queues in which the answer put work that can start at once.
pub(crate) fn runnable<'a>(submission: &'a Submission, answer: &Answer) -> BTreeSet<&'a QueueName> {
    let Answer::Served { jobs, replayed: false } = answer else { return BTreeSet::new() };
    let queued = |accepted: &Accepted| matches!(accepted, Accepted::Created { status: Status::Queued, .. });
    submission.jobs.iter().zip(jobs).filter(|(_, a)| queued(a)).map(|(job, _)| &job.queue).collect()
}
