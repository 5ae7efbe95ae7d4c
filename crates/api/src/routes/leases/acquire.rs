//! POST /v1/leases: leases jobs for a remote worker. On request the response waits until there are jobs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::WorkerName;
use jobqueue_store::{LeaseRequest, Leased, RemoteWorker};
use tokio::time::{Instant, sleep, timeout};

use crate::extract::JsonBody;
use crate::keys::limits;
use crate::long_poll::LongPolls;
use crate::middleware::auth::Caller;
use crate::middleware::replay::{ClientGone, Keep};
use crate::problem::Problem;
use crate::remote::{PendingHandoff, Remote};
use crate::store_access::CALL_LIMIT;
use crate::wire::lease::{AcquireBody, AcquiredView, LeasedView};

/// Interval between polls while a request waits, because a wake-up can be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The address of a client that is not known, which happens only if another server embeds the routes.
const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Lease jobs for a worker.
///
/// The worker must settle each job, and renew its lease by heartbeats until then. A lease that expires costs an attempt, and
/// the job runs again on any worker. If there is no job, the response has no leases and is sent after `wait`. If a response is
/// lost, its jobs stay leased until the leases expire. Repeat the request with the same `Idempotency-Key` to get the same
/// response; after half of the lease duration it is a new request.
#[utoipa::path(post, path = "/v1/leases", operation_id = "acquire_leases", tag = "workers", request_body = AcquireBody,
    responses((status = 200, description = "The leased jobs; empty if there was none", body = AcquiredView)))]
pub(crate) async fn acquire(
    State(remote): State<Remote>,
    State(long_polls): State<LongPolls>,
    (gone, peer): (Option<Extension<ClientGone>>, Option<Extension<ConnectInfo<SocketAddr>>>),
    Extension(caller): Extension<Caller>,
    body: JsonBody<AcquireBody>,
) -> Result<Response, Problem> {
    let terms = body.value.terms().map_err(|errors| Problem::fields(&errors))?;
    let duration = Duration::from_secs(terms.lease_seconds.into());
    let AcquireBody { worker, queues, kinds, .. } = body.value;
    limits::lease(caller.grant(), &queues, &kinds)?;
    let address = peer.map_or(UNSPECIFIED, |Extension(ConnectInfo(peer))| peer.ip());
    let name = worker.unwrap_or_else(|| WorkerName::unnamed(address));
    let worker = RemoteWorker { name, queues: queues.clone(), kinds: kinds.clone() };
    let request = LeaseRequest { worker_id: None, queues, kinds, limit: terms.limit, duration };
    let _place = if terms.wait.is_zero() { None } else { Some(long_polls.place()?) };
    let Extension(gone) = gone.unwrap_or_default();
    let waiting = lease_or_wait((&remote, &long_polls), (worker, request), terms.wait, &gone);
    let late = |_| Problem::unanswered();
    let leased = timeout(terms.wait + CALL_LIMIT, waiting).await.map_err(late)??.take();
    // the response contains how long the leases last, which must be about right when it is replayed
    let keep = if leased.is_empty() { Keep::Nothing } else { Keep::For(duration / 2) };
    let view = |Leased { job, lease, .. }: Leased| LeasedView {
        lease: lease.to_string(),
        expires_in_seconds: terms.lease_seconds,
        job: job.into(),
    };
    let view = AcquiredView { leases: leased.into_iter().map(view).collect() };
    Ok((Extension(keep), Json(view)).into_response())
}

/// Polls until there is a job, `wait` is over, the client has disconnected, or the process shuts down. Cancel-safe: if the
/// client disconnects, leased jobs are released.
async fn lease_or_wait(
    (remote, long_polls): (&Remote, &LongPolls),
    (worker, request): (RemoteWorker, LeaseRequest),
    wait: Duration,
    gone: &ClientGone,
) -> Result<PendingHandoff, Problem> {
    let deadline = Instant::now() + wait;
    loop {
        // subscribes before it polls, so that no wake-up in between is missed
        let mut hints = long_polls.hints();
        let handoff = remote.lease(worker.clone(), request.clone()).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !handoff.is_empty() || left.is_zero() {
            return Ok(handoff);
        }
        tokio::select! {
            () = hints.of(&request.queues) => {}
            () = sleep(left.min(POLL_INTERVAL.mul_f64(rand::random_range(0.8..1.2)))) => {}
            () = long_polls.shutdown() => return Ok(handoff),
            () = gone.wait() => return Ok(handoff),
        }
    }
}
