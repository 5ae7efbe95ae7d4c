//! The one loop of a worker: leases batches, hands them to slots, settles what ended together with the next lease. Owns
//! when each of that happens; never what a job does or what follows from its outcome.
//!
//! What ends while a store call is under way goes with the next one, so the batches grow with the load. Only when a good
//! part of a batch has come together does a second call run beside the first.

mod call;
mod drain;
mod hunger;
mod in_flight;
mod pace;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_core::{Outcome, WorkerId};
use jobqueue_runtime::{Backoff, Shutdown};
use jobqueue_store::{LeaseRequest, Leased, Store, StoreError, StoreOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::executor::{self, Attempt, Ended};
use crate::handler::StopReason;
use crate::running::Report;
use crate::shared::Shared;
use call::{Call, Done, End, Verdict};
use drain::Phase;
pub(crate) use drain::STOP_WITHIN;
use hunger::Hunger;
use in_flight::{CALL_LIMIT, Flight, InFlight, Lost};
use pace::Pace;

/// Results wait at most this long for company, while no slot is idle.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// So many results are settled at once.
const FLUSH_AT: usize = 100;
/// Progress and logs are stored this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A prefetched job that found no slot within this long goes back.
const PREFETCH_HOLD: Duration = Duration::from_secs(1);
/// Ceilings of the first and of later pauses while the database is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The shortest such pause.
const BACKOFF_FLOOR: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    store: Store,
    store_options: StoreOptions,
    slots: Arc<Semaphore>,
    /// Leased, not started.
    ready: VecDeque<(Attempt, Instant)>,
    /// Ended, not settled, and since when the oldest waits.
    ends: Vec<Arc<End>>,
    ends_since: Option<Instant>,
    calls: InFlight,
    hunger: Hunger,
    report_at: Instant,
    backoff: Backoff,
    retry_at: Option<Instant>,
    pace: Pace,
    /// What ended, with the number that its start got.
    ended: mpsc::UnboundedReceiver<(u64, Ended)>,
    /// Unbounded by type, bounded by the slots: each attempt sends once.
    ending: mpsc::UnboundedSender<(u64, Ended)>,
    phase: Phase,
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>, store: Store, store_options: StoreOptions) -> Self {
        let (ending, ended) = mpsc::unbounded_channel();
        let now = Instant::now();
        shared.metrics.slots.set(i64::try_from(shared.options.slots).unwrap_or(i64::MAX));
        Self {
            slots: Arc::new(Semaphore::new(shared.options.slots)),
            hunger: Hunger::new(now, shared.options.poll),
            shared,
            store,
            store_options,
            ready: VecDeque::new(),
            ends: Vec::new(),
            ends_since: None,
            calls: InFlight::default(),
            report_at: now,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            retry_at: None,
            pace: Pace::default(),
            ended,
            ending,
            phase: Phase::Working,
        }
    }

    /// Works until the shutdown begins, then drains. Returns when nothing is held any more, or when time is up.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.collect();
            self.advance_phase(&shutdown);
            self.start_ready();
            self.begin_call();
            self.gauge();
            if self.is_over() {
                return;
            }
            self.wait(&shutdown).await;
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, shutdown: &Shutdown) {
        let next = self.next_look();
        tokio::select! {
            Some((number, ended)) = self.ended.recv() => self.attempt_ended(number, ended),
            (flight, done) = self.calls.next() => self.call_done(flight, done),
            () = self.shared.wake.notified() => self.hunger.wake(),
            () = shutdown.soft().cancelled(), if self.phase == Phase::Working => {}
            () = shutdown.hard().cancelled(), if !self.phase.is_stopping() => {}
            () = sleep_until(next) => {}
        }
    }

    /// The next moment at which something is due without anybody telling.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        if let Some(late) = self.calls.deadline() {
            let second = [self.retry_at, self.hunger.due_at(now)].into_iter().flatten().min();
            let second = second.filter(|at| !self.calls.is_full() && *at > now);
            return [second, self.phase.deadline()].into_iter().flatten().fold(late, Instant::min);
        }
        if let Some(retry_at) = self.retry_at {
            return self.phase.deadline().map_or(retry_at, |deadline| deadline.min(retry_at));
        }
        let hold = self.ready.front().map(|(_, since)| *since + PREFETCH_HOLD);
        let flush = self.ends_since.map(|since| since + FLUSH_AFTER);
        let look = self.hunger.due_at(now);
        let report = (self.report_at > now).then_some(self.report_at);
        let idle = Some(now + self.shared.options.poll);
        [hold, flush, look, report, idle, self.phase.deadline()].into_iter().flatten().min().unwrap_or(now)
    }

    /// Everything that ended so far.
    fn collect(&mut self) {
        while let Ok((number, ended)) = self.ended.try_recv() {
            self.attempt_ended(number, ended);
        }
    }

    fn attempt_ended(&mut self, number: u64, ended: Ended) {
        self.pace.ended(number, ended.ran);
        if let Some(ran) = ended.ran {
            self.shared.metrics.ran(&ended.attempt.job, ran);
        }
        self.push_end(ended);
    }

    fn push_end(&mut self, ended: Ended) {
        self.ends.push(Arc::new(End::of(ended)));
        self.ends_since.get_or_insert_with(Instant::now);
    }

    /// Ends a leased attempt that was never started.
    fn give_up(&mut self, attempt: Attempt, outcome: Outcome) {
        self.push_end(Ended { attempt, outcome, ran: None });
    }

    /// Fills the free slots. What was cancelled or lost while it waited is ended instead, what waited too long goes back.
    fn start_ready(&mut self) {
        while let Some((attempt, since)) = self.ready.pop_front() {
            match attempt.held.stop.reason() {
                Some(StopReason::Cancel) => self.give_up(attempt, Outcome::Cancelled),
                Some(StopReason::LeaseLost) => self.give_up(attempt, Outcome::LeaseLost),
                Some(_) => self.give_up(attempt, Outcome::Released),
                None => match self.slots.clone().try_acquire_owned() {
                    Ok(slot) if self.shared.is_trusted() => {
                        let (shared, ending) = (self.shared.clone(), self.ending.clone());
                        let number = self.pace.started(Instant::now());
                        self.shared.tasks.spawn(async move {
                            let ended = executor::execute(shared, attempt, slot).await;
                            // the dispatcher is gone only after a drain that ran out of time
                            let _nobody_listens = ending.send((number, ended));
                        });
                    }
                    _ if since.elapsed() >= PREFETCH_HOLD => {
                        // slots do not turn over as was thought: no more of it until jobs end again
                        self.pace.forget();
                        self.give_up(attempt, Outcome::Released);
                    }
                    _ => {
                        self.ready.push_front((attempt, since));
                        return;
                    }
                },
            }
        }
    }

    /// Begins a store call if one is due. A second one, beside another, must be worth it: it takes work that the next call
    /// would have had.
    fn begin_call(&mut self) {
        let now = Instant::now();
        if self.calls.is_full() || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_at = None;
        let room = self.room();
        if room == 0 && self.calls.is_empty() && self.backoff.failures() == 0 {
            self.shared.health.cycle_succeeded();
        }
        let half_a_batch = room * 2 >= self.shared.options.batch;
        let (lease, ends) = if self.calls.is_empty() {
            let starving = self.slots.available_permits() > self.ready.len();
            let waited = self.ends_since.is_some_and(|since| now >= since + FLUSH_AFTER);
            let flush = !self.ends.is_empty() && (starving || waited || self.ends.len() >= FLUSH_AT);
            let lease = room > 0 && self.hunger.is_due(now) && (starving || flush || half_a_batch);
            (lease, if lease || flush { std::mem::take(&mut self.ends) } else { Vec::new() })
        } else {
            let may_look =
                if self.calls.asked() > 0 { self.hunger.has_plenty() } else { self.hunger.is_due(now) };
            let lease = half_a_batch && may_look;
            (lease, self.ends_beside(lease))
        };
        let report = now >= self.report_at;
        let reports =
            if report { self.calls.free_reports(self.shared.running.take_reports()) } else { Vec::new() };
        if report {
            self.report_at = now + REPORT_EVERY;
        }
        if lease || !ends.is_empty() || !reports.is_empty() {
            self.ends_since = self.ends.first().map(|_| now);
            let request = lease.then(|| self.request(room));
            self.send(Call { reports, ends, request });
        }
    }

    /// What a second call may settle: enough to be worth it, or whatever there is if it runs anyway.
    fn ends_beside(&mut self, anyway: bool) -> Vec<Arc<End>> {
        if !anyway && self.ends.len() < FLUSH_AT {
            return Vec::new();
        }
        let mut free = self.calls.take_free(&mut self.ends);
        if !anyway && free.len() < FLUSH_AT {
            self.ends.append(&mut free);
        }
        free
    }

    /// Jobs that could be leased now.
    fn room(&self) -> usize {
        if self.phase != Phase::Working || !self.shared.is_trusted() {
            return 0;
        }
        let options = &self.shared.options;
        let free = self.slots.available_permits();
        let wanted = free + self.pace.prefetch(options.slots, options.batch, Instant::now());
        wanted.saturating_sub(self.ready.len() + self.calls.asked()).min(options.batch)
    }

    fn request(&mut self, limit: usize) -> LeaseRequest {
        self.hunger.looking();
        let options = &self.shared.options;
        LeaseRequest {
            worker_id: None,
            queues: options.queues.draw(rand::random),
            kinds: self.shared.handlers.kinds(options.kinds.as_ref()),
            limit,
            duration: options.lease,
        }
    }

    fn send(&mut self, mut call: Call) {
        let now = Instant::now();
        let worker_id = {
            let mut identity = self.shared.identity();
            if let Some(request) = &mut call.request {
                request.worker_id = Some(identity.current);
                let current = identity.current;
                identity.leasing.push((current, now));
            }
            identity.current
        };
        let call = Arc::new(call);
        let task = self.shared.tasks.spawn(call.clone().run(self.store.clone()));
        self.calls.add(Flight { task, call, worker_id, began: now });
    }

    fn call_done(&mut self, flight: Flight, done: Result<Done, Lost>) {
        let Flight { call, worker_id, began, .. } = flight;
        let done = done.unwrap_or_else(|lost| self.lost(lost));
        self.shared.metrics.lease_seconds.observe(done.took.as_secs_f64());
        let mut failure = None;
        match done.settled {
            Ok(verdicts) => self.settled(&call.ends, verdicts),
            Err(error) => {
                failure = Some(error);
                self.keep(&call);
            }
        }
        if !done.reported {
            call.reports.iter().for_each(Report::put_back);
        }
        match done.leased {
            Some(Ok(leased)) => {
                let asked = call.request.as_ref().map_or(0, |request| request.limit);
                self.leased(leased, asked, worker_id);
            }
            Some(Err(error)) => failure = Some(error),
            None => {}
        }
        self.shared.identity().leasing.retain(|leasing| *leasing != (worker_id, began));
        self.pause_or_go_on(failure, call.request.is_some());
    }

    /// Keeps what was not settled for another try, before what ended since.
    fn keep(&mut self, call: &Call) {
        call.ends.iter().for_each(|end| end.tried.store(true, Ordering::Relaxed));
        let newer = std::mem::replace(&mut self.ends, call.ends.clone());
        self.ends.extend(newer);
        self.ends_since = (!self.ends.is_empty()).then(Instant::now);
    }

    fn settled(&self, ends: &[Arc<End>], verdicts: Vec<Verdict>) {
        for (end, verdict) in ends.iter().zip(verdicts) {
            self.shared.running.let_go(&end.lease);
            let (job, metrics) = (&end.job, &self.shared.metrics);
            match verdict {
                Verdict::Applied(status) => {
                    metrics.ended(job, status);
                    log_end(end, status.as_str());
                }
                Verdict::Stale if end.tried.load(Ordering::Relaxed) => tracing::info!(
                    job_id = %job.id, attempt = job.attempt,
                    "settled by an earlier try whose answer was lost, or the lease was lost meanwhile"
                ),
                Verdict::Stale => {
                    metrics.stale.inc();
                    tracing::warn!(
                        job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind,
                        "the lease was lost before the attempt's end was settled; its result is dropped"
                    );
                }
                Verdict::Refused(error) => tracing::error!(
                    job_id = %job.id, attempt = job.attempt, %error, "the attempt's end cannot be stored; its lease will lapse"
                ),
            }
        }
    }

    fn leased(&mut self, leased: Vec<Leased>, asked: usize, worker_id: WorkerId) {
        self.hunger.looked(leased.len(), asked, Instant::now(), rand::random());
        self.pace.leased(leased.iter().map(|leased| leased.job.payload.len()));
        for Leased { job, lease, waited } in leased {
            if let Some(waited) = waited {
                self.shared.metrics.waited(&job, waited);
            }
            let held = self.shared.running.hold(Arc::new(lease), worker_id);
            self.ready.push_back((Attempt { job: Arc::new(job), held }, Instant::now()));
        }
    }

    /// A failed call is followed by a pause that grows; results are kept meanwhile.
    fn pause_or_go_on(&mut self, failure: Option<StoreError>, leased: bool) {
        let Some(error) = failure else {
            let failures = self.backoff.reset();
            if failures > 0 {
                tracing::info!(failures, "the database answers again");
            }
            if leased {
                self.shared.health.cycle_succeeded();
            }
            return;
        };
        self.hunger.wake();
        self.shared.metrics.store_failures.inc();
        let pause = self.backoff.fail().max(BACKOFF_FLOOR);
        self.retry_at = Some(Instant::now() + pause);
        if self.backoff.failures() == 1 {
            tracing::error!(%error, unsettled = self.ends.len(), "leasing and settling failed, trying again until it works");
        }
    }

    /// A call that hangs or broke. Its connection is given up with all others, for the next one to be fresh.
    fn lost(&mut self, lost: Lost) -> Done {
        let what = match lost {
            Lost::Late => format!("a call did not return within {CALL_LIMIT:?}"),
            Lost::Broken(error) => error.to_string(),
        };
        tracing::error!(what, "the connections to the database are given up");
        if let Ok(store) = Store::connect_lazy(&self.store_options) {
            self.store = store;
        }
        let failed = StoreError::Schema("the call was given up".to_owned());
        Done { settled: Err(failed), reported: false, leased: None, took: CALL_LIMIT }
    }

    fn gauge(&self) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.shared.metrics;
        metrics.slots_in_use.set(count(self.shared.options.slots - self.slots.available_permits()));
        metrics.prefetched.set(count(self.ready.len()));
        metrics.unsettled.set(count(self.ends.len()));
    }
}

/// Logs the end where it is known to be true. A success is a debug line: there may be thousands a second.
fn log_end(end: &End, status: &'static str) {
    use jobqueue_core::Settlement;
    let job = &end.job;
    let ran_ms = end.ran.map(|ran| u64::try_from(ran.as_millis()).unwrap_or(u64::MAX));
    let failure = match &end.settlement {
        Settlement::RetryAfter { failure, .. }
        | Settlement::Fail { failure }
        | Settlement::Cancel { failure } => Some(failure),
        Settlement::Requeue { failure } => failure.as_ref(),
        Settlement::Complete { .. } | Settlement::Snooze { .. } => None,
    };
    if let Some(failure) = failure {
        tracing::warn!(
            job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind, ran_ms, status,
            error.type = failure.kind, "attempt ended"
        );
    } else {
        tracing::debug!(
            job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind, ran_ms, status,
            "attempt ended"
        );
    }
}
