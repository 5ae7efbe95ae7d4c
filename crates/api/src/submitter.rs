//! Many clients that submit one job each share transactions: what queued up while the last commit ran goes with the next.
//! Owns the submissions between their check and their commit, and their bound; an answer means committed.
//!
//! There are two lanes with connections of their own, because a submission with a key has to wait while somebody else's open transaction holds that key:
//! a plain submission must never wait behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{QueueName, Status};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{Accepted, Answer, Notifier, Store, StoreError, Submission};
use tokio::time::timeout;

use crate::coalesce::{Bounds, Coalescer, Full, Ticket, refused};
use crate::extract::Room;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::state::CALL_LIMIT;

/// Commits of a lane that are under way at once: one is with the disk while the next is being filled.
const FLUSHERS: usize = 2;

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
            let bounds = Bounds { calls: FLUSHERS, together: MAX_BATCH, waiting: capacity };
            Coalescer::start(bounds, shutdown, move |tickets| flush(flusher.clone(), tickets))
        };
        Self { plain: lane(plain), keyed: lane(keyed), metrics: metrics.clone() }
    }

    /// Stores one request, together with those that came at the same time.
    pub(crate) async fn submit(&self, submission: Submission, room: Room) -> Result<Answer, Problem> {
        let lane = if is_keyed(&submission) { &self.keyed } else { &self.plain };
        let asked = lane.ask((submission, room));
        let answer = asked.map_err(|Full| refused("pending_jobs", &self.metrics))?;
        match timeout(CALL_LIMIT, answer).await {
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

/// Stores what came together and answers each.
async fn flush(flusher: Arc<Flusher>, tickets: Vec<Ticket<(Submission, Room), Result<Answer, Problem>>>) {
    flusher.metrics.flushed(tickets.len());
    let (mut submissions, mut askers) =
        (Vec::with_capacity(tickets.len()), Vec::with_capacity(tickets.len()));
    for Ticket { request: (submission, room), reply } in tickets {
        submissions.push(submission);
        askers.push((reply, room));
    }
    let answers = flusher.store_all(&submissions).await;
    flusher.wake(&submissions, &answers);
    for ((reply, _room), answer) in askers.into_iter().zip(answers) {
        // The client went away; its job is stored all the same.
        let _gone = reply.send(answer);
    }
}

impl Flusher {
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
