//! PATCH /v1/jobs/{id}: changes a job that waits. Owns the `ETag` of a waiting job.

use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jobqueue_core::{JobDraft, JobEdit, JobRecord, Status};
use jobqueue_store::{Edited, Notifier};
use sha2::{Digest as _, Sha256};

use super::record::wrong_status;
use crate::acting::Acting;
use crate::extract::{JobCondition, JobPath, JsonBody};
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::{Problem, ProblemKind};
use crate::submissions::Submissions;
use crate::wire::edit::EditBody;
use crate::wire::job::JobView;

/// Change a waiting job.
///
/// The body is a JSON merge patch (RFC 7396): `null` sets a field back to its default, `payload` and `metadata` are merged, and any other
/// value replaces the field. The result must be a valid submission. Only a scheduled, queued or blocked job can be edited: once a worker
/// has it, the answer is 409 and nothing has changed. After 200, no attempt begins with the old values.
#[utoipa::path(patch, path = "/v1/jobs/{id}", operation_id = "edit_job", tag = "jobs", request_body = EditBody,
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses(
        (status = 200, description = "The job, changed or as requested already", body = JobView, headers(("ETag" = String, description = "Its version, for `If-Match`"))),
        (status = 404, description = "No such job"),
        (status = 409, description = "Running or final, or another job holds its unique key in the new queue"),
        (status = 412, description = "`If-Match` does not hold"),
    ))]
pub(crate) async fn edit(
    store: Acting,
    State(submissions): State<Submissions>,
    State(notifier): State<Notifier>,
    (JobPath(id), condition, Extension(caller)): (JobPath, JobCondition, Extension<Caller>),
    body: JsonBody<EditBody>,
) -> Result<Response, Problem> {
    let _memory = body.memory;
    let (change, limits) = (body.value.into_draft(), submissions.limits_of(true).await?);
    if change.payload.is_some() {
        may_write_payload(&caller)?;
    }
    may_compare(&caller, &condition)?;
    let shows_holder = caller.grant().has_all_kinds();
    let decide = move |record: &JobRecord| {
        if condition.holds(|| tag(record)) {
            let edit =
                JobEdit::parse(record, change.clone(), &limits).map_err(|errors| Problem::fields(&errors))?;
            edit.iter().try_for_each(|edit| limits::queue(caller.grant(), &edit.job.queue))?;
            Ok(edit)
        } else {
            let detail = "the job has changed since the version of `If-Match`; read it again";
            Err(Problem::new(ProblemKind::PreconditionFailed, detail))
        }
    };
    let edited = store.call(move |store| async move { store.jobs().edit(id, decide).await }).await?;
    let record = match edited {
        Edited::Job(record, changed) => {
            if changed && record.status == Status::Queued {
                notifier.wake(&record.job.queue);
            }
            *record
        }
        Edited::Refused(problem) => return Err(problem),
        Edited::NotWaiting(status) => {
            return Err(wrong_status(status, "only a scheduled, queued or blocked job can be edited"));
        }
        Edited::KeyTaken(holder) => {
            let detail = "in the new queue, the job `job_id` holds the unique key";
            let problem = Problem::new(ProblemKind::UniqueConflict, detail);
            return Err(if shows_holder { problem.with("job_id", holder.to_string()) } else { problem });
        }
        Edited::Unknown => return Err(Problem::no_job()),
    };
    Ok(view(record))
}

/// Refuses a new payload from a key that does not see all of the old one: it could only replace what it does not see.
pub(crate) fn may_write_payload(caller: &Caller) -> Result<(), Problem> {
    if caller.grant().hide.hides_payload() {
        let detail = "the key does not see the whole payload, so it must not replace it";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    Ok(())
}

/// Refuses an `ETag` from a key that does not see all that it is made of: the answer would say whether a guess is right.
fn may_compare(caller: &Caller, condition: &JobCondition) -> Result<(), Problem> {
    let hide = &caller.grant().hide;
    if matches!(condition, JobCondition::OneOf(_)) && (hide.hides_payload() || hide.hides_end()) {
        let detail = "the key does not see the whole job, so it must not compare its `ETag`: send `If-Match: *` or none";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    Ok(())
}

/// The response with one job. A waiting one has an `ETag`.
pub(super) fn view(record: JobRecord) -> Response {
    let mut headers = HeaderMap::new();
    if record.status.is_waiting()
        && let Ok(tag) = HeaderValue::from_str(&tag(&record))
    {
        headers.insert(ETAG, tag);
    }
    (headers, Json(JobView::from(record))).into_response()
}

/// The `ETag` of a waiting job: a hash of its status and of everything that an edit can change. Jobs store no version number, because only
/// edits would use it.
fn tag(record: &JobRecord) -> String {
    let draft = serde_json::to_vec(&JobDraft::of(record)).unwrap_or_default();
    let hash = Sha256::new()
        .chain_update(record.job.id.as_uuid().as_bytes())
        .chain_update(record.status.as_str())
        .chain_update(b"\0")
        .chain_update(draft)
        .finalize();
    let (half, _) = hash.split_at(16);
    let half = half.try_into().map_or(0, u128::from_be_bytes);
    format!("\"{half:032x}\"")
}
