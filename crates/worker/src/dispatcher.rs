//! The main loop of a worker: it leases batches, gives the jobs to slots, and settles ended attempts together
//! with the next lease. Owns the timing of these steps; does not run jobs and does not decide what an outcome
//! means.
//!
//! Attempts that end during a store call are settled by the next call, so batches grow with the load. A
//! second call runs beside the first only when a large part of a batch has accumulated.

mod call;
mod drain;
mod in_flight;
mod pace;
mod poll_schedule;
mod retry_pause;
mod slots;
mod unsettled;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::Outcome;
use jobqueue_runtime::Shutdown;
use jobqueue_store::{LeaseRequest, Leased, Store, StoreError, StoreOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::ended::EndedAttempt;
use crate::executor;
use crate::running::{Attempt, Report};
use crate::shared::Shared;
use call::{Call, Done};
use drain::{Drain, Remaining};
use in_flight::{CALL_LIMIT, Flight, InFlight, Lost};
use poll_schedule::PollSchedule;
use retry_pause::RetryPause;
use slots::{Next, Slots};
use unsettled::Unsettled;

/// Interval at which progress and logs are stored.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// See the module.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    store: Store,
    store_options: StoreOptions,
    slots: Slots,
    ends: Unsettled,
    calls: InFlight,
    polls: PollSchedule,
    report_at: Instant,
    pause: RetryPause,
    /// Receives ended attempts, each with the number that `Slots::next` assigned.
    ended: mpsc::UnboundedReceiver<(u64, EndedAttempt)>,
    /// Sends to `ended`. The channel is unbounded, but each slot sends only once per attempt.
    ending: mpsc::UnboundedSender<(u64, EndedAttempt)>,
    drain: Drain,
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>, store: Store, store_options: StoreOptions) -> Self {
        let (ending, ended) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            slots: Slots::new(shared.options.slots),
            polls: PollSchedule::new(now, shared.options.poll),
            shared,
            store,
            store_options,
            ends: Unsettled::default(),
            calls: InFlight::default(),
            report_at: now,
            pause: RetryPause::new(),
            ended,
            ending,
            drain: Drain::new(),
        }
    }

    /// Runs until the shutdown begins, then drains. Returns when no lease is held, or when the drain's time
    /// limit has passed.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.collect_ended();
            self.resize();
            self.advance_drain(&shutdown);
            self.start_ready();
            self.start_call();
            self.update_gauges();
            if self.drain.is_over(self.remaining()) {
                return;
            }
            self.wait(&shutdown).await;
        }
    }

    /// Waits for the first event.
    async fn wait(&mut self, shutdown: &Shutdown) {
        let next = self.next_wakeup();
        tokio::select! {
            Some((number, ended)) = self.ended.recv() => self.attempt_ended(number, ended),
            (flight, done) = self.calls.next() => self.call_done(flight, done),
            () = self.shared.wake.notified() => self.polls.wake(),
            () = shutdown.soft().cancelled(), if !self.drain.has_deadline() => {}
            () = shutdown.hard().cancelled(), if !self.drain.is_stopping() => {}
            () = sleep_until(next) => {}
        }
    }

    /// When the loop must run again if no event arrives.
    fn next_wakeup(&self) -> Instant {
        let now = Instant::now();
        if let Some(late) = self.calls.deadline() {
            let second = [self.pause.until(), self.polls.due_at(now)].into_iter().flatten().min();
            let second = second.filter(|at| !self.calls.is_full() && *at > now);
            return [second, self.drain.deadline()].into_iter().flatten().fold(late, Instant::min);
        }
        if let Some(retry_at) = self.pause.until() {
            return self.drain.deadline().map_or(retry_at, |deadline| deadline.min(retry_at));
        }
        let hold = self.slots.hold_until();
        let flush = self.ends.due_at();
        let poll = self.polls.due_at(now);
        let report = (self.report_at > now).then_some(self.report_at);
        let idle = Some(now + self.shared.options.poll);
        [hold, flush, poll, report, idle, self.drain.deadline()].into_iter().flatten().min().unwrap_or(now)
    }

    /// Follows the number of slots that an operator may change.
    fn resize(&mut self) {
        self.slots.resize(self.shared.control.slots());
        self.shared.metrics.slots.set(i64::try_from(self.slots.total()).unwrap_or(i64::MAX));
    }

    /// Takes all attempts that have ended so far.
    fn collect_ended(&mut self) {
        while let Ok((number, ended)) = self.ended.try_recv() {
            self.attempt_ended(number, ended);
        }
    }

    fn attempt_ended(&mut self, number: u64, ended: EndedAttempt) {
        self.slots.ended(number, ended.ran);
        if let Some(ran) = ended.ran {
            self.shared.metrics.ran(&ended.job, ran);
        }
        self.ends.push(ended);
    }

    /// Ends a leased attempt that was not started.
    fn end_unstarted(&mut self, attempt: Attempt, outcome: Outcome) {
        self.ends.push(EndedAttempt::new(attempt, outcome, None));
    }

    /// Starts jobs in the free slots, and ends those that must not start.
    fn start_ready(&mut self) {
        while let Some(next) = self.slots.next(self.shared.heartbeat_is_recent()) {
            match next {
                Next::End(attempt, outcome) => self.end_unstarted(attempt, outcome),
                Next::Start(attempt, slot, number) => {
                    let (shared, ending) = (self.shared.clone(), self.ending.clone());
                    self.shared.tasks.spawn(async move {
                        let ended = executor::execute(shared, attempt, slot).await;
                        // the receiver is gone only after a drain that hit its time limit
                        let _receiver_gone = ending.send((number, ended));
                    });
                }
            }
        }
    }

    fn advance_drain(&mut self, shutdown: &Shutdown) {
        self.drain.advance(shutdown, &self.shared, self.remaining());
        if self.drain.has_begun() {
            // releases jobs that have not started, and jobs that a lease call still returns
            for (attempt, _) in self.slots.take_waiting() {
                self.end_unstarted(attempt, Outcome::Released);
            }
        }
    }

    fn remaining(&self) -> Remaining {
        Remaining {
            running: self.slots.running(),
            waiting: self.slots.waiting(),
            unsettled: self.ends.len(),
            calling: !self.calls.is_empty(),
        }
    }

    /// Starts a store call if one is due. A second call takes work away from the next one, so it starts only
    /// with enough work.
    fn start_call(&mut self) {
        let now = Instant::now();
        if self.calls.is_full() || self.pause.holds(now) {
            return;
        }
        self.pause.end();
        let capacity = self.capacity();
        if capacity == 0 && self.calls.is_empty() && self.pause.is_healthy() {
            self.shared.health.cycle_succeeded();
        }
        let half_a_batch = capacity * 2 >= self.shared.options.batch;
        let (lease, ends) = if self.calls.is_empty() {
            let slots_idle = self.slots.are_idle();
            let flush = self.ends.are_due(slots_idle, now);
            let lease = capacity > 0 && self.polls.is_due(now) && (slots_idle || flush || half_a_batch);
            (lease, if lease || flush { self.ends.take() } else { Vec::new() })
        } else {
            let may_poll = if self.calls.requested_jobs() > 0 {
                self.polls.last_batch_was_full()
            } else {
                self.polls.is_due(now)
            };
            let lease = half_a_batch && may_poll;
            (lease, self.ends.take_beside(&self.calls, lease))
        };
        let report = now >= self.report_at;
        let reports = if report {
            self.calls.take_free_reports(self.shared.running.take_reports())
        } else {
            Vec::new()
        };
        if report {
            self.report_at = now + REPORT_EVERY;
        }
        if lease || !ends.is_empty() || !reports.is_empty() {
            self.ends.sent(now);
            let request = lease.then(|| self.request(capacity));
            self.send(Call { reports, ends, request });
        }
    }

    /// How many jobs may be leased now.
    fn capacity(&self) -> usize {
        let is_stopped = self.drain.has_begun() || self.shared.control.is_paused();
        if is_stopped || !self.shared.heartbeat_is_recent() {
            return 0;
        }
        self.slots.capacity(self.shared.options.batch, self.calls.requested_jobs())
    }

    fn request(&mut self, limit: usize) -> LeaseRequest {
        self.polls.poll_started();
        let options = &self.shared.options;
        LeaseRequest {
            worker_id: Some(self.shared.worker_id),
            queues: self.shared.control.queues().draw(rand::random),
            kinds: self.shared.handlers.kinds(options.kinds.as_ref()),
            limit,
            duration: options.lease,
        }
    }

    fn send(&mut self, call: Call) {
        let lease_call = call.request.as_ref().map(|_| self.shared.lease_calls.begin());
        let call = Arc::new(call);
        let task = self.shared.tasks.spawn(call.clone().run(self.store.clone()));
        self.calls.add(Flight { task, call, lease_call, began: Instant::now() });
    }

    fn call_done(&mut self, flight: Flight, done: Result<Done, Lost>) {
        let Flight { call, lease_call, .. } = flight;
        let done = done.unwrap_or_else(|lost| self.handle_lost(&call, lost));
        self.shared.metrics.lease_seconds.observe(done.took.as_secs_f64());
        self.ends.put_back(verdicts::record(&self.shared, &call.ends, done.settled));
        if !done.reported {
            call.reports.iter().for_each(Report::put_back);
        }
        if let Some(leased) = done.leased {
            let requested = call.request.as_ref().map_or(0, |request| request.limit);
            self.leased(leased, requested);
        }
        if let Some(number) = lease_call {
            self.shared.lease_calls.end(number);
        }
        self.note_outcome(done.failure, call.request.is_some());
    }

    fn leased(&mut self, leased: Vec<Leased>, requested: usize) {
        self.polls.poll_ended(leased.len(), requested, Instant::now(), rand::random());
        self.slots.leased(leased.iter().map(|leased| leased.job.payload.len()));
        for Leased { job, lease, waited } in leased {
            if let Some(waited) = waited {
                self.shared.metrics.waited(&job, waited);
            }
            let held = self.shared.running.hold(Arc::new(lease));
            self.slots.push(Attempt { job: Arc::new(job), held });
        }
    }

    /// After a failed call, the next one waits. Results are kept meanwhile.
    fn note_outcome(&mut self, failure: Option<Arc<StoreError>>, leased: bool) {
        if let Some(error) = failure {
            self.polls.wake();
            return self.pause.call_failed(&self.shared, &error);
        }
        self.pause.call_succeeded(&self.shared);
        if leased {
            self.shared.health.cycle_succeeded();
        }
    }

    /// Handles a call that hung or panicked. Opens new connections, because the old ones may be unusable.
    fn handle_lost(&mut self, call: &Call, lost: Lost) -> Done {
        let what = match lost {
            Lost::Late => format!("a call did not return within {CALL_LIMIT:?}"),
            Lost::Broken(error) => error.to_string(),
        };
        tracing::error!(what, "the database connections are dropped and opened anew");
        if let Ok(store) = Store::connect_lazy(&self.store_options) {
            self.store = store;
        }
        Done::failed(call, StoreError::Abandoned(what), CALL_LIMIT)
    }

    fn update_gauges(&self) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.shared.metrics;
        metrics.slots_in_use.set(count(self.slots.in_use()));
        metrics.prefetched.set(count(self.slots.waiting()));
        metrics.unsettled.set(count(self.ends.len()));
    }
}
