//! Remote workers that take and end a job each share transactions. Owns what is asked of the store for them, and jobs until somebody
//! has them; what a worker may do is decided by its leases, which are never shared.

use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt as _, stream};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{Lease, Outcome, QueueName, Status, settle as decide};
use jobqueue_runtime::Shutdown;
use jobqueue_store::{AttemptEnd, LeaseRequest, Leased, Notifier, Settled, Store, StoreError};
use tokio::time::timeout;

use crate::coalesce::{Bounds, Coalescer, Full, Ticket, refused};
use crate::extract::Room;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::state::CALL_LIMIT;

/// Calls of each sort that are under way at once.
const CALLS: usize = 2;
/// Different requests for leases of one such call that are under way at once.
const GROUPS: usize = 2;
/// Requests of each sort that go together.
const TOGETHER: usize = 100;
/// Jobs of those that lease together, which are all in memory; one request alone may ask for as many.
const JOBS_TOGETHER: usize = 100;
/// Requests of each sort that may wait, at least.
const WAITING: usize = 10_000;

type LeasedAnswer = Result<Handout, Problem>;
type Leases = Coalescer<LeaseRequest, LeasedAnswer>;
type LeaseTicket = Ticket<LeaseRequest, LeasedAnswer>;

type Ends = Vec<(Lease, Outcome)>;
type SettledAnswer = Result<Vec<Settled>, Problem>;
/// The room of a settle is held until its results are no longer in memory.
type Settles = Coalescer<(Ends, Room), SettledAnswer>;
type SettleTicket = Ticket<(Ends, Room), SettledAnswer>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Remote {
    leases: Leases,
    settles: Arc<Settles>,
    metrics: Metrics,
}

/// Leased jobs on their way to a client. Whatever cuts the way short, they are given back, which costs them no attempt.
#[derive(Debug)]
pub(crate) struct Handout {
    leased: Vec<Leased>,
    settles: Arc<Settles>,
}

impl Remote {
    /// Starts the tasks, which end when this is gone and nothing waits any more. `askers` may wait for jobs at once.
    pub(crate) fn start(
        store: &Store,
        notifier: &Notifier,
        askers: usize,
        shutdown: &Shutdown,
        metrics: &Metrics,
    ) -> Self {
        let bounds = Bounds { calls: CALLS, together: TOGETHER, waiting: WAITING.max(askers) };
        let (leasing, settling, notifier) = (store.clone(), store.clone(), notifier.clone());
        let settles: Arc<Settles> = Arc::new(Coalescer::start(bounds, shutdown, move |tickets| {
            settle_all(settling.clone(), notifier.clone(), tickets)
        }));
        let giver = settles.clone();
        let leases = Coalescer::start(bounds, shutdown, move |tickets| {
            lease_all(leasing.clone(), giver.clone(), tickets)
        });
        Self { leases, settles, metrics: metrics.clone() }
    }

    /// One look for jobs. Cancel-safe.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> LeasedAnswer {
        let answer = self.leases.ask(request).map_err(|Full| refused("pending_leases", &self.metrics))?;
        answer.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    /// Ends attempts, one answer each, in order. A lease of a job that is gone is stale.
    pub(crate) async fn settle(&self, ends: Ends, room: Room) -> SettledAnswer {
        let asked = self.settles.ask((ends, room));
        let answer = asked.map_err(|Full| refused("pending_settles", &self.metrics))?;
        match timeout(CALL_LIMIT, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Problem::internal())),
            Err(_) => Err(Problem::new(Kind::Unavailable, "the database did not answer in time")),
        }
    }

    /// Requests for leases and settles that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.leases.waiting(), self.settles.waiting())
    }
}

impl Handout {
    pub(crate) fn is_empty(&self) -> bool {
        self.leased.is_empty()
    }

    /// From here on they are the client's.
    pub(crate) fn take(mut self) -> Vec<Leased> {
        std::mem::take(&mut self.leased)
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        let orphans = std::mem::take(&mut self.leased);
        if orphans.is_empty() {
            return;
        }
        let ends: Ends = orphans.into_iter().map(|orphan| (orphan.lease, Outcome::Released)).collect();
        if self.settles.ask((ends, Room::default())).is_err() {
            tracing::warn!("jobs of a client that went away stay leased until their leases end");
        }
    }
}

