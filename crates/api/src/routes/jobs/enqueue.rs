//! POST /v1/jobs: one job, stored together with those that came at the same time.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};
use jobqueue_core::NewJob;
use jobqueue_store::{Accepted, Answer, Submission};

use super::{accepted_view, records_of};
use crate::extract::{IdempotencyKey, JsonBody, Trace};
use crate::middleware::auth::Caller;
use crate::middleware::replay;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::{EnqueueBody, JobView};

/// Room for an answer without its payload, as a rule.
const ANSWER_BYTES: usize = 1024;

/// Submit a job.
///
/// A 2xx means that the job is stored for good. With an `Idempotency-Key` (kept for a day at least) the request can be
/// sent again after any doubt: it is answered as the first time, with the header `Idempotent-Replayed: true`.
#[utoipa::path(post, path = "/v1/jobs", operation_id = "enqueue_job", tag = "jobs", request_body = EnqueueBody,
    responses(
        (status = 201, description = "Stored", body = JobView, headers(("Location" = String, description = "The job"))),
        (status = 200, description = "Another job holds the unique key; this is it", body = JobView),
        (status = 409, description = "Another job holds the unique key, and the job asked for a refusal then"),
        (status = 429, description = "Too many submissions wait for their commit"),
    ))]
pub(crate) async fn enqueue(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Trace(trace): Trace,
    key: IdempotencyKey,
    body: JsonBody<EnqueueBody>,
) -> Result<Response, Problem> {
    let idempotency = key.of("POST /v1/jobs", caller.name, &body.text);
    let draft = body.value.into_draft(trace.as_deref());
    let job = NewJob::parse(draft, &state.limits).map_err(|errors| Problem::fields(&errors))?;
    let submission = Submission { jobs: vec![job.clone()], atomic: true, idempotency };
    let answer = state.submitter.submit(submission, body.room).await?;
    respond(&state, job, answer).await
}

async fn respond(state: &ApiState, job: NewJob, answer: Answer) -> Result<Response, Problem> {
    let (accepted, replayed) = served(answer)?;
    let records = records_of(state, &accepted, std::slice::from_ref(&job)).await?;
    let first = accepted.into_iter().next().ok_or_else(Problem::internal)?;
    let (code, view) = accepted_view(first, job, &records)?;
    let location =
        HeaderValue::from_str(&format!("/v1/jobs/{}", view.id())).map_err(|_| Problem::internal())?;
    // axum's `Json` begins with 128 bytes and grows by copying
    let mut text = Vec::with_capacity(ANSWER_BYTES + view.payload_bytes());
    serde_json::to_writer(&mut text, &view).map_err(|_| Problem::internal())?;
    let headers = [(LOCATION, location), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (code, headers, text).into_response();
    if replayed {
        replay::mark(&mut response);
    }
    Ok(response)
}

/// What became of the jobs, and whether that is old news.
pub(super) fn served(answer: Answer) -> Result<(Vec<Accepted>, bool), Problem> {
    match answer {
        Answer::Served { jobs, replayed } => Ok((jobs, replayed)),
        Answer::KeyReused => Err(Problem::key_reused()),
    }
}
