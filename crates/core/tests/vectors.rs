//! The test vectors of submissions, `vectors/submissions.json`. The tests of the API and of the store send the same
//! ones over REST and in SQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, Json, Limits, NewJob, OnConflict, RetryPolicy, Status, UniqueScope};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    submission: &'a RawValue,
    /// The pointer of the first error; `None` if the submission is valid.
    error: Option<String>,
    /// Whether the JSON has the wrong shape, such as an array instead of an object, which the API rejects before this
    /// crate parses it.
    #[serde(default)]
    shape: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unique {
    key: Option<String>,
    #[serde(default)]
    scope: UniqueScope,
    statuses: Option<Vec<Status>>,
    #[serde(default)]
    on_conflict: OnConflict,
}

fn field<T: serde::de::DeserializeOwned>(
    fields: &mut HashMap<String, Box<RawValue>>,
    name: &str,
) -> Result<Option<T>, String> {
    let value = fields.remove(name).map(|raw| serde_json::from_str(raw.get()));
    value.transpose().map(Option::flatten).map_err(|_| format!("/{name}"))
}

/// The payload; JSON's null is a valid payload.
fn payload(fields: &mut HashMap<String, Box<RawValue>>) -> Result<Option<Json>, String> {
    fields.remove("payload").map(Json::from_raw).transpose().map_err(|_| "/payload".to_owned())
}

fn draft(text: &str) -> Result<JobDraft, String> {
    let mut fields: HashMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap();
    let all = &mut fields;
    let unique: Option<Unique> = field(all, "unique")?;
    let draft = JobDraft {
        queue: field(all, "queue")?,
        kind: field(all, "kind")?.unwrap_or_default(),
        payload: payload(all)?,
        priority: field(all, "priority")?,
        run_at: field(all, "run_at")?,
        delay_seconds: field(all, "delay_seconds")?,
        expires_at: field(all, "expires_at")?,
        max_attempts: field(all, "max_attempts")?,
        max_snoozes: field(all, "max_snoozes")?,
        retry: field::<RetryPolicy>(all, "retry")?,
        timeout_seconds: field(all, "timeout_seconds")?,
        soft_timeout_seconds: field(all, "soft_timeout_seconds")?,
        unique: unique.map(|unique| UniqueDraft {
            key: unique.key.unwrap_or_default(),
            scope: unique.scope,
            statuses: unique.statuses,
            on_conflict: unique.on_conflict,
        }),
        tags: field(all, "tags")?,
        metadata: field(all, "metadata")?,
        traceparent: field(all, "traceparent")?,
        on_end: field(all, "on_end")?,
    };
    fields.into_keys().next().map_or(Ok(draft), |unknown| Err(format!("/{unknown}")))
}

fn verdict(text: &str) -> Option<String> {
    let now: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().unwrap();
    let limits = Limits { now: Some(now), ..Limits::default() };
    match draft(text) {
        Err(pointer) => Some(pointer),
        Ok(draft) => NewJob::parse(draft, &limits).err().map(|errors| errors[0].pointer.clone()),
    }
}

#[test]
fn each_submission_has_its_verdict() {
    let vectors: Vec<Vector<'_>> = serde_json::from_str(include_str!("vectors/submissions.json")).unwrap();
    assert!(vectors.len() > 150);
    for Vector { submission, error, .. } in vectors.into_iter().filter(|vector| !vector.shape) {
        let found = verdict(submission.get());
        // only the wire types know the pointer inside of a field that cannot be parsed
        let same = match (&found, &error) {
            (Some(found), Some(error)) => error == found || error.starts_with(&format!("{found}/")),
            (found, error) => found.is_none() && error.is_none(),
        };
        assert!(same, "{found:?} instead of {error:?}: {submission}");
    }
}
