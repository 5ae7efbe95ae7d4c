//! POST /v1/jobs: one job, stored together with those that came at the same time.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::NewJob;
use jobqueue_runtime::trace::current_traceparent;
use jobqueue_store::{Accepted, Answer, Submission};

use super::{accepted_view, records_of};
use crate::extract::{IdempotencyKey, JsonBody};
use crate::middleware::auth::Caller;
use crate::middleware::replay;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::{EnqueueBody, JobView};

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
    headers: HeaderMap,
    key: IdempotencyKey,
    body: JsonBody<EnqueueBody>,
) -> Result<Response, Problem> {
    let idempotency = key.of("POST /v1/jobs", caller.name, &body.text);
    let draft = body.value.into_draft(traceparent(&headers).as_deref());
    let job = NewJob::parse(draft, &state.limits).map_err(|errors| Problem::fields(&errors))?;
    let submission = Submission { jobs: vec![job.clone()], atomic: true, idempotency };
    let answer = state.submitter.submit(submission, body.room).await?;
    respond(&state, job, answer).await
}

/// The trace to store with the jobs of a request: our own span if it is exported, else what the client sent. A header
/// that is not valid is ignored, as W3C demands.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let sent = || {
        let text = headers.get("traceparent")?.to_str().ok()?.to_owned();
        jobqueue_core::TraceParent::try_from(text).ok().map(String::from)
    };
    current_traceparent().or_else(sent)
}

async fn respond(state: &ApiState, job: NewJob, answer: Answer) -> Result<Response, Problem> {
    let (accepted, replayed) = served(answer)?;
    let records = records_of(state, &accepted, std::slice::from_ref(&job)).await?;
    let first = accepted.into_iter().next().ok_or_else(Problem::internal)?;
    let (code, view) = accepted_view(first, job, &records)?;
    let location =
        HeaderValue::from_str(&format!("/v1/jobs/{}", view.id())).map_err(|_| Problem::internal())?;
    let mut response = (code, [(LOCATION, location)], Json(view)).into_response();
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
