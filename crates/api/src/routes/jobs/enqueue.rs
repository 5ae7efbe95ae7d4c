//! POST /v1/jobs: submits one job. Jobs that arrive at the same time are stored in one transaction.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};
use jobqueue_core::{Grant, NewJob};
use jobqueue_store::{Accepted, Answer, Submission};

use super::accepted::{accepted_view, records_of};
use crate::extract::{IdempotencyKey, JsonBody, Trace};
use crate::middleware::auth::Caller;
use crate::middleware::replay;
use crate::problem::Problem;
use crate::submissions::Submissions;
use crate::wire::job::{EnqueueBody, JobView};

/// The usual size of a response without the payload.
const ANSWER_BYTES: usize = 1024;

/// Submit a job.
///
/// A 2xx means that the job is stored durably. A request with an `Idempotency-Key` can be repeated if its result is unknown:
/// it gets the response of the first request, with the header `Idempotent-Replayed: true`. Keys are kept for at least a day.
#[utoipa::path(post, path = "/v1/jobs", operation_id = "enqueue_job", tag = "jobs", request_body = EnqueueBody,
    responses(
        (status = 201, description = "Stored", body = JobView, headers(("Location" = String, description = "The job"))),
        (status = 200, description = "Another job holds the unique key; it is returned", body = JobView),
        (status = 409, description = "Another job holds the unique key, and `on_conflict` is `reject`"),
        (status = 429, description = "The queue has no room below `max_queued`, or too many submissions wait for their commit"),
    ))]
pub(crate) async fn enqueue(
    State(submissions): State<Submissions>,
    Extension(caller): Extension<Caller>,
    Trace(trace): Trace,
    key: IdempotencyKey,
    body: JsonBody<EnqueueBody>,
) -> Result<Response, Problem> {
    let idempotency = key.of("POST /v1/jobs", caller.identity(), &body.text);
    let draft = body.value.into_draft(trace.as_deref());
    let job = submissions.job(draft, caller.grant()).await?.map_err(|errors| Problem::fields(&errors))?;
    let submission = Submission { jobs: vec![job.clone()], atomic: true, idempotency };
    let answer = submissions.submit(submission, body.memory).await?;
    respond(&submissions, caller.grant(), job, answer).await
}

/// The answer to a stored job.
pub(crate) async fn respond(
    submissions: &Submissions,
    grant: &Grant,
    job: NewJob,
    answer: Answer,
) -> Result<Response, Problem> {
    let (accepted, replayed) = served(answer)?;
    let records = records_of((submissions, grant), &accepted, std::slice::from_ref(&job), replayed).await?;
    let first = accepted.into_iter().next().ok_or_else(Problem::internal)?;
    let (code, view) = accepted_view(grant, (first, job), &records)?;
    let location =
        HeaderValue::from_str(&format!("/v1/jobs/{}", view.id())).map_err(|_| Problem::internal())?;
    // axum's `Json` starts with a buffer of 128 bytes, which is copied each time it grows
    let mut text = Vec::with_capacity(ANSWER_BYTES + view.payload_bytes());
    serde_json::to_writer(&mut text, &view).map_err(|_| Problem::internal())?;
    let headers = [(LOCATION, location), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (code, headers, text).into_response();
    if replayed {
        replay::mark(&mut response);
    }
    Ok(response)
}

/// The result of each job, and whether it was replayed.
pub(super) fn served(answer: Answer) -> Result<(Vec<Accepted>, bool), Problem> {
    match answer {
        Answer::Served { jobs, replayed } => Ok((jobs, replayed)),
        Answer::KeyReused => Err(Problem::key_reused()),
    }
}
