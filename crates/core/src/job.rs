//! A job: the unchecked draft, the accepted job, the job that a worker receives, and the record that readers get.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::attempt::Failure;
use crate::id::{JobId, WorkerId};
use crate::json::Json;
use crate::limits::{DEFAULT_MAX_ATTEMPTS, PRIORITIES};
use crate::name::{KindName, QueueName};
use crate::on_end::{OnEnd, OnEndDraft};
use crate::retry::RetryPolicy;
use crate::status::Status;
use crate::ties::Ties;
use crate::trace::TraceParent;
use crate::unique::{OnConflict, Unique, UniqueScope};

pub(crate) mod check;
pub mod edit;

/// A job as the submitter sent it, unchecked. An absent field gets the value of the route for its kind, otherwise its default. A schedule stores it in this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobDraft {
    /// Queue name; default `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Kind name; required.
    pub kind: String,
    /// JSON input; default `{}`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub payload: Option<Json>,
    /// Priority, −100 to 100. Higher priorities run first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// RFC 3339 timestamp before which the job does not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// Delay before the first start, in seconds from now. Excludes `run_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// RFC 3339 timestamp after which the job is cancelled instead of started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Maximum number of attempts; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// Maximum number of snoozes, which cost no attempt; default 100,000. One snooze more fails the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_snoozes: Option<i64>,
    /// Retry policy; default exponential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Time limit of one attempt, in seconds. Without it the worker's own default applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Time after which the handler is warned, in seconds. Must be below `timeout_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_timeout_seconds: Option<f64>,
    /// Unique key and its options; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<UniqueDraft>,
    /// Labels that list filters can search. An empty list is a value of its own: no route adds labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// JSON object for the submitter's own use. The queue does not interpret it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// W3C trace context of the submitter, restored in the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Webhook for the end of the job; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEndDraft>,
}

impl JobDraft {
    /// Whether [`NewJob::parse`] needs the database's time to check this draft: see [`Limits::now`].
    pub fn has_timestamp(&self) -> bool {
        self.run_at.is_some() || self.expires_at.is_some()
    }
}

/// The unique key of a draft, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniqueDraft {
    /// The key; required.
    pub key: String,
    /// The set of jobs in which the key must be unique.
    pub scope: UniqueScope,
    /// Statuses in which a job holds the key. If given, it must include every status that is not final, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Vec<Status>>,
    /// What happens if another job holds the key.
    pub on_conflict: OnConflict,
}

/// When the first attempt of a new job may start.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Start {
    /// Immediately.
    #[default]
    Now,
    /// After this delay, by the database's clock.
    After(Duration),
    /// Not before this timestamp.
    At(DateTime<Utc>),
}

/// A job that passed every check. Only [`NewJob::parse`] (in `job/check.rs`) creates one, and nothing validates it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewJob {
    /// The queue that the submitter chose, or the route, or `default`. It never changes.
    pub queue: QueueName,
    /// The kind that the submitter chose. It selects the handler and never changes.
    pub kind: KindName,
    /// Input for the handler, exactly as the submitter sent it.
    pub payload: Json,
    /// Priority from the submitter or the route, −100 to 100. Higher priorities run first.
    pub priority: i16,
    /// When the first attempt may start.
    pub start: Start,
    /// If no attempt has started by then, the job is cancelled. Set by the submitter or the route.
    pub expires_at: Option<DateTime<Utc>>,
    /// Maximum number of attempts, at least 1. The last failed one makes the job `failed`.
    pub max_attempts: u16,
    /// Maximum number of snoozes, at least 0. `None` is the default, which may change with a release.
    pub max_snoozes: Option<u32>,
    /// Retry policy from the submitter or the route. `None` is the default policy, which may change with a release.
    pub retry: Option<RetryPolicy>,
    /// Time limit of one attempt. `None` means that the worker's own default applies.
    pub timeout: Option<Duration>,
    /// Time after which the handler is warned. It is below `timeout`.
    pub soft_timeout: Option<Duration>,
    /// Unique key and its options. `None` means that the job has no unique key.
    pub unique: Option<Unique>,
    /// Labels from the submitter or the route that list filters can search.
    pub tags: Vec<String>,
    /// JSON object for the submitter's own use. The queue does not interpret it.
    pub metadata: Option<Json>,
    /// Trace context of the submitter, restored in the worker.
    pub traceparent: Option<TraceParent>,
    /// Webhook for the end of the job.
    pub on_end: Option<OnEnd>,
}

