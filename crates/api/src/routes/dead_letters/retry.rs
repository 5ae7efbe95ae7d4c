//! POST /v1/dead-letters/{id}/retry.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::{JobId, Json as Payload};
use jobqueue_store::{Notifier, Replaced, Store};

use crate::acting::Acting;
use crate::extract::{JobPath, JsonBody};
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::routes::jobs::edit::may_write_payload;
use crate::routes::jobs::record::{read, wrong_status};
use crate::routes::jobs::retry;
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::wire::dead_letter::DeadLetterRetryBody;
use crate::wire::job::JobView;

/// Retry a dead letter, as it is or with another payload.
///
/// Without `payload` the same job runs again, like `POST /v1/jobs/{id}/retry`. With `payload` a new job takes its place, with everything else as
/// it was submitted; `retry_of` in its metadata names the old job. The old job stays failed, and is no dead letter any more.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/retry", operation_id = "retry_dead_letter", tag = "dead letters", request_body = DeadLetterRetryBody,
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses(
        (status = 200, description = "The job is queued again", body = JobView),
        (status = 201, description = "The new job", body = JobView, headers(("Location" = String, description = "The new job"))),
        (status = 404, description = "No such job"),
        (status = 409, description = "The job is no dead letter, or it has expired, or another job holds its unique key"),
    ))]
pub(crate) async fn retry(
    store: Acting,
    State(submissions): State<Submissions>,
    State(notifier): State<Notifier>,
    (JobPath(id), Extension(caller)): (JobPath, Extension<Caller>),
    body: JsonBody<DeadLetterRetryBody>,
) -> Result<Response, Problem> {
    match body.value.payload {
        None => Ok(retry::again(&store, &notifier, id).await?.into_response()),
        Some(payload) => {
            may_write_payload(&caller)?;
            replace(&store, &submissions, &notifier, id, payload).await
        }
    }
}

async fn replace(
    store: &Acting,
    submissions: &Submissions,
    notifier: &Notifier,
    id: JobId,
    payload: Payload,
) -> Result<Response, Problem> {
    let limits = submissions.limits();
    let replace = move |store: Store| async move { store.dead_letters().replace(id, payload, &limits).await };
    let by = match store.call(replace).await? {
        Replaced::By { id, queue, .. } => {
            notifier.wake(&queue);
            id
        }
        other => return Err(refusal(store, id, other).await?),
    };
    let location = HeaderValue::from_str(&format!("/v1/jobs/{by}")).map_err(|_| Problem::internal())?;
    let view = JobView::from(read(store, by).await?);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)).into_response())
}

async fn refusal(store: &StoreAccess, id: JobId, replaced: Replaced) -> Result<Problem, Problem> {
    Ok(match replaced {
        Replaced::Before(by) => Problem::new(
            ProblemKind::WrongStatus,
            "it was retried with another payload before, as the job `job_id`",
        )
        .with("job_id", by.to_string()),
        Replaced::KeyTaken(holder) => {
            Problem::new(ProblemKind::UniqueConflict, "the job `job_id` holds its unique key now")
                .with("job_id", holder.to_string())
        }
        Replaced::Expired => {
            Problem::new(ProblemKind::JobExpired, "its `expires_at` has passed; submit a new job instead")
        }
        Replaced::Invalid(errors) => Problem::fields(&errors),
        Replaced::Unknown => Problem::no_job(),
        Replaced::NotFailed | Replaced::By { .. } => wrong_status(
            read(store, id).await?.status,
            "only a failed job can be retried with another payload",
        ),
    })
}
