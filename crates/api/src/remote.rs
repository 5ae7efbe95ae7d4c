//! Remote workers that take and end a job each share transactions. Owns what is asked of the store for them; what a worker may do is
//! decided by its leases, which are never shared.

use std::collections::HashMap;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{Lease, Outcome, QueueName, Status, settle as decide};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{AttemptEnd, LeaseRequest, Leased, Notifier, Settled, Store, StoreError};
use tokio::time::timeout;

use crate::coalesce::Coalescer;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::state::CALL_LIMIT;

/// Calls of each sort that are under way at once.
const CALLS: usize = 2;
/// Requests of each sort that may wait for their call.
const WAITING: usize = 10_000;

type Ends = Vec<(Lease, Outcome)>;
type LeasedAnswer = Result<Vec<Leased>, Problem>;
type SettledAnswer = Result<Vec<Settled>, Problem>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Remote {
    leases: Coalescer<LeaseRequest, LeasedAnswer>,
    ends: Coalescer<Ends, SettledAnswer>,
    metrics: Metrics,
}

impl Remote {
    /// Starts the tasks, which end when this is gone and nothing waits any more.
    pub(crate) fn start(store: &Store, notifier: &Notifier, shutdown: &Shutdown, metrics: &Metrics) -> Self {
        let (leasing, settling, notifier) = (store.clone(), store.clone(), notifier.clone());
        Self {
            leases: Coalescer::start(CALLS, WAITING, shutdown, move |requests| {
                lease_all(leasing.clone(), requests)
            }),
            ends: Coalescer::start(CALLS, WAITING, shutdown, move |requests| {
                settle_all(settling.clone(), notifier.clone(), requests)
            }),
            metrics: metrics.clone(),
        }
    }

    /// One look for jobs. To be awaited to its end: jobs that nobody hears of stay leased until their leases end.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> LeasedAnswer {
        match self.leases.ask(request) {
            Ok(answer) => answer.await.unwrap_or_else(|_| Err(Problem::internal())),
            Err(full) => Err(full.into_problem("requests for leases", &self.metrics)),
        }
    }

    /// Requests for leases and settles that wait.
    pub(crate) fn depths(&self) -> (usize, usize) {
        (self.leases.waiting(), self.ends.waiting())
    }

    /// Ends attempts, one answer each, in order. A lease of a job that is gone is stale.
    pub(crate) async fn settle(&self, ends: Ends) -> SettledAnswer {
        let answer = self.ends.ask(ends).map_err(|full| full.into_problem("settles", &self.metrics))?;
        match timeout(CALL_LIMIT, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Problem::internal())),
            Err(_) => Err(Problem::new(Kind::Unavailable, "the database did not answer in time")),
        }
    }
}

/// Those who ask for the same share a call.
async fn lease_all(store: Store, requests: Vec<LeaseRequest>) -> Vec<LeasedAnswer> {
    let mut answers: Vec<LeasedAnswer> = requests.iter().map(|_| Ok(Vec::new())).collect();
    let mut alike: HashMap<LeaseRequest, Vec<&mut LeasedAnswer>> = HashMap::new();
    for (request, answer) in requests.into_iter().zip(&mut answers) {
        alike.entry(request).or_default().push(answer);
    }
    for (request, mut places) in alike {
        for some in places.chunks_mut((MAX_BATCH / request.limit.max(1)).max(1)) {
            match store.lease_shares(&request, some.len()).await {
                Ok(shares) => {
                    let all_served = shares.len() == some.len();
                    some.iter_mut().zip(shares).for_each(|(answer, share)| **answer = Ok(share));
                    if !all_served {
                        break;
                    }
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    for answer in some {
                        **answer = Err(problem.clone());
                    }
                }
            }
        }
    }
    answers
}

/// As many requests in one transaction as it may have ends.
async fn settle_all(store: Store, notifier: Notifier, requests: Vec<Ends>) -> Vec<SettledAnswer> {
    let mut answers = Vec::with_capacity(requests.len());
    let mut rest = requests.as_slice();
    while !rest.is_empty() {
        let mut ends = 0;
        let fits = rest.iter().take_while(|request| {
            ends += request.len();
            ends <= MAX_BATCH
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        answers.extend(settle_some(&store, &notifier, now).await);
        rest = later;
    }
    answers
}

/// One transaction for all. If it is refused for what one of them holds, each goes alone, so that a neighbour does not suffer.
async fn settle_some(store: &Store, notifier: &Notifier, requests: &[Ends]) -> Vec<SettledAnswer> {
    let all: Vec<&(Lease, Outcome)> = requests.iter().flatten().collect();
    let mut settled = match end(store, notifier, &all).await {
        Ok(settled) => settled.into_iter(),
        Err(error) if error.is_transient() || requests.len() == 1 => {
            let problem = Problem::from(error);
            return requests.iter().map(|_| Err(problem.clone())).collect();
        }
        Err(_) => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                let alone: Vec<&(Lease, Outcome)> = request.iter().collect();
                answers.push(end(store, notifier, &alone).await.map_err(Problem::from));
            }
            return answers;
        }
    };
    requests.iter().map(|request| Ok(settled.by_ref().take(request.len()).collect())).collect()
}

/// Reads the jobs, lets the core decide, and stores what it decided. Wakes the workers of queues that have work again.
async fn end(
    store: &Store,
    notifier: &Notifier,
    ends: &[&(Lease, Outcome)],
) -> Result<Vec<Settled>, StoreError> {
    let leases: Vec<Lease> = ends.iter().map(|(lease, _)| lease.again()).collect();
    let jobs = store.leased_jobs(&leases).await?;
    let (mut places, mut known): (Vec<(usize, &QueueName)>, Vec<AttemptEnd>) = (Vec::new(), Vec::new());
    for (at, ((lease, (_, outcome)), job)) in leases.into_iter().zip(ends).zip(&jobs).enumerate() {
        let Some(job) = job else { continue };
        let settlement = decide(job, outcome.clone(), rand::random());
        places.push((at, &job.queue));
        known.push(AttemptEnd { lease, settlement, ran: None, holds_key: job.unique_key.is_some() });
    }
    let mut settled = vec![Settled::Stale; jobs.len()];
    for ((at, queue), one) in places.into_iter().zip(store.settle(known).await?) {
        if let Some(place) = settled.get_mut(at) {
            *place = one;
        }
        if one == Settled::Applied(Status::Queued) {
            notifier.wake(queue);
        }
    }
    Ok(settled)
}