/// A stored job as a worker receives it: what the submitter sent, the id, and the number of the attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Id of the job, set when it is stored. It contains the time of submission.
    pub id: JobId,
    /// The queue that the submitter chose, or the route, or `default`. Only an edit of the waiting job changes it.
    pub queue: QueueName,
    /// The kind that the submitter chose. It selects the handler and never changes.
    pub kind: KindName,
    /// Input for the handler, exactly as the submitter sent it.
    pub payload: Json,
    /// Priority from the submitter or the route, −100 to 100. Higher priorities run first.
    pub priority: i16,
    /// Number of attempts begun, the current one included; 0 before the first. A lease adds 1. A snooze or a release
    /// takes it back. An operator's retry resets it to 0.
    pub attempt: u16,
    /// Maximum number of attempts, set at submission.
    pub max_attempts: u16,
    /// Retry policy from the submitter or the route; `None` is the default policy.
    pub retry: Option<RetryPolicy>,
    /// Time limit of one attempt, set at submission. `None` means that the worker's own default applies.
    pub timeout: Option<Duration>,
    /// Time after which the handler is warned, set at submission.
    pub soft_timeout: Option<Duration>,
    /// If no attempt has started by then, the job is cancelled. Set at submission.
    pub expires_at: Option<DateTime<Utc>>,
    /// The submitter's unique key, if the job has one. The end of the job must then free the key.
    pub unique_key: Option<String>,
    /// Labels from the submitter or the route that list filters can search.
    pub tags: Vec<String>,
    /// JSON object for the submitter's own use. The queue does not interpret it.
    pub metadata: Option<Json>,
    /// Trace context of the submitter.
    pub traceparent: Option<TraceParent>,
    /// Whether a webhook announces the end of the job.
    pub has_webhook: bool,
}

/// A job as readers get it: the job, its status, and its result or error.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// What the submitter sent, the id, and the number of the attempt.
    pub job: Job,
    /// The status in the snapshot that was read.
    pub status: Status,
    /// When the job was submitted, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When the next attempt may start. Set while the job is scheduled.
    pub run_at: Option<DateTime<Utc>>,
    /// When the last attempt began, if known. Set while the job runs and when it is final.
    pub started_at: Option<DateTime<Utc>>,
    /// When the job became final. An operator's retry clears it.
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker that runs the job. Set while it runs in a registered worker.
    pub worker_id: Option<WorkerId>,
    /// When the lease of the running attempt expires. Heartbeats move it forward.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Whether a user asked to cancel the running job and its worker has not settled it yet.
    pub cancel_requested: bool,
    /// How often a handler snoozed the job, which costs no attempt. An operator's retry resets it to 0.
    pub snoozes: u32,
    /// Maximum number of snoozes. One snooze more fails the job.
    pub max_snoozes: u32,
    /// What the handler returned. Set when the job is completed.
    pub result: Option<Json>,
    /// Why the job failed or was cancelled. Set when it is final and not completed.
    pub error: Option<Failure>,
    /// The URL of the webhook for the end of the job. `None`: it has none, or it was not read.
    pub webhook_url: Option<String>,
}

impl Job {
    /// What the end of the job may free.
    pub const fn ties(&self) -> Ties {
        Ties { unique_key: self.unique_key.is_some(), on_end: self.has_webhook }
    }
}

impl NewJob {
    /// What the job holds once it is stored.
    pub const fn ties(&self) -> Ties {
        Ties { unique_key: self.unique.is_some(), on_end: self.on_end.is_some() }
    }
}

/// Reads a field that is there, `null` included, as `Some`: a payload may be `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// The priority, or `None` if it is out of range. An out-of-range priority is refused, never clamped.
pub(crate) fn priority(value: i64) -> Option<i16> {
    i16::try_from(value).ok().filter(|p| PRIORITIES.contains(p))
}

