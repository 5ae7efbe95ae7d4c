//! Submissions of single jobs share transactions: those that arrive during a commit go into the next one. Owns the
//! submissions from their check to their commit, and how many may wait. They are answered after the commit.
//!
//! There are two queues of submissions, each with its own connections. A submission with a key may wait for another open
//! transaction that holds the key, and a plain submission must not wait behind it. For the same reason, a submission with
//! a name (queue, priority, kind) that this process does not know looks up the number of the name before it is queued.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{QueueName, Status};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{Accepted, Answer, Notifier, Store, StoreError, Submission};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::body_memory::BodyMemory;
use crate::coalesce::{Bounds, Coalescer, Full, Pending, refused};
use crate::metrics::ApiMetrics;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::CALL_LIMIT;
use crate::storing::Storing;

/// Transactions of one queue in flight at the same time: one is committed while the next is filled.
const FLUSHERS: usize = 2;

/// Submissions that look up the numbers of new names at the same time.
const NAMING: usize = 2;

/// Stores single submissions.
#[derive(Debug)]
pub(crate) struct Submitter {
    plain: Lane,
    keyed: Lane,
    naming: Naming,
    metrics: ApiMetrics,
}

/// Looks up the numbers of new names.
#[derive(Debug)]
struct Naming {
    store: Store,
    /// Limits the look-ups: those that wait for a locked name must leave connections for other requests.
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// A queue of submissions. Each keeps the memory of its body until it is stored.
type Lane = Coalescer<(Submission, BodyMemory), Result<Answer, Problem>>;

type PendingSubmission = Pending<(Submission, BodyMemory), Result<Answer, Problem>>;

/// What the calls of one queue use.
struct Flusher {
    store: Store,
    notifier: Notifier,
    metrics: ApiMetrics,
    storing: Storing,
}

impl Submitter {
    /// Starts the flushers. They end when the submitter is dropped and their queue is empty. `capacity` is the limit of
    /// each queue.
    pub(crate) fn start(
        [plain, keyed, naming]: [&Store; 3],
        notifier: &Notifier,
        capacity: usize,
        shutdown: &Shutdown,
        (metrics, storing): (&ApiMetrics, &Storing),
    ) -> Self {
        let lane = |store: &Store| {
            let flusher = Arc::new(Flusher {
                store: store.clone(),
                notifier: notifier.clone(),
                metrics: metrics.clone(),
                storing: storing.clone(),
            });
            let bounds = Bounds { calls: FLUSHERS, together: MAX_BATCH, waiting: capacity };
            Coalescer::start(bounds, shutdown, move |pending| flush(flusher.clone(), pending))
        };
        let places = Arc::new(Semaphore::new(NAMING));
        let naming = Naming { store: naming.clone(), places, shutdown: shutdown.clone() };
        Self { plain: lane(plain), keyed: lane(keyed), naming, metrics: metrics.clone() }
    }

    /// Stores a submission, in one transaction with others that arrive at the same time.
    pub(crate) async fn submit(&self, submission: Submission, memory: BodyMemory) -> Result<Answer, Problem> {
        let submission = self.named(submission).await?;
        let lane = if submission.is_keyed() { &self.keyed } else { &self.plain };
        let asked = lane.ask((submission, memory));
        let answer = asked.map_err(|Full| refused("pending_jobs", &self.metrics))?;
        match timeout(CALL_LIMIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::internal()),
            Err(_) => Err(Problem::unanswered()),
        }
    }

    /// Notes in the metrics that a queue had no room for jobs of a request.
    pub(crate) fn note(&self, answer: &Answer) {
        if let Answer::Served { jobs, replayed: false } = answer
            && jobs.iter().any(|job| matches!(job, Accepted::Full { .. }))
        {
            self.metrics.rejected("max_queued");
        }
    }

    /// Returns the submission when this process knows all its names. Only a submission with a new name waits here.
    pub(crate) async fn named(&self, submission: Submission) -> Result<Submission, Problem> {
        if self.naming.store.knows_names(&submission.jobs) {
            return Ok(submission);
        }
        let (store, places) = (self.naming.store.clone(), self.naming.places.clone());
        let learning = self.naming.shutdown.spawn_contained(async move {
            let _place = places.acquire().await;
            store.learn_names(&submission.jobs).await.map(|()| submission)
        });
        match timeout(CALL_LIMIT, learning).await {
            Ok(Ok(named)) => named.map_err(Problem::from),
            Ok(Err(_panicked)) => Err(Problem::internal()),
            Err(_) => Err(Problem::new(
                ProblemKind::Unavailable,
                "the database did not answer in time; nothing was stored",
            )),
        }
    }

    /// The number of submissions that wait for their commit.
    pub(crate) fn waiting(&self) -> usize {
        self.plain.waiting() + self.keyed.waiting()
    }
}

/// Stores the submissions in one transaction and answers each.
async fn flush(flusher: Arc<Flusher>, pending: Vec<PendingSubmission>) {
    flusher.metrics.flushed(pending.len());
    let (mut submissions, mut replies) =
        (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
    for Pending { request: (submission, memory), reply } in pending {
        submissions.push(submission);
        replies.push((reply, memory));
    }
    let answers = flusher.store_all(&submissions).await;
    flusher.wake(&submissions, &answers);
    for ((reply, _memory), answer) in replies.into_iter().zip(answers) {
        // if the client has disconnected, its job is stored anyway
        let _gone = reply.send(answer);
    }
}

impl Flusher {
    /// Stores all in one transaction. If Postgres rejects the data of one of them, only that one fails.
    async fn store_all(&self, submissions: &[Submission]) -> Vec<Result<Answer, Problem>> {
        let answers: Vec<Result<Answer, Arc<StoreError>>> = self.store.enqueue_each(submissions).await;
        let problem = |error: Arc<StoreError>| {
            self.storing.failed(&error);
            Problem::from(&*error)
        };
        answers.into_iter().map(|answer| answer.map_err(problem)).collect()
    }

    fn wake(&self, submissions: &[Submission], answers: &[Result<Answer, Problem>]) {
        let mut queues = BTreeSet::new();
        for (submission, answer) in submissions.iter().zip(answers) {
            if let Ok(answer) = answer {
                queues.extend(startable(submission, answer));
            }
        }
        for queue in queues {
            self.notifier.wake(queue);
        }
    }
}

/// The queues that now have a job of this submission that can start at once.
pub(crate) fn startable<'a>(submission: &'a Submission, answer: &Answer) -> BTreeSet<&'a QueueName> {
    let Answer::Served { jobs, replayed: false } = answer else { return BTreeSet::new() };
    let queued = |accepted: &Accepted| matches!(accepted, Accepted::Created { status: Status::Queued, .. });
    submission.jobs.iter().zip(jobs).filter(|(_, a)| queued(a)).map(|(job, _)| &job.queue).collect()
}
