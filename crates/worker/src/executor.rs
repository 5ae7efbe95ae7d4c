//! Runs one attempt from its start to its outcome: time limits, panics, stop requests and the tracing span.
//! Owns the handler's task; does not settle and does not use the store.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_core::{Failure, Job, Json, Outcome, WorkerId};
use jobqueue_runtime::trace;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, Span};

use crate::ended::EndedAttempt;
use crate::handler::{HandlerError, HandlerResult, JobContext, Slot, Stop, StopReason};
use crate::running::Attempt;
use crate::shared::Shared;

/// How long a handler may take to stop when its worker shuts down.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// How long it may take when the lease is lost, because another worker may already run the job.
const LOST_GRACE: Duration = Duration::from_secs(1);
/// How long an aborted handler may take to end. After that the attempt ends without it, and the handler keeps
/// its slot.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Runs the attempt. It never panics and ends soon after the attempt's time limit, regardless of what the handler does.
pub(crate) async fn execute(shared: Arc<Shared>, attempt: Attempt, slot: Slot) -> EndedAttempt {
    let Attempt { job, held } = &attempt;
    let Some(handler) = shared.handlers.of(&job.kind) else {
        // cannot happen: only kinds with a handler are leased
        let failure = Failure::new("no_handler", format!("this worker has no handler for `{}`", job.kind));
        let outcome = Outcome::Failed { failure, retry_after: None };
        return EndedAttempt::new(attempt, outcome, None);
    };
    let own = job.timeout.unwrap_or(shared.options.default_timeout);
    let limit = handler.time_limit().map_or(own, |most| most.min(own));
    let started = Instant::now();
    let span = span(job, shared.worker_id);
    let traceparent = span.in_scope(trace::current_traceparent);
    let traceparent =
        traceparent.or_else(|| job.traceparent.as_ref().map(|parent| parent.as_str().to_owned()));
    let context = JobContext::new(
        job.clone(),
        started + limit,
        held.stop.clone(),
        held.report.clone(),
        (traceparent, slot),
    );
    // keeps the slot occupied while the handler runs, even if the handler drops its context
    let slot = context.clone();
    let running = async move {
        let outcome = handler.call(context).await;
        drop(slot);
        outcome
    };
    let task = shared.tasks.spawn(running.instrument(span.clone()));
    let times = Times { limit, deadline: started + limit, soft: job.soft_timeout.map(|soft| started + soft) };
    let outcome = Supervision { shared: &shared, stop: &held.stop, times }.watch(task).instrument(span).await;
    EndedAttempt::new(attempt, outcome, Some(started.elapsed()))
}

fn span(job: &Job, worker_id: WorkerId) -> Span {
    let span = tracing::info_span!(
        "job",
        job_id = %job.id,
        %worker_id,
        attempt = job.attempt,
        queue = %job.queue,
        kind = %job.kind,
    );
    if let Some(parent) = &job.traceparent {
        if job.attempt == 1 {
            trace::set_parent(&span, parent.as_str());
        } else {
            trace::link_to(&span, parent.as_str());
        }
    }
    span
}

/// The time limits of one attempt.
struct Times {
    limit: Duration,
    deadline: Instant,
    soft: Option<Instant>,
}

/// Supervises one handler.
struct Supervision<'a> {
    shared: &'a Shared,
    stop: &'a Stop,
    times: Times,
}

impl Supervision<'_> {
    async fn watch(mut self, mut task: JoinHandle<HandlerResult>) -> Outcome {
        let mut reasons = self.stop.watch();
        let mut abort_at = self.abort_at(&mut reasons);
        loop {
            let next = [Some(self.times.deadline), self.times.soft, abort_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                joined = &mut task => return self.outcome(joined),
                // the sender lives in `self.stop`
                _ = reasons.changed() => abort_at = self.abort_at(&mut reasons).or(abort_at),
                () = sleep_until(next.unwrap_or(self.times.deadline)) => {
                    let now = Instant::now();
                    if now >= self.times.deadline {
                        self.stop.ask(StopReason::Timeout);
                        break;
                    }
                    if abort_at.is_some_and(|at| now >= at) {
                        break;
                    }
                    self.times.soft = None;
                    self.stop.ask(StopReason::SoftTimeout);
                }
            }
        }
        task.abort();
        if let Ok(joined) = timeout(ABORT_WAIT, &mut task).await {
            return self.outcome(joined);
        }
        tracing::warn!("the handler blocks and cannot be stopped; it keeps its slot until it returns");
        self.outcome_of_stop()
    }

    /// When to stop waiting for the handler, according to the current stop reason.
    fn abort_at(&self, reasons: &mut watch::Receiver<Option<StopReason>>) -> Option<Instant> {
        let grace = match (*reasons.borrow_and_update())? {
            StopReason::SoftTimeout | StopReason::Timeout => return None,
            StopReason::Drain if self.shared.forced.load(Ordering::Relaxed) => Duration::ZERO,
            StopReason::Drain => DRAIN_GRACE,
            StopReason::Cancel => self.shared.options.cancel_grace,
            StopReason::LeaseLost => LOST_GRACE,
        };
        Some(Instant::now() + grace)
    }

    fn outcome(&self, joined: Result<HandlerResult, JoinError>) -> Outcome {
        match joined {
            Ok(Ok(result)) => self.completed(result),
            Ok(Err(error)) => self.not_completed(error),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => Outcome::Failed { failure: panicked(&*panic), retry_after: None },
                Err(_aborted) => self.outcome_of_stop(),
            },
        }
    }

    fn completed(&self, result: Option<Json>) -> Outcome {
        let most = self.shared.limits.result_bytes;
        match result.as_ref().map(Json::len) {
            Some(bytes) if bytes > most => Outcome::Discarded(Failure::new(
                "result_too_large",
                format!(
                    "the result has {bytes} bytes, at most {most} are stored: store it elsewhere and return a reference"
                ),
            )),
            _ => Outcome::Completed(result),
        }
    }

    /// Uses the handler's error, unless the handler was asked to stop: then the error is the reaction to that
    /// request.
    fn not_completed(&self, error: HandlerError) -> Outcome {
        match (self.stop.reason(), error) {
            (Some(StopReason::Cancel | StopReason::LeaseLost | StopReason::Timeout), _)
            | (Some(StopReason::Drain), HandlerError::Retry { .. } | HandlerError::Cancelled) => {
                self.outcome_of_stop()
            }
            (Some(StopReason::SoftTimeout), HandlerError::Cancelled) => self.timed_out(),
            (_, error) => error.into_outcome(),
        }
    }

    fn outcome_of_stop(&self) -> Outcome {
        match self.stop.reason() {
            Some(StopReason::Cancel) => Outcome::Cancelled,
            Some(StopReason::LeaseLost) => Outcome::LeaseLost,
            Some(StopReason::Timeout | StopReason::SoftTimeout) => self.timed_out(),
            // no reason: the runtime was shut down
            Some(StopReason::Drain) | None => Outcome::Released,
        }
    }

    fn timed_out(&self) -> Outcome {
        Outcome::Failed { failure: Failure::timeout(self.times.limit), retry_after: None }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new("panic", text.unwrap_or("(the panic's payload is not text)"))
}
