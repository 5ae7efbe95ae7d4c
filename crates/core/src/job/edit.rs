//! The edit of a waiting job: what an operator changes before it runs, and the checks of the result. Owns which fields can be edited.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Job, JobDraft, JobRecord, NewJob, Start};
use crate::field::FieldError;
use crate::json::Json;
use crate::limits::Limits;
use crate::on_end::WEBHOOK_KIND;
use crate::retry::RetryPolicy;
use crate::status::Status;
use crate::time::timestamp;

/// A change of a waiting job, unchecked. `None` leaves a field as it is. `Some(None)` sets it back to the default of a submission.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EditDraft {
    /// Another queue. The job keeps its place by time of submission.
    pub queue: Option<Option<String>>,
    /// A JSON merge patch (RFC 7396) of the payload.
    pub payload: Option<Option<Json>>,
    /// Another priority.
    pub priority: Option<Option<i64>>,
    /// RFC 3339 timestamp of the next start. `Some(None)`: now.
    pub run_at: Option<Option<String>>,
    /// Delay of the next start, in seconds from now. Excludes `run_at`.
    pub delay_seconds: Option<f64>,
    /// RFC 3339 timestamp after which the job is cancelled instead of started. `Some(None)`: never.
    pub expires_at: Option<Option<String>>,
    /// Maximum number of attempts, more than have begun.
    pub max_attempts: Option<Option<i64>>,
    /// Maximum number of snoozes.
    pub max_snoozes: Option<Option<i64>>,
    /// Another retry policy. It is replaced as a whole, because its fields depend on its strategy.
    pub retry: Option<Option<RetryPolicy>>,
    /// Time limit of one attempt, in seconds.
    pub timeout_seconds: Option<Option<f64>>,
    /// Time in seconds after which the handler is warned.
    pub soft_timeout_seconds: Option<Option<f64>>,
    /// Other labels. They are replaced as a whole.
    pub tags: Option<Option<Vec<String>>>,
    /// A JSON merge patch (RFC 7396) of the metadata.
    pub metadata: Option<Option<Json>>,
}

/// A checked edit: the whole job as it shall be.
#[derive(Clone, Debug)]
pub struct JobEdit {
    /// The edited job. Its kind is the same as before. Its unique key is not set here, because it stays as it is.
    pub job: NewJob,
    /// When the next attempt may start. `None` leaves the job where it is.
    pub start: Option<Start>,
    /// Whether `expires_at` changed.
    pub changes_expiry: bool,
    /// Whether `max_snoozes` changed.
    pub changes_snoozes: bool,
}

impl JobEdit {
    /// Applies a change to the job as it is now. `None`: nothing would change. Reports all field errors at once.
    pub fn parse(
        record: &JobRecord,
        change: EditDraft,
        limits: &Limits,
    ) -> Result<Option<Self>, Vec<FieldError>> {
        let before = JobDraft::of(record);
        let (after, mut errors) = apply(&before, record, change);
        if after == before && errors.is_empty() {
            return Ok(None);
        }
        errors.extend(changes_of_a_delivery(&before, &after));
        let starts_anew = after.run_at != before.run_at || after.delay_seconds.is_some();
        let changes_expiry = after.expires_at != before.expires_at;
        let changes_snoozes = after.max_snoozes != before.max_snoozes;
        let job = match NewJob::parse(after, limits) {
            Ok(job) => job,
            Err(more) => {
                errors.extend(more);
                return Err(errors);
            }
        };
        if job.max_attempts <= record.job.attempt {
            let message =
                format!("must be above {}, the number of attempts that have begun", record.job.attempt);
            errors.push(FieldError::new("/max_attempts", "out_of_range", message));
        }
        let start = starts_anew.then_some(job.start);
        if errors.is_empty() {
            Ok(Some(Self { job, start, changes_expiry, changes_snoozes }))
        } else {
            Err(errors)
        }
    }
}

