//! How the limits of a key by queue and kind hold for each route. A route that is not listed here is refused to keys with limits.

use axum::RequestExt as _;
use axum::extract::{RawPathParams, Request};
use jobqueue_core::{Grant, JobId, KindName, QueueName, ScheduleName, WorkerId};

use super::limits;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;

/// What a route concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The whole installation. Keys with limits are refused.
    #[default]
    Everything,
    /// What its handler compares with the key itself: lists, counts, submissions.
    Handler,
    /// All queues and workers, each as an object. Keys that are limited by kind are refused.
    Queues,
    /// The job `{id}`. Another job does not exist for the key.
    Job,
    /// The queue `{name}` with the jobs of all kinds.
    Queue,
    /// The kind `{name}` in all queues.
    Kind,
    /// The schedule `{name}`.
    Schedule,
    /// The worker `{worker_id}` with all its queues.
    Worker,
    /// The redrive `{redrive_id}`.
    Redrive,
}

impl Reach {
    /// What a route concerns.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/v1/jobs"
            | "/v1/jobs/batch"
            | "/v1/jobs/cancel"
            | "/v1/jobs/retry"
            | "/v1/jobs/promote"
            | "/v1/jobs/delete"
            | "/v1/jobs/count"
            | "/v1/leases"
            | "/v1/leases/heartbeat"
            | "/v1/leases/settle"
            | "/v1/stats"
            | "/v1/schedules"
            | "/v1/schedules/preview"
            | "/v1/dead-letters"
            | "/v1/dead-letters/groups"
            | "/v1/dead-letters/purge"
            | "/v1/dead-letters/redrives"
            | "/v1/kinds"
            | "/v1/api-keys"
            | "/v1/api-keys/{key_id}"
            | "/v1/api-keys/{key_id}/rotate" => Self::Handler,
            "/v1/queues" | "/v1/workers" | "/v1/stream" => Self::Queues,
            "/v1/dead-letters/{id}" | "/v1/dead-letters/{id}/retry" => Self::Job,
            "/v1/workers/{worker_id}" | "/v1/workers/{worker_id}/commands" => Self::Worker,
            "/v1/dead-letters/redrives/{redrive_id}" | "/v1/dead-letters/redrives/{redrive_id}/stop" => {
                Self::Redrive
            }
            _ => {
                let below = [
                    ("/v1/jobs/{id}", Self::Job),
                    ("/v1/queues/{name}", Self::Queue),
                    ("/v1/kinds/{name}", Self::Kind),
                    ("/v1/schedules/{name}", Self::Schedule),
                ];
                below
                    .into_iter()
                    .find(|(prefix, _)| path.starts_with(prefix))
                    .map(|(_, reach)| reach)
                    .unwrap_or_default()
            }
        }
    }
}

/// Compares requests with the limits of their keys.
#[derive(Clone, Debug)]
pub(crate) struct RouteGuard {
    pub(crate) reach: Reach,
    pub(crate) store: StoreAccess,
    pub(crate) submissions: Submissions,
}

impl RouteGuard {
    /// Refuses a request that concerns more than the key grants. An object that the key does not include does not exist for it.
    pub(crate) async fn check(&self, grant: &Grant, request: &mut Request) -> Result<(), Problem> {
        let params = request.extract_parts::<RawPathParams>().await;
        let id = params.ok().and_then(|params| params.iter().next().map(|(_, value)| value.to_owned()));
        let id = id.unwrap_or_default();
        match self.reach {
            Reach::Handler => Ok(()),
            Reach::Everything => Err(limits::too_wide("the whole installation")),
            Reach::Queues => limits::all_kinds(grant, "queues with the jobs of all kinds"),
            Reach::Queue => {
                limits::all_kinds(grant, "a queue with the jobs of all kinds")?;
                // the handler refuses what is no name
                match id.parse::<QueueName>() {
                    Ok(queue) if !grant.has_queue(&queue) => Err(missing("queue")),
                    _ => Ok(()),
                }
            }
            Reach::Kind => {
                limits::all_queues(grant, "a kind in all queues")?;
                match id.parse::<KindName>() {
                    Ok(kind) if !grant.has_kind(&kind) => Err(missing("kind")),
                    _ => Ok(()),
                }
            }
            Reach::Job => self.job(grant, &id).await,
            Reach::Schedule => self.schedule(grant, &id).await,
            Reach::Worker => self.worker(grant, &id).await,
            Reach::Redrive => self.redrive(grant, &id).await,
        }
    }

    async fn job(&self, grant: &Grant, id: &str) -> Result<(), Problem> {
        let Ok(id) = id.parse::<JobId>() else { return Ok(()) };
        let known = self.store.call(move |store| async move { store.queues_and_kinds(&[id]).await }).await?;
        let is_granted =
            |(_, queue, kind): &(JobId, QueueName, KindName)| grant.has_queue(queue) && grant.has_kind(kind);
        if known.iter().any(is_granted) { Ok(()) } else { Err(Problem::no_job()) }
    }

    /// A schedule that does not exist is left to the handler, which may create it.
    async fn schedule(&self, grant: &Grant, name: &str) -> Result<(), Problem> {
        let Ok(name) = name.parse::<ScheduleName>() else { return Ok(()) };
        let found = self.store.call(move |store| async move { store.schedules().get(&name).await }).await?;
        let Some(record) = found else { return Ok(()) };
        let routes = self.submissions.routes().await?;
        let is_granted =
            record.parsed().is_ok_and(|schedule| limits::has_schedule(grant, &schedule, &routes));
        if is_granted { Ok(()) } else { Err(missing("schedule")) }
    }

    async fn worker(&self, grant: &Grant, id: &str) -> Result<(), Problem> {
        limits::all_kinds(grant, "a worker with the jobs of all its kinds")?;
        let Some(id) = crate::extract::path::uuid_of(id).map(WorkerId::from_uuid) else { return Ok(()) };
        let found = self.store.call(move |store| async move { store.worker(id).await }).await?;
        let is_granted = found.is_some_and(|worker| limits::has_worker(grant, &worker));
        if is_granted { Ok(()) } else { Err(missing("live worker")) }
    }

    async fn redrive(&self, grant: &Grant, id: &str) -> Result<(), Problem> {
        let Some(id) = crate::extract::path::uuid_of(id) else { return Ok(()) };
        let found =
            self.store.call(move |store| async move { store.dead_letters().redrive(id).await }).await?;
        let is_granted = found.is_some_and(|redrive| limits::has_filter(grant, &redrive.filter));
        if is_granted { Ok(()) } else { Err(missing("redrive")) }
    }
}

fn missing(what: &str) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("there is no such {what}, or the key does not include it"))
}
