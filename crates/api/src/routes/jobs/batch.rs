//! POST /v1/jobs/batch: many jobs in one transaction.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{FieldError, Grant, JobId, NewJob};
use jobqueue_store::{Accepted, Submission};
use serde_json::{Value, json};

use super::accepted::{accepted_view, records_of};
use super::enqueue::served;
use crate::extract::{IdempotencyKey, JsonBody, Trace};
use crate::middleware::auth::Caller;
use crate::middleware::replay;
use crate::problem::{Problem, ProblemKind};
use crate::submissions::Submissions;
use crate::wire::batch::{BatchBody, BatchItem, BatchView};
use crate::wire::job::{EnqueueBody, JobView};

type Checked = Result<NewJob, Vec<FieldError>>;

/// Submit up to 1000 jobs.
///
/// Atomic by default: if one job is invalid (422) or rejected because of its unique key (409), nothing is stored, and `errors`
/// lists every such job. Nothing is stored either if a queue has no room for all of its jobs (429). With `"atomic": false` each job is stored or refused on its own, and `items` has the result of each.
/// Once the response holds about 4 MiB of existing jobs, further ones are returned by their `job_id` only.
#[utoipa::path(post, path = "/v1/jobs/batch", operation_id = "enqueue_jobs", tag = "jobs", request_body = BatchBody,
    responses(
        (status = 201, description = "Atomic: all jobs are stored", body = BatchView),
        (status = 200, description = "Not atomic, or all jobs existed already: see each item", body = BatchView),
        (status = 409, description = "Atomic: a job was rejected; nothing was stored"),
        (status = 422, description = "Atomic: a job is invalid; nothing was stored"),
        (status = 429, description = "Atomic: a queue has no room for its jobs below `max_queued`; nothing was stored"),
    ))]
pub(crate) async fn batch(
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    Trace(trace): Trace,
    key: IdempotencyKey,
    body: JsonBody<BatchBody>,
) -> Result<Response, Problem> {
    let idempotency = key.of("POST /v1/jobs/batch", caller.identity(), &body.text);
    let checked = check((&submissions, caller.grant()), &body.value, trace.as_deref()).await?;
    let jobs: Vec<NewJob> = checked.iter().filter_map(|item| item.as_ref().ok().cloned()).collect();
    let submission = Submission { jobs, atomic: body.value.atomic, idempotency };
    let (accepted, replayed) = store(&submissions, submission).await?;
    if body.value.atomic {
        refuse_rejected(&submissions, caller.grant(), &accepted).await?;
        refuse_full(&checked, &accepted)?;
    }
    let mut response =
        respond((&submissions, caller.grant()), checked, (accepted, replayed), body.value.atomic).await?;
    if replayed {
        replay::mark(&mut response);
    }
    Ok(response)
}

/// Checks every job; an atomic batch fails with the errors of all of them.
async fn check(
    (submissions, grant): (&Submissions, &Grant),
    body: &BatchBody,
    traceparent: Option<&str>,
) -> Result<Vec<Checked>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.jobs.len()) {
        return Err(Problem::field("/jobs", "out_of_range", format!("must have 1 to {MAX_BATCH} entries")));
    }
    let mut checked: Vec<Checked> = Vec::with_capacity(body.jobs.len());
    for (at, raw) in body.jobs.iter().enumerate() {
        let prefix = format!("/jobs/{at}");
        checked.push(match EnqueueBody::item(raw.get(), &prefix) {
            Ok(item) => {
                let below = |error: FieldError| error.below(&prefix);
                let job = submissions.job(item.into_draft(traceparent), grant).await?;
                job.map_err(|errors| errors.into_iter().map(below).collect())
            }
            Err(error) => Err(vec![error]),
        });
    }
    if body.atomic {
        let errors: Vec<FieldError> =
            checked.iter().filter_map(|item| item.as_ref().err()).flatten().cloned().collect();
        if !errors.is_empty() {
            return Err(Problem::fields(&errors));
        }
    }
    Ok(checked)
}

