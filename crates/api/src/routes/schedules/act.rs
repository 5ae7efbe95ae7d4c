//! Pause, resume and run.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use jobqueue_core::Status;
use jobqueue_store::{Accepted, Answer, Notifier};

use super::{changed, read, valid};
use crate::acting::Acting;
use crate::extract::SchedulePath;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::routes::jobs::enqueue::respond;
use crate::submissions::Submissions;
use crate::wire::job::JobView;
use crate::wire::name::ScheduleText;
use crate::wire::schedule::ScheduleView;

/// Pause a schedule: it has no ticks.
///
/// Jobs that it has enqueued are not affected. A tick that waits for the job before it keeps waiting.
#[utoipa::path(post, path = "/v1/schedules/{name}/pause", operation_id = "pause_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses((status = 200, description = "The schedule", body = ScheduleView), (status = 404, description = "No such schedule")))]
pub(crate) async fn pause(store: Acting, SchedulePath(name): SchedulePath) -> Result<Response, Problem> {
    changed(store.call(move |store| async move { store.schedules().pause(&name).await }).await?)
}

/// Resume a paused schedule, with the next tick after now.
///
/// The times of the pause had no ticks, so none of them counts as missed.
#[utoipa::path(post, path = "/v1/schedules/{name}/resume", operation_id = "resume_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses((status = 200, description = "The schedule", body = ScheduleView), (status = 404, description = "No such schedule")))]
pub(crate) async fn resume(store: Acting, SchedulePath(name): SchedulePath) -> Result<Response, Problem> {
    changed(store.call(move |store| async move { store.schedules().resume(&name).await }).await?)
}

/// Enqueue the job of a schedule once, now.
///
/// Its ticks do not shift, and it does not count as a run of them: overlap rules, `max_runs` and pauses do not apply. The `tick` in the
/// metadata of the job is the present time.
#[utoipa::path(post, path = "/v1/schedules/{name}/run", operation_id = "run_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses(
        (status = 201, description = "The job", body = JobView, headers(("Location" = String, description = "The job"))),
        (status = 200, description = "Another job holds the unique key; it is returned", body = JobView),
        (status = 404, description = "No such schedule"),
        (status = 409, description = "The schedule is invalid, or another job holds the unique key and `on_conflict` is `reject`"),
    ))]
pub(crate) async fn run(
    store: Acting,
    (State(submissions), State(notifier)): (State<Submissions>, State<Notifier>),
    Extension(caller): Extension<Caller>,
    SchedulePath(name): SchedulePath,
) -> Result<Response, Problem> {
    let schedule = valid(&read(&store, name.clone()).await?)?;
    let now = store.call(|store| async move { store.time().await }).await?.ok_or_else(Problem::internal)?;
    let job = schedule.routed(&*submissions.routes().await?).job(now, now);
    let new = job.clone();
    let accepted = store.call(move |store| async move { store.schedules().run(&name, &new).await }).await?;
    if matches!(accepted, Accepted::Created { status: Status::Queued, .. }) {
        notifier.wake(&job.queue);
    }
    respond(&submissions, caller.grant(), job, Answer::Served { jobs: vec![accepted], replayed: false }).await
}
