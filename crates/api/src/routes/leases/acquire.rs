//! POST /v1/leases: jobs for a remote worker, if wanted as soon as there are some.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_store::{LeaseRequest, Leased};
use tokio::time::{Instant, sleep, timeout};

use crate::extract::JsonBody;
use crate::middleware::replay::Keep;
use crate::problem::{Kind, Problem};
use crate::remote::Handout;
use crate::state::{ApiState, CALL_LIMIT};
use crate::wire::lease::{AcquireBody, AcquiredView, LeasedView};

/// A wake-up can be lost, so whoever waits also looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    let _place = if terms.wait.is_zero() { None } else { Some(state.long_poll_place()?) };
    let looking = look_until(&state, request, terms.wait);
    let late = |_| Problem::new(Kind::Unavailable, "the database did not answer in time");
    let leased = timeout(terms.wait + CALL_LIMIT, looking).await.map_err(late)??.take();
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

/// Looks until there is a job, the time is over or the process goes down. Cancel-safe: a client that goes away takes no job along.
async fn look_until(state: &ApiState, request: LeaseRequest, wait: Duration) -> Result<Handout, Problem> {
    let deadline = Instant::now() + wait;
    loop {
        // Listening begins before looking, so that nothing falls in between.
        let mut hints = state.hints.subscribe();
        let handout = state.remote.lease(request.clone()).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !handout.is_empty() || left.is_zero() {
            return Ok(handout);
        }
        tokio::select! {
            () = hints.of(&request.queues) => {}
            () = sleep(left.min(LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2)))) => {}
            () = state.shutdown.soft().cancelled() => return Ok(handout),
        }
    }
}
