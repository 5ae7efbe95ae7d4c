//! Leases and settles of remote workers. Requests that arrive at the same time share transactions. Owns these requests, and
//! the leased jobs until their client has them. A request acts only on its own leases.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{Job, Lease, Limits, Outcome, Status, WorkerId, settle as decide};
use jobqueue_runtime::{OutageLog, Shutdown};
use jobqueue_store::{
    AttemptEnd, Batches, HeldJob, LeaseRequest, Leased, Notifier, RemoteWorker, Settled, Store, StoreError,
};
use tokio::time::timeout;

use crate::body_memory::BodyMemory;
use crate::coalesce::{Bounds, Coalescer, Full, Pending, refused};
use crate::metrics::ApiMetrics;
use crate::presence::Presence;
use crate::problem::Problem;
use crate::store_access::CALL_LIMIT;

/// Calls of each type in flight at the same time.
const CALLS: usize = 2;
/// Groups of different lease requests of one call that run at the same time.
const GROUPS: usize = 2;
/// Requests in one call.
const TOGETHER: usize = 100;
/// Jobs that one store call leases for several requests, because all are in memory. A single request may ask for as many.
const JOBS_TOGETHER: usize = 100;
/// Requests of each type that may wait, at least.
const WAITING: usize = 10_000;

/// A worker and what it requests. The request names no worker, so that equal ones share a call.
type WorkerRequest = (RemoteWorker, LeaseRequest);
type LeasedAnswer = Result<PendingHandoff, Problem>;
type Leases = Coalescer<WorkerRequest, LeasedAnswer>;
type PendingLease = Pending<WorkerRequest, LeasedAnswer>;

type Ends = Vec<(Lease, Outcome)>;
type SettledAnswer = Result<Vec<Settled>, Problem>;
/// A settle keeps the memory of its body until its results are stored.
type Settles = Coalescer<(Ends, BodyMemory), SettledAnswer>;
type PendingSettle = Pending<(Ends, BodyMemory), SettledAnswer>;

/// The requests of remote workers. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Remote(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    leases: Leases,
    settles: Arc<Settles>,
    limits: Limits,
    presence: Arc<Presence>,
    metrics: ApiMetrics,
}

/// Leased jobs that are not yet part of a response. If they are dropped, for example because the client has disconnected,
/// the jobs are released, which costs them no attempt.
#[derive(Debug)]
pub(crate) struct PendingHandoff {
    leased: Vec<Leased>,
    settles: Arc<Settles>,
}

impl Remote {
    /// Starts the tasks. They end when this is dropped and no request waits. At most
    /// `max_long_polls` requests wait for jobs; `limits` are those of results.
    pub(crate) fn start(
        store: &Store,
        notifier: &Notifier,
        (max_long_polls, limits): (usize, Limits),
        shutdown: &Shutdown,
        (outages, metrics): (&Arc<OutageLog>, &ApiMetrics),
    ) -> Self {
        let presence = Presence::start(store, outages.clone(), shutdown);
        let bounds = Bounds { calls: CALLS, together: TOGETHER, waiting: WAITING.max(max_long_polls) };
        let (leasing, settling, notifier) = (store.clone(), store.clone(), notifier.clone());
        let settles: Arc<Settles> = Arc::new(Coalescer::start(bounds, shutdown, move |pending| {
            settle_all(settling.clone(), notifier.clone(), pending)
        }));
        let (giver, showing) = (settles.clone(), presence.clone());
        let leases = Coalescer::start(bounds, shutdown, move |pending| {
            lease_all(leasing.clone(), giver.clone(), showing.clone(), pending)
        });
        Self(Arc::new(Parts { leases, settles, limits, presence, metrics: metrics.clone() }))
    }

    /// Leases jobs once, without waiting for some. Cancel-safe.
    pub(crate) async fn lease(&self, worker: RemoteWorker, request: LeaseRequest) -> LeasedAnswer {
        let answer = self
            .0
            .leases
            .ask((worker, request))
            .map_err(|Full| refused("pending_leases", &self.0.metrics))?;
        answer.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    /// Ends attempts and returns one result each, in order. The lease of a deleted job is stale.
    pub(crate) async fn settle(&self, ends: Ends, memory: BodyMemory) -> SettledAnswer {
        let asked = self.0.settles.ask((ends, memory));
        let answer = asked.map_err(|Full| refused("pending_settles", &self.0.metrics))?;
        match timeout(CALL_LIMIT, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Problem::internal())),
            Err(_) => Err(Problem::unanswered()),
        }
    }

    /// The limits of what remote workers send.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Records that these workers have renewed leases.
    pub(crate) fn renewed(&self, workers: impl Iterator<Item = WorkerId>) {
        self.0.presence.renewed(workers);
    }

    /// The numbers of lease requests and settle requests that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.0.leases.waiting(), self.0.settles.waiting())
    }
}

impl PendingHandoff {
    pub(crate) fn is_empty(&self) -> bool {
        self.leased.is_empty()
    }

    /// Returns the jobs for the response. From now on the client must settle them.
    pub(crate) fn take(mut self) -> Vec<Leased> {
        std::mem::take(&mut self.leased)
    }
}

impl Drop for PendingHandoff {
    fn drop(&mut self) {
        let orphans = std::mem::take(&mut self.leased);
        if orphans.is_empty() {
            return;
        }
        let ends: Ends = orphans.into_iter().map(|orphan| (orphan.lease, Outcome::Released)).collect();
        if self.settles.ask((ends, BodyMemory::default())).is_err() {
            tracing::warn!("jobs whose client has disconnected stay leased until their leases expire");
        }
    }
}

