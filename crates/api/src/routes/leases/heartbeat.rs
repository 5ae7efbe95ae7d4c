//! POST /v1/leases/heartbeat: renews leases of a remote worker, and returns which jobs to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Lease, WorkerId};
use jobqueue_store::{AttemptReport, Extended, RemoteReport, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::extract::JsonBody;
use crate::keys::limits;
use crate::long_poll::LongPolls;
use crate::middleware::auth::Caller;
use crate::middleware::replay::ClientGone;
use crate::problem::{Problem, ProblemKind};
use crate::remote::Remote;
use crate::store_access::StoreAccess;
use crate::wire::lease::{HeartbeatBody, HeartbeatView, RenewedView};
use crate::wire::worker_report::{DeliveredView, WorkerReportBody};

/// What a worker reports of the attempts of its leases, by the places of these.
type Reports = Vec<(usize, AttemptReport)>;

/// While it waits, a heartbeat is carried out at most so often.
const PAUSE: Duration = Duration::from_millis(250);

/// A checked heartbeat. It may be carried out twice; what it reports of attempts is stored once.
struct Beat {
    leases: Arc<[Lease]>,
    lease_for: Duration,
    worker: Option<RemoteReport>,
}

/// What a heartbeat has found.
struct Found {
    extended: Vec<Extended>,
    commands: Vec<DeliveredView>,
}

/// Renew leases, report progress and log lines, and receive commands.
///
/// The response has one result per lease, in order. If the only lease is stale and the request has no `worker`, the response is 409. Jobs
/// that were leased together share their leases: renewing one renews all of them. A worker that sends `worker` every 10 seconds, with or
/// without leases, is shown with what it reports, and gets the commands of operators.
#[utoipa::path(post, path = "/v1/leases/heartbeat", operation_id = "heartbeat_leases", tag = "workers", request_body = HeartbeatBody,
    responses(
        (status = 200, description = "One result per lease", body = HeartbeatView),
        (status = 409, description = "The only lease was lost or already settled"),
    ))]
pub(crate) async fn heartbeat(
    State(store): State<StoreAccess>,
    (State(remote), State(long_polls)): (State<Remote>, State<LongPolls>),
    Extension(caller): Extension<Caller>,
    gone: Option<Extension<ClientGone>>,
    body: JsonBody<HeartbeatBody>,
) -> Result<Json<HeartbeatView>, Problem> {
    let (lease_for, wait) = body.value.times().map_err(|errors| Problem::fields(&errors))?;
    let (beat, reports) = check(body.value, lease_for)?;
    limits::leased(&store, caller.grant(), beat.leases.iter().map(Lease::job_id).collect()).await?;
    limits::worker_name(&store, caller.grant(), beat.worker.as_ref().map(|report| &report.name)).await?;
    let _place = if wait.is_zero() { None } else { Some(long_polls.place()?) };
    let Extension(gone) = gone.unwrap_or_default();
    // subscribes before it reads, so that no hint in between is missed
    let mut hints = long_polls.worker_hints();
    let (mut found, mut sent) = (beat.send(&store, reports).await?, Instant::now());
    let end = sent + wait;
    while found.is_quiet() && Instant::now() < end {
        let (workers, pause_end) = (beat.workers(&found), found.next_timeout().map_or(end, |at| at.min(end)));
        tokio::select! {
            () = hints.of(&workers) => {}
            () = sleep_until(pause_end) => {}
            () = long_polls.shutdown() => break,
            () = gone.wait() => break,
        }
        // hints may be for other jobs of these workers, and come by the thousand
        sleep_until((sent + PAUSE).min(end)).await;
        // Also at the end, because a hint may be lost. If it fails, the answer is what the last one found: the reports are stored, so the
        // request must not be repeated.
        let Ok(later) = beat.send(&store, vec![]).await else { break };
        (found, sent) = (later, Instant::now());
    }
    remote.renewed(found.extended.iter().filter_map(holder));
    if found.extended == [Extended::Stale] && beat.worker.is_none() {
        return Err(stale());
    }
    let leases = found.extended.into_iter().map(view).collect();
    Ok(Json(HeartbeatView { leases, commands: found.commands }))
}