impl JobDraft {
    /// The draft that a waiting job would be submitted as now, without its unique key.
    pub fn of(record: &JobRecord) -> Self {
        let Job {
            queue,
            kind,
            payload,
            priority,
            max_attempts,
            retry,
            timeout,
            soft_timeout,
            expires_at,
            ..
        } = record.job.clone();
        let waits_for_time = matches!(record.status, Status::Scheduled | Status::Blocked);
        Self {
            queue: Some(queue.into()),
            kind: kind.into(),
            payload: Some(payload),
            priority: Some(priority.into()),
            run_at: record.run_at.filter(|_| waits_for_time).map(text),
            delay_seconds: None,
            expires_at: expires_at.map(text),
            max_attempts: Some(max_attempts.into()),
            max_snoozes: Some(record.max_snoozes.into()),
            retry,
            timeout_seconds: timeout.map(|limit| limit.as_secs_f64()),
            soft_timeout_seconds: soft_timeout.map(|limit| limit.as_secs_f64()),
            unique: None,
            on_end: None,
            tags: Some(record.job.tags.clone()),
            metadata: record.job.metadata.clone(),
            traceparent: record.job.traceparent.clone().map(String::from),
        }
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A timestamp as [`JobDraft::of`] writes it, so that equal ones are equal texts. What is no timestamp stays, for the check to refuse it.
fn normal(at: Option<String>) -> Option<String> {
    at.map(|given| timestamp(&given).map_or(given, text))
}

/// The draft after the change, and what is wrong with merged documents.
fn apply(before: &JobDraft, record: &JobRecord, change: EditDraft) -> (JobDraft, Vec<FieldError>) {
    let mut after = before.clone();
    let mut errors = Vec::new();
    let mut merge = |pointer: &str, target: Option<&Json>, patch: Json| {
        let empty = Json::default();
        target.unwrap_or(&empty).merged(&patch).unwrap_or_else(|error| {
            errors.push(FieldError::new(pointer, "invalid", error.to_string()));
            patch
        })
    };
    if let Some(payload) = change.payload {
        let merged = payload.map(|patch| merge("/payload", Some(&record.job.payload), patch));
        after.payload = Some(merged.unwrap_or_default());
    }
    if let Some(metadata) = change.metadata {
        after.metadata = metadata.map(|patch| merge("/metadata", record.job.metadata.as_ref(), patch));
    }
    set(&mut after.queue, change.queue.map(|queue| Some(queue.unwrap_or_else(|| "default".to_owned()))));
    set(&mut after.priority, change.priority.map(|priority| Some(priority.unwrap_or(0))));
    if change.delay_seconds.is_some() {
        (after.run_at, after.delay_seconds) = (None, change.delay_seconds);
    }
    set(&mut after.run_at, change.run_at.map(normal));
    set(&mut after.expires_at, change.expires_at.map(normal));
    set(&mut after.max_attempts, change.max_attempts);
    set(&mut after.max_snoozes, change.max_snoozes);
    set(&mut after.retry, change.retry);
    set(&mut after.timeout_seconds, change.timeout_seconds);
    set(&mut after.soft_timeout_seconds, change.soft_timeout_seconds);
    if let Some(tags) = change.tags {
        after.tags = Some(tags.unwrap_or_default());
    }
    (after, errors)
}

/// A delivery of a webhook is signed with a secret that the caller may not know, so what it sends cannot be changed.
fn changes_of_a_delivery(before: &JobDraft, after: &JobDraft) -> Vec<FieldError> {
    let changes =
        [("/payload", after.payload != before.payload), ("/metadata", after.metadata != before.metadata)];
    let refused = changes.into_iter().filter(|(_, changed)| *changed && before.kind == WEBHOOK_KIND);
    let message = "a delivery of a webhook cannot be changed";
    refused.map(|(pointer, _)| FieldError::new(pointer, "conflict", message)).collect()
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    fn record(status: Status) -> JobRecord {
        JobRecord {
            job: Job { attempt: 2, payload: json(r#"{"a": 1.0, "b":2}"#), ..job() },
            status,
            created_at: timestamp("2027-01-01T00:00:00Z").unwrap(),
            run_at: timestamp("2027-01-02T00:00:00.25Z"),
            started_at: None,
            finished_at: None,
            worker_id: None,
            lease_expires_at: None,
            cancel_requested: false,
            snoozes: 0,
            max_snoozes: 7,
            result: None,
            error: None,
            webhook_url: None,
        }
    }

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).unwrap()
    }

    fn edit(status: Status, change: EditDraft) -> Option<JobEdit> {
        JobEdit::parse(&record(status), change, &Limits::default()).unwrap()
    }

    fn pointers(change: EditDraft) -> Vec<String> {
        let refused = JobEdit::parse(&record(Status::Scheduled), change, &Limits::default()).unwrap_err();
        refused.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn what_is_as_wanted_already_is_no_change() {
        assert!(edit(Status::Scheduled, EditDraft::default()).is_none());
        let same = EditDraft {
            priority: Some(None),
            run_at: Some(Some("2027-01-02T01:00:00.25+01:00".into())),
            max_snoozes: Some(Some(7)),
            ..EditDraft::default()
        };
        assert!(edit(Status::Scheduled, same).is_none());
    }

    #[test]
    fn only_a_change_of_the_start_moves_the_job() {
        let other = EditDraft { priority: Some(Some(5)), ..EditDraft::default() };
        let changed = edit(Status::Scheduled, other.clone()).unwrap();
        assert_eq!((changed.start, changed.job.priority, changed.changes_expiry), (None, 5, false));
        assert_eq!(edit(Status::Queued, other).unwrap().start, None);
        let now = EditDraft { run_at: Some(None), ..EditDraft::default() };
        assert_eq!(edit(Status::Scheduled, now.clone()).unwrap().start, Some(Start::Now));
        assert!(edit(Status::Queued, now).is_none(), "it can run now already");
        let delay = EditDraft { delay_seconds: Some(0.5), ..EditDraft::default() };
        let half = std::time::Duration::from_millis(500);
        assert_eq!(edit(Status::Scheduled, delay.clone()).unwrap().start, Some(Start::After(half)));
        assert_eq!(edit(Status::Queued, delay).unwrap().start, Some(Start::After(half)));
    }

    #[test]
    fn documents_are_merged_and_keep_what_is_not_named() {
        let change = EditDraft {
            payload: Some(Some(json(r#"{"b":null,"c":18446744073709551616}"#))),
            metadata: Some(Some(json(r#"{"team":"billing"}"#))),
            ..EditDraft::default()
        };
        let job = edit(Status::Queued, change).unwrap().job;
        assert_eq!(job.payload.as_str(), r#"{"a":1.0,"c":18446744073709551616}"#);
        assert_eq!(job.metadata.unwrap().as_str(), r#"{"team":"billing"}"#);
        let other = EditDraft { tags: Some(Some(vec!["x".into()])), ..EditDraft::default() };
        assert_eq!(edit(Status::Queued, other).unwrap().job.payload.as_str(), r#"{"a": 1.0, "b":2}"#);
        let none = EditDraft { payload: Some(None), ..EditDraft::default() };
        assert_eq!(edit(Status::Queued, none).unwrap().job.payload.as_str(), "{}");
    }

    #[test]
    fn what_a_delivery_of_a_webhook_sends_is_not_changed() {
        let mut delivery = record(Status::Queued);
        delivery.job.kind = WEBHOOK_KIND.parse().unwrap();
        let parse = |change| JobEdit::parse(&delivery, change, &Limits::default());
        let change = EditDraft {
            payload: Some(Some(json(r#"{"a":3}"#))),
            metadata: Some(Some(json(r#"{"team":"billing"}"#))),
            priority: Some(Some(5)),
            ..EditDraft::default()
        };
        let refused: Vec<_> = parse(change).unwrap_err().into_iter().map(|error| error.pointer).collect();
        assert_eq!(refused, ["/payload", "/metadata"]);
        let other = EditDraft { priority: Some(Some(5)), ..EditDraft::default() };
        assert_eq!(parse(other).unwrap().unwrap().job.priority, 5);
    }

    #[test]
    fn the_result_is_checked_like_a_submission() {
        let wrong = EditDraft {
            queue: Some(Some("a/b".into())),
            priority: Some(Some(101)),
            run_at: Some(Some("tomorrow".into())),
            metadata: Some(Some(json("[]"))),
            ..EditDraft::default()
        };
        assert_eq!(pointers(wrong), ["/queue", "/priority", "/run_at", "/metadata"]);
        let early =
            EditDraft { expires_at: Some(Some("2027-01-01T12:00:00Z".into())), ..EditDraft::default() };
        assert_eq!(pointers(early), ["/expires_at"]);
        let both = EditDraft {
            run_at: Some(Some("2027-01-03T00:00:00Z".into())),
            delay_seconds: Some(1.0),
            ..EditDraft::default()
        };
        assert_eq!(pointers(both), ["/delay_seconds"]);
        assert_eq!(
            pointers(EditDraft { max_attempts: Some(Some(2)), ..EditDraft::default() }),
            ["/max_attempts"]
        );
    }
}