async fn store(submissions: &Submissions, submission: Submission) -> Result<(Vec<Accepted>, bool), Problem> {
    if submission.jobs.is_empty() {
        return Ok((vec![], false));
    }
    served(submissions.submit_batch(submission).await?)
}

/// Fails if a queue has no room for the jobs of an atomic batch.
fn refuse_full(checked: &[Checked], accepted: &[Accepted]) -> Result<(), Problem> {
    let full = checked.iter().zip(accepted).find_map(|(job, accepted)| match (job, accepted) {
        (Ok(job), Accepted::Full { retry_after_seconds }) => Some((&job.queue, *retry_after_seconds)),
        _ => None,
    });
    full.map_or(Ok(()), |(queue, seconds)| Err(Problem::queue_full(queue, seconds)))
}

async fn refuse_rejected(
    submissions: &Submissions,
    grant: &Grant,
    accepted: &[Accepted],
) -> Result<(), Problem> {
    let rejected: Vec<(usize, JobId)> = accepted
        .iter()
        .enumerate()
        .filter_map(|(at, one)| if let Accepted::Rejected(holder) = one { Some((at, *holder)) } else { None })
        .collect();
    if rejected.is_empty() {
        return Ok(());
    }
    let errors: Vec<FieldError> = rejected
        .iter()
        .map(|(at, _)| {
            FieldError::new(format!("/jobs/{at}/unique/key"), "conflict", "another job holds this key")
        })
        .collect();
    let ids: Vec<JobId> = rejected.iter().map(|(_, id)| *id).collect();
    let shown = submissions.granted(grant, ids).await?;
    let holders: Vec<Value> = rejected
        .iter()
        .map(|(at, id)| json!({ "index": at, "job_id": shown.contains(id).then(|| id.to_string()) }))
        .collect();
    let problem = Problem::new(
        ProblemKind::UniqueConflict,
        "nothing was stored; `holders` lists the jobs that hold the unique keys",
    );
    Err(problem.with("holders", holders).with_errors(&errors))
}

async fn respond(
    (submissions, grant): (&Submissions, &Grant),
    checked: Vec<Checked>,
    (accepted, replayed): (Vec<Accepted>, bool),
    atomic: bool,
) -> Result<Response, Problem> {
    let jobs: Vec<NewJob> = checked.iter().filter_map(|item| item.as_ref().ok().cloned()).collect();
    let records = records_of((submissions, grant), &accepted, &jobs, replayed).await?;
    let unread = |one: &Accepted| match one {
        Accepted::Existing(id) if !records.contains_key(id) => Some(*id),
        _ => None,
    };
    let shown = submissions.granted(grant, accepted.iter().filter_map(unread).collect()).await?;
    let mut stored = accepted.into_iter().zip(jobs).map(|(one, job)| match one {
        Accepted::Existing(id) if shown.contains(&id) => left_out(id),
        one => answer(accepted_view(grant, (one, job), &records)),
    });
    let item = |item: Checked| match item.map_err(|errors| Problem::fields(&errors)) {
        Ok(_) => stored.next().unwrap_or_else(|| answer(Err(Problem::internal()))),
        Err(problem) => answer(Err(problem)),
    };
    let items: Vec<BatchItem> = checked.into_iter().map(item).collect();
    let created = items.iter().any(|item| item.status == StatusCode::CREATED.as_u16());
    let code = if atomic && created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, Json(BatchView { items })).into_response())
}

/// An existing job that is left out because the response is too large.
fn left_out(id: JobId) -> BatchItem {
    BatchItem { status: StatusCode::OK.as_u16(), job_id: Some(id.as_uuid()), job: None, problem: None }
}

fn answer(outcome: Result<(StatusCode, JobView), Problem>) -> BatchItem {
    match outcome {
        Ok((code, view)) => {
            let job_id = Some(view.id().as_uuid());
            BatchItem { status: code.as_u16(), job_id, job: Some(view), problem: None }
        }
        Err(problem) => {
            let status = problem.kind().status().as_u16();
            BatchItem { status, job_id: None, job: None, problem: Some(problem.to_json(None)) }
        }
    }
}