fn check(body: HeartbeatBody, lease_for: Duration) -> Result<(Beat, Reports), Problem> {
    let least = usize::from(body.worker.is_none());
    if !(least..=MAX_BATCH).contains(&body.leases.len()) {
        let message = format!("must have 1 to {MAX_BATCH} entries, or none if `worker` is given");
        return Err(Problem::field("/leases", "out_of_range", message));
    }
    let (mut leases, mut reports, mut errors) = (Vec::new(), Vec::new(), Vec::<FieldError>::new());
    let worker = body.worker.map(WorkerReportBody::check).transpose();
    let worker = worker.unwrap_or_else(|wrong| {
        errors.extend(wrong);
        None
    });
    for (at, item) in body.leases.into_iter().enumerate() {
        match item.renewal(at) {
            Ok(renewal) => {
                leases.push(renewal.lease);
                if renewal.progress.is_some() || !renewal.log.is_empty() {
                    reports.push((at, AttemptReport { progress: renewal.progress, log: renewal.log }));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    let beat = Beat { leases: leases.into(), lease_for, worker };
    if errors.is_empty() { Ok((beat, reports)) } else { Err(Problem::fields(&errors)) }
}

impl Beat {
    /// Stores what the worker reports, renews the leases, and returns what the worker should know.
    async fn send(&self, store: &StoreAccess, reports: Reports) -> Result<Found, Problem> {
        let commands = self.deliver(store).await?;
        Ok(Found { extended: self.renew(store, reports).await?, commands })
    }

    async fn deliver(&self, store: &StoreAccess) -> Result<Vec<DeliveredView>, Problem> {
        let Some(report) = self.worker.clone() else { return Ok(vec![]) };
        let sent = store.call(move |store| async move { store.remote_heartbeat(&report).await }).await?;
        Ok(sent.into_iter().map(DeliveredView::from).collect())
    }

    async fn renew(&self, store: &StoreAccess, reports: Reports) -> Result<Vec<Extended>, Problem> {
        if self.leases.is_empty() {
            return Ok(vec![]);
        }
        let (leases, lease_for) = (self.leases.clone(), self.lease_for);
        let call = |store: jobqueue_store::Store| async move {
            let extended = store.extend(&leases, lease_for).await?;
            let reports: Vec<(&Lease, AttemptReport)> =
                reports.into_iter().filter_map(|(at, report)| Some((leases.get(at)?, report))).collect();
            store.report(&reports).await?;
            Ok::<_, StoreError>(extended)
        };
        store.call(call).await
    }

    /// The worker that sends it, and those that hold its leases.
    fn workers(&self, found: &Found) -> Vec<WorkerId> {
        let sender = self.worker.as_ref().map(|report| WorkerId::of_remote(&report.name));
        sender.into_iter().chain(found.extended.iter().filter_map(holder)).collect()
    }
}

impl Found {
    /// Whether the worker has nothing to do but to continue.
    fn is_quiet(&self) -> bool {
        let runs =
            |one: &Extended| matches!(one, Extended::Until { cancel_requested: false, timed_out: false, .. });
        self.commands.is_empty() && self.extended.iter().all(runs)
    }

    /// When the first of the jobs times out. No hint announces it.
    fn next_timeout(&self) -> Option<Instant> {
        let left = |one: &Extended| match one {
            Extended::Until { times_out_in, .. } => *times_out_in,
            Extended::Stale => None,
        };
        self.extended.iter().filter_map(left).min().map(|left| Instant::now() + left)
    }
}

fn holder(one: &Extended) -> Option<WorkerId> {
    match one {
        Extended::Until { worker_id, .. } => *worker_id,
        Extended::Stale => None,
    }
}

fn view(extended: Extended) -> RenewedView {
    match extended {
        Extended::Until { expires_at, cancel_requested, timed_out, .. } => {
            let status = match (timed_out, cancel_requested) {
                (true, _) => "timed_out",
                (false, true) => "cancel_requested",
                (false, false) => "ok",
            };
            RenewedView { status, expires_at: Some(expires_at) }
        }
        Extended::Stale => RenewedView { status: "stale", expires_at: None },
    }
}

/// The problem of a lease that was lost or already settled.
pub(super) fn stale() -> Problem {
    Problem::new(
        ProblemKind::StaleLease,
        "the lease was lost or already settled, and nothing changed: stop working on the job",
    )
}