/// Those who ask for the same share a call.
async fn lease_all(store: Store, settles: Arc<Settles>, mut tickets: Vec<LeaseTicket>) {
    let mut groups = Vec::new();
    while let Some(first) = tickets.first() {
        let request = first.request.clone();
        let mut room = (JOBS_TOGETHER / request.limit.max(1)).max(1);
        let fits = |ticket: &mut LeaseTicket| {
            let fits = room > 0 && ticket.request == request;
            room -= usize::from(fits);
            fits
        };
        groups.push(tickets.extract_if(.., fits).collect());
    }
    let down = OnceLock::new();
    let lease = |group| lease_alike(&store, &settles, group, &down);
    stream::iter(groups).for_each_concurrent(GROUPS, lease).await;
}

/// One call for all. Nobody leases for who has gone.
async fn lease_alike(
    store: &Store,
    settles: &Arc<Settles>,
    mut group: Vec<LeaseTicket>,
    down: &OnceLock<Problem>,
) {
    group.retain(|ticket| !ticket.reply.is_closed());
    let Some(first) = group.first() else { return };
    let leased = match down.get() {
        Some(problem) => Err(problem.clone()),
        None => store.lease_shares(&first.request, group.len()).await.map_err(|error| {
            let unreachable = is_unreachable(&error);
            let problem = Problem::from(error);
            if unreachable {
                // the first reason stays
                let _known = down.set(problem.clone());
            }
            problem
        }),
    };
    let mut shares = leased.map(Vec::into_iter);
    for ticket in group {
        let share = shares.as_mut().map(|shares| shares.next().unwrap_or_default());
        let handout = share.map(|leased| Handout { leased, settles: settles.clone() });
        // whoever has gone meanwhile drops it, which gives it back
        let _gone = ticket.reply.send(handout.map_err(|problem| problem.clone()));
    }
}

/// As many requests in one transaction as it may have ends.
async fn settle_all(store: Store, notifier: Notifier, mut tickets: Vec<SettleTicket>) {
    let mut down = None;
    while !tickets.is_empty() {
        let mut sum = 0;
        let fits = tickets.iter().take_while(|ticket| {
            sum += ticket.request.0.len();
            sum <= MAX_BATCH
        });
        let count = fits.count().max(1);
        let (mut requests, mut askers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for Ticket { request: (ends, room), reply } in tickets.drain(..count) {
            requests.push(ends);
            askers.push((reply, room));
        }
        let answers = settle_some(&store, &notifier, &requests, &mut down).await;
        drop(requests);
        for ((reply, _room), answer) in askers.into_iter().zip(answers) {
            // The client went away; its jobs are settled all the same.
            let _gone = reply.send(answer);
        }
    }
}

/// One transaction for all. If it is refused for what one of them holds, they are divided until that one is alone. `down` is why the
/// database cannot be reached, once that is known.
async fn settle_some(
    store: &Store,
    notifier: &Notifier,
    requests: &[Ends],
    down: &mut Option<Problem>,
) -> Vec<SettledAnswer> {
    let problem = if let Some(problem) = down {
        problem.clone()
    } else {
        let all: Vec<&(Lease, Outcome)> = requests.iter().flatten().collect();
        match end(store, notifier, &all).await {
            Ok(settled) => {
                let mut settled = settled.into_iter();
                return requests.iter().map(|ends| Ok(settled.by_ref().take(ends.len()).collect())).collect();
            }
            Err(error) if is_unreachable(&error) => down.insert(Problem::from(error)).clone(),
            Err(_) if requests.len() > 1 => {
                let (one, other) = requests.split_at(requests.len() / 2);
                let mut answers = Box::pin(settle_some(store, notifier, one, down)).await;
                answers.extend(Box::pin(settle_some(store, notifier, other, down)).await);
                return answers;
            }
            Err(error) => Problem::from(error),
        }
    };
    requests.iter().map(|_| Err(problem.clone())).collect()
}

/// Whether others would only wait for the same: no connection, or no room for one.
fn is_unreachable(error: &StoreError) -> bool {
    error.is_transient() && ["connection", "08", "53"].contains(&error.class().as_str())
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