pub(crate) const fn default_max_attempts() -> u16 {
    DEFAULT_MAX_ATTEMPTS
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limits::Limits;

    /// A plain running job.
    pub(crate) fn job() -> Job {
        Job {
            id: JobId::from_ticks(1 << 40, 1),
            queue: QueueName::default(),
            kind: "noop".parse().unwrap(),
            payload: Json::default(),
            priority: 0,
            attempt: 1,
            max_attempts: 3,
            retry: None,
            timeout: None,
            soft_timeout: None,
            expires_at: None,
            unique_key: None,
            tags: vec![],
            metadata: None,
            traceparent: None,
            has_webhook: false,
        }
    }

    fn draft() -> JobDraft {
        JobDraft { kind: "noop".into(), ..JobDraft::default() }
    }

    fn pointers(draft: JobDraft) -> Vec<String> {
        NewJob::parse(draft, &Limits::default()).unwrap_err().into_iter().map(|e| e.pointer).collect()
    }

    #[test]
    fn defaults_are_filled_in() {
        let job = NewJob::parse(draft(), &Limits::default()).unwrap();
        assert_eq!((job.queue.as_str(), job.priority, job.max_attempts), ("default", 0, 10));
        assert_eq!((job.payload.as_str(), job.start), ("{}", Start::Now));
    }

    #[test]
    fn all_errors_come_at_once() {
        let draft = JobDraft {
            queue: Some("a/b".into()),
            kind: String::new(),
            priority: Some(101),
            run_at: Some("2027-02-30T00:00:00Z".into()),
            delay_seconds: Some(-1.0),
            max_attempts: Some(0),
            max_snoozes: Some(-1),
            tags: Some(vec!["x".repeat(65), String::new()]),
            metadata: Some(Json::parse("[]".into()).unwrap()),
            traceparent: Some("00-x".into()),
            ..JobDraft::default()
        };
        let all = [
            "/queue",
            "/kind",
            "/priority",
            "/run_at",
            "/delay_seconds",
            "/max_attempts",
            "/max_snoozes",
            "/tags/0",
            "/tags/1",
            "/metadata",
            "/traceparent",
        ];
        assert_eq!(pointers(draft), all);
    }

    #[test]
    fn timestamps_need_an_offset_and_must_exist() {
        for bad in [
            "2027-02-30T00:00:00Z",
            "2027-01-01T00:00:00",
            "10000-01-01T00:00:00Z",
            "2026-12-31T23:59:60Z",
            "now",
            "1e9",
        ] {
            assert_eq!(pointers(JobDraft { run_at: Some(bad.into()), ..draft() }), ["/run_at"], "{bad}");
        }
        let good = JobDraft { run_at: Some("2027-02-28T12:00:00.5+05:30".into()), ..draft() };
        assert!(NewJob::parse(good, &Limits::default()).is_ok());
    }

    #[test]
    fn delays_and_timestamps_have_the_same_horizon() {
        let limits = Limits { now: crate::time::timestamp("2027-01-01T00:00:00Z"), ..Limits::default() };
        let pointers = |draft: JobDraft| match NewJob::parse(draft, &limits) {
            Ok(_) => vec![],
            Err(errors) => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
        };
        // 36,500 days after `now`
        let (last, later) = ("2126-12-08T00:00:00Z", "2126-12-08T00:00:01Z");
        assert_eq!(pointers(JobDraft { run_at: Some(last.into()), ..draft() }), []);
        assert_eq!(pointers(JobDraft { expires_at: Some(last.into()), ..draft() }), []);
        assert_eq!(pointers(JobDraft { delay_seconds: Some(36_500.0 * 86_400.0), ..draft() }), []);
        assert_eq!(pointers(JobDraft { run_at: Some("1970-01-01T00:00:00Z".into()), ..draft() }), []);
        let refused = |pointer: &str| vec![(pointer.to_owned(), "out_of_range")];
        assert_eq!(pointers(JobDraft { run_at: Some(later.into()), ..draft() }), refused("/run_at"));
        assert_eq!(pointers(JobDraft { expires_at: Some(later.into()), ..draft() }), refused("/expires_at"));
        let delay = Some(36_500.0 * 86_400.0 + 1.0);
        assert_eq!(pointers(JobDraft { delay_seconds: delay, ..draft() }), refused("/delay_seconds"));
    }

    #[test]
    fn time_limits_are_at_least_a_millisecond() {
        for bad in [0.0, 1e-7, 0.000_9, -1.0, f64::NAN, f64::INFINITY, 604_801.0] {
            assert_eq!(
                pointers(JobDraft { timeout_seconds: Some(bad), ..draft() }),
                ["/timeout_seconds"],
                "{bad}"
            );
            let soft = JobDraft { soft_timeout_seconds: Some(bad), ..draft() };
            assert_eq!(pointers(soft), ["/soft_timeout_seconds"], "{bad}");
        }
        let least = JobDraft { timeout_seconds: Some(0.002), soft_timeout_seconds: Some(0.001), ..draft() };
        assert!(NewJob::parse(least, &Limits::default()).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        let both =
            JobDraft { run_at: Some("2027-01-01T00:00:00Z".into()), delay_seconds: Some(1.0), ..draft() };
        assert_eq!(pointers(both), ["/delay_seconds"]);
        let late = JobDraft {
            run_at: Some("2027-01-02T00:00:00Z".into()),
            expires_at: Some("2027-01-01T00:00:00Z".into()),
            ..draft()
        };
        assert_eq!(pointers(late), ["/expires_at"]);
        let soft = JobDraft { timeout_seconds: Some(1.0), soft_timeout_seconds: Some(2.0), ..draft() };
        assert_eq!(pointers(soft), ["/soft_timeout_seconds"]);
        let statuses =
            UniqueDraft { key: "k".into(), statuses: Some(vec![Status::Queued]), ..UniqueDraft::default() };
        assert_eq!(pointers(JobDraft { unique: Some(statuses), ..draft() }), ["/unique/statuses"]);
    }
}
