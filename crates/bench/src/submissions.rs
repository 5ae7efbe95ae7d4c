//! The jobs that are submitted.

use jobqueue_core::{JobDraft, Json, Limits, NewJob};
use jobqueue_store::Submission;

/// About a hundred bytes, as a usual payload.
const PAYLOAD: &str =
    r#"{"to":"someone@example.com","subject":"hello","body":"a hundred bytes of text, more or less"}"#;
/// Kind of the job that does nothing.
pub(crate) const KIND: &str = "noop";

/// A draft of the plain job.
pub(crate) fn draft() -> anyhow::Result<JobDraft> {
    draft_with(PAYLOAD.to_owned())
}

/// A draft with this payload.
pub(crate) fn draft_with(payload: String) -> anyhow::Result<JobDraft> {
    Ok(JobDraft { kind: KIND.to_owned(), payload: Some(Json::parse(payload)?), ..JobDraft::default() })
}

/// A payload of about so many bytes, with what it asks of its handler.
pub(crate) fn padded(asks: &str, bytes: usize) -> String {
    format!(r#"{{{asks}"body":"{}"}}"#, "x".repeat(bytes))
}

/// One request with these jobs.
pub(crate) fn submission(drafts: Vec<JobDraft>) -> anyhow::Result<Submission> {
    let parse =
        |draft| NewJob::parse(draft, &Limits::default()).map_err(|errors| anyhow::anyhow!("{errors:?}"));
    Ok(Submission {
        jobs: drafts.into_iter().map(parse).collect::<anyhow::Result<_>>()?,
        atomic: true,
        idempotency: None,
    })
}

/// The body of a POST of one plain job.
pub(crate) fn body() -> String {
    format!(r#"{{"kind":"{KIND}","payload":{PAYLOAD}}}"#)
}
