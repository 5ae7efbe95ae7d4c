//! POST /v1/leases: jobs for a remote worker, if wanted as soon as there are some.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::{Outcome, QueueName, settle};
use jobqueue_store::{AttemptEnd, LeaseRequest, Leased};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use crate::extract::JsonBody;
use crate::middleware::replay::Keep;
use crate::problem::{Kind, Problem};
use crate::state::{ApiState, CALL_LIMIT};
use crate::wire::lease::{AcquireBody, AcquiredView, LeasedView};

/// A wake-up can be lost, so whoever waits also looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Outcomes = Result<Vec<Leased>, Problem>;

/// Lease jobs for a worker.
///
/// Whoever gets a job must settle it, and renew its lease by heartbeats until then: a lease that ends costs an attempt
/// and gives the job to another. Without any job the answer comes after `wait`, with no leases. An
/// answer that got lost leaves its jobs leased until the leases end; with the same `Idempotency-Key` it is given again for
/// half of that time, and is a new request after it.
#[utoipa::path(post, path = "/v1/leases", operation_id = "acquire_leases", tag = "workers", request_body = AcquireBody,
    responses((status = 200, description = "Leased jobs, maybe none", body = AcquiredView)))]
pub(crate) async fn acquire(
    State(state): State<ApiState>,
    body: JsonBody<AcquireBody>,
) -> Result<Response, Problem> {
    let terms = body.value.terms().map_err(|errors| Problem::fields(&errors))?;
    let duration = Duration::from_secs(terms.lease_seconds.into());
    let AcquireBody { queues, kinds, .. } = body.value;
    let request = LeaseRequest { worker_id: None, queues, kinds, limit: terms.limit, duration };
    let leased = lease(&state, request, terms.wait).await?;
    // the answer says how long they last, which must not be far from true when it is given again
    let keep = if leased.is_empty() { Keep::Nothing } else { Keep::For(duration / 2) };
    let view = |Leased { job, lease, .. }: Leased| LeasedView {
        lease: lease.to_string(),
        expires_in_seconds: terms.lease_seconds,
        job: job.into(),
    };
    let view = AcquiredView { leases: leased.into_iter().map(view).collect() };
    Ok((Extension(keep), Json(view)).into_response())
}

/// Leases in a task of its own, which knows when the client has gone: jobs that nobody will run are given back.
async fn lease(state: &ApiState, request: LeaseRequest, wait: Duration) -> Outcomes {
    let place = if wait.is_zero() { None } else { Some(state.long_poll_place()?) };
    let (mut answer, leased) = oneshot::channel::<Outcomes>();
    let task = state.clone();
    let waiting = async move {
        let _place = place;
        let outcome = look_until(&task, request, wait, &mut answer).await;
        if let Err(Ok(orphans)) = answer.send(outcome) {
            give_back(&task, orphans).await;
        }
    };
    state.shutdown.spawn_contained(waiting.in_current_span());
    match timeout(wait + CALL_LIMIT, leased).await {
        Ok(outcome) => outcome.map_err(|_| Problem::internal())?,
        // nobody listens any more: what is leased later is given back
        Err(_) => Err(Problem::new(Kind::Unavailable, "the database did not answer in time")),
    }
}

/// Looks until there is a job, the time is over, the client is gone or the process goes down.
async fn look_until(
    state: &ApiState,
    request: LeaseRequest,
    wait: Duration,
    answer: &mut oneshot::Sender<Outcomes>,
) -> Outcomes {
    let deadline = Instant::now() + wait;
    loop {
        // Listening begins before looking, so that nothing falls in between.
        let mut hints = state.hints.subscribe();
        let leased = state.remote.lease(request.clone()).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !leased.is_empty() || left.is_zero() {
            return Ok(leased);
        }
        tokio::select! {
            () = hints.of(&request.queues) => {}
            () = sleep(left.min(LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2)))) => {}
            () = state.shutdown.soft().cancelled() => return Ok(leased),
            () = answer.closed() => return Ok(leased),
        }
    }
}

/// Releases jobs whose worker went away before it heard of them; it costs them no attempt.
async fn give_back(state: &ApiState, orphans: Vec<Leased>) {
    let queues: Vec<QueueName> = orphans.iter().map(|orphan| orphan.job.queue.clone()).collect();
    let release = |Leased { job, lease, .. }: Leased| AttemptEnd {
        lease,
        settlement: settle(&job, Outcome::Released, 0.0),
        ran: None,
        holds_key: job.unique_key.is_some(),
    };
    match state.bare_store().settle(orphans.into_iter().map(release).collect()).await {
        Ok(_) => state.wake(&queues),
        Err(error) => {
            tracing::warn!(
                error.class = error.class(),
                "jobs of a client that went away stay leased until their leases end"
            );
        }
    }
}