/// Groups equal requests; each group shares one store call.
async fn lease_all(
    store: Store,
    settles: Arc<Settles>,
    presence: Arc<Presence>,
    mut pending: Vec<PendingLease>,
) {
    if let Err(error) = presence.ask(pending.iter().map(|one| &one.request.0)).await {
        let problem = Problem::from(error);
        for one in pending {
            let _gone = one.reply.send(Err(problem.clone()));
        }
        return;
    }
    let mut groups = Vec::new();
    while let Some(first) = pending.first() {
        let request = first.request.1.clone();
        let mut room = (JOBS_TOGETHER / request.limit.max(1)).max(1);
        let fits = |one: &mut PendingLease| {
            let fits = room > 0 && one.request.1 == request;
            room -= usize::from(fits);
            fits
        };
        groups.push(pending.extract_if(.., fits).collect());
    }
    let down = OnceLock::new();
    let lease = |group| lease_alike(&store, &settles, group, &down);
    stream::iter(groups).for_each_concurrent(GROUPS, lease).await;
}

/// Leases for a group of equal requests with one store call, except for those whose client has disconnected.
async fn lease_alike(
    store: &Store,
    settles: &Arc<Settles>,
    mut group: Vec<PendingLease>,
    down: &OnceLock<Problem>,
) {
    group.retain(|one| !one.reply.is_closed());
    let Some(first) = group.first() else { return };
    let leased = if let Some(problem) = down.get() {
        Err(problem.clone())
    } else {
        let holders: Vec<_> = group.iter().map(|one| Some(one.request.0.id())).collect();
        store.lease_shares(&first.request.1, &holders).await.map_err(|error| {
            let unreachable = error.concerns_everyone();
            let problem = Problem::from(error);
            if unreachable {
                // the first error is kept
                let _known = down.set(problem.clone());
            }
            problem
        })
    };
    let mut shares = leased.map(Vec::into_iter);
    for one in group {
        let share = shares.as_mut().map(|shares| shares.next().unwrap_or_default());
        let handoff = share.map(|leased| PendingHandoff { leased, settles: settles.clone() });
        // if the client has disconnected meanwhile, dropping the handoff releases the jobs
        let _gone = one.reply.send(handoff.map_err(|problem| problem.clone()));
    }
}

/// Settles the requests, in as few transactions as the largest number of ends in one allows.
async fn settle_all(store: Store, notifier: Notifier, mut pending: Vec<PendingSettle>) {
    let mut batches = Batches::<Problem>::default();
    while !pending.is_empty() {
        let mut sum = 0;
        let fits = pending.iter().take_while(|one| {
            sum += one.request.0.len();
            sum <= MAX_BATCH
        });
        let count = fits.count().max(1);
        let (mut requests, mut replies) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for Pending { request: (ends, memory), reply } in pending.drain(..count) {
            requests.push(ends);
            replies.push((reply, memory));
        }
        let answers = batches.run(&requests, |requests| end_all(&store, &notifier, requests)).await;
        drop(requests);
        for ((reply, _memory), answer) in replies.into_iter().zip(answers) {
            // if the client has disconnected, its jobs are settled anyway
            let _gone = reply.send(answer);
        }
    }
}

/// Settles all requests in one transaction.
async fn end_all(
    store: &Store,
    notifier: &Notifier,
    requests: &[Ends],
) -> Result<Vec<Vec<Settled>>, StoreError> {
    let all: Vec<&(Lease, Outcome)> = requests.iter().flatten().collect();
    let mut settled = end(store, notifier, &all).await?.into_iter();
    Ok(requests.iter().map(|ends| settled.by_ref().take(ends.len()).collect()).collect())
}

/// Reads the jobs, lets the core decide, and stores the decisions. Wakes the workers of queues that have jobs again.
async fn end(
    store: &Store,
    notifier: &Notifier,
    ends: &[&(Lease, Outcome)],
) -> Result<Vec<Settled>, StoreError> {
    let leases: Vec<Lease> = ends.iter().map(|(lease, _)| lease.copy_to_repeat()).collect();
    let jobs = store.leased_jobs(&leases).await?;
    let mut places: Vec<(usize, &Job, Option<Duration>)> = Vec::new();
    let mut known: Vec<AttemptEnd> = Vec::new();
    for (at, ((lease, (_, outcome)), job)) in leases.into_iter().zip(ends).zip(&jobs).enumerate() {
        let Some(HeldJob { job, waited }) = job else { continue };
        let settlement = decide(job, outcome.clone(), rand::random());
        places.push((at, job, settlement.delay().filter(|_| settlement.is_snooze())));
        known.push(AttemptEnd {
            lease: lease.with_ties(job.ties()).with_waited(*waited),
            settlement,
            ran: None,
        });
    }
    let mut settled = vec![Settled::Stale; jobs.len()];
    for ((at, job, delay), one) in places.into_iter().zip(store.settle(known).await?) {
        if let Some(place) = settled.get_mut(at) {
            *place = one;
        }
        if one == Settled::Applied(Status::Queued) {
            notifier.wake(&job.queue);
        }
        if let Some(delay) = delay {
            log_snooze(job, delay, one);
        }
    }
    Ok(settled)
}

/// Logs a snooze. The status is `failed` if the limit of snoozes was reached.
fn log_snooze(job: &Job, delay: Duration, settled: Settled) {
    if let Settled::Applied(status) = settled {
        tracing::info!(
            job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind,
            delay_seconds = delay.as_secs_f64(), status = status.as_str(), "job snoozed"
        );
    }
}
