//! The jobs that are submitted.

use std::sync::LazyLock;

use jobqueue_core::{JobDraft, Json, Limits, NewJob};
use jobqueue_store::Submission;
use rand::SeedableRng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::StdRng;

/// A typical payload of about a hundred bytes.
pub(crate) const PAYLOAD: &str =
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

/// Text that cannot be compressed much; payloads are parts of it.
static NOISE: LazyLock<String> =
    LazyLock::new(|| Alphanumeric.sample_string(&mut StdRng::seed_from_u64(1), 1 << 20));

/// A payload of about this many bytes, different for each `n`, with members that control the handler.
pub(crate) fn padded(members: &str, bytes: usize, n: usize) -> String {
    let from = n * 4099 % (NOISE.len() - bytes);
    format!(r#"{{{members}"body":"{}"}}"#, NOISE.get(from..from + bytes).unwrap_or_default())
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
