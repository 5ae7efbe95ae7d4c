//! A job: as drafted by a submitter, as accepted, and as it is read back.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::attempt::Failure;
use crate::field::FieldError;
use crate::id::{JobId, WorkerId};
use crate::json::Json;
use crate::limits::{DEFAULT_MAX_ATTEMPTS, Limits, PRIORITIES};
use crate::name::{KindName, QueueName};
use crate::retry::RetryPolicy;
use crate::status::Status;
use crate::trace::TraceParent;
use crate::unique::{OnConflict, Unique, UniqueScope};

mod check;

/// What a submitter said, unchecked. Absent means default.
#[derive(Clone, Debug, Default)]
pub struct JobDraft {
    /// Queue name; default `default`.
    pub queue: Option<String>,
    /// Kind name; required.
    pub kind: String,
    /// JSON input; default `{}`.
    pub payload: Option<Json>,
    /// −100 to 100, higher runs first; default 0.
    pub priority: Option<i64>,
    /// RFC 3339 moment before which the job does not start.
    pub run_at: Option<String>,
    /// The same as a delay from now, in seconds.
    pub delay_seconds: Option<f64>,
    /// RFC 3339 moment after which starting is pointless.
    pub expires_at: Option<String>,
    /// Most attempts; default 10.
    pub max_attempts: Option<i64>,
    /// Retry policy; default exponential.
    pub retry: Option<RetryPolicy>,
    /// Hard limit of one attempt, in seconds; default none here, the worker's own applies.
    pub timeout_seconds: Option<f64>,
    /// Soft limit: the handler is warned, in seconds; below the hard one.
    pub soft_timeout_seconds: Option<f64>,
    /// Uniqueness.
    pub unique: Option<UniqueDraft>,
    /// Small searchable words.
    pub tags: Vec<String>,
    /// Free JSON object.
    pub metadata: Option<Json>,
    /// W3C trace context of the submitter.
    pub traceparent: Option<String>,
}

/// Uniqueness as drafted.
#[derive(Clone, Debug, Default)]
pub struct UniqueDraft {
    /// The key; required.
    pub key: String,
    /// Inside which jobs the key counts.
    pub scope: UniqueScope,
    /// Statuses in which the holder keeps the key; must name every live one if given. Default: the live ones.
    pub statuses: Option<Vec<Status>>,
    /// What a conflict does.
    pub on_conflict: OnConflict,
}

/// When a new job may start first.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// After this long, by the database's clock.
    After(Duration),
    /// Not before this moment.
    At(DateTime<Utc>),
}

/// A job that passed every check; only [`NewJob::parse`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewJob {
    /// Queue.
    pub queue: QueueName,
    /// Kind.
    pub kind: KindName,
    /// Input, exactly as sent.
    pub payload: Json,
    /// −100 to 100.
    pub priority: i16,
    /// Earliest start.
    pub start: Start,
    /// Latest start.
    pub expires_at: Option<DateTime<Utc>>,
    /// Most attempts, from 1.
    pub max_attempts: u16,
    /// `None` is the default policy, which may improve with a release.
    pub retry: Option<RetryPolicy>,
    /// Hard limit of one attempt.
    pub timeout: Option<Duration>,
    /// Soft limit of one attempt.
    pub soft_timeout: Option<Duration>,
    /// Uniqueness.
    pub unique: Option<Unique>,
    /// Small searchable words.
    pub tags: Vec<String>,
    /// Free JSON object.
    pub metadata: Option<Json>,
    /// Trace context to restore in the worker.
    pub traceparent: Option<TraceParent>,
}

/// A stored job as a worker gets it: what the submitter said, plus identity and the count of attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Identity; also tells when it was submitted.
    pub id: JobId,
    /// Queue.
    pub queue: QueueName,
    /// Kind.
    pub kind: KindName,
    /// Input, exactly as sent.
    pub payload: Json,
    /// −100 to 100.
    pub priority: i16,
    /// Attempts begun, the present one included; 0 before the first. Reset to 0 when an operator retries the job.
    pub attempt: u16,
    /// Most attempts.
    pub max_attempts: u16,
    /// Retry policy; `None` is the default one.
    pub retry: Option<RetryPolicy>,
    /// Hard limit of one attempt.
    pub timeout: Option<Duration>,
    /// Soft limit of one attempt.
    pub soft_timeout: Option<Duration>,
    /// Latest start.
    pub expires_at: Option<DateTime<Utc>>,
    /// The user's unique key, if the job has one: it then holds a claim that its end must free.
    pub unique_key: Option<String>,
    /// Small searchable words.
    pub tags: Vec<String>,
    /// Free JSON object.
    pub metadata: Option<Json>,
    /// Trace context of the submitter.
    pub traceparent: Option<TraceParent>,
}

/// A job as it is read back: the job, where it stands, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// The job.
    pub job: Job,
    /// Where it stands.
    pub status: Status,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it may start (again), while it is scheduled.
    pub run_at: Option<DateTime<Utc>>,
    /// When its last attempt began, if that is known: while running and once final.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub finished_at: Option<DateTime<Utc>>,
    /// Who runs it, while running.
    pub worker_id: Option<WorkerId>,
    /// When the running attempt's lease ends unless it is renewed.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// A cancel was asked for while it was running, and its worker has not answered yet.
    pub cancel_requested: bool,
    /// What the handler gave back.
    pub result: Option<Json>,
    /// Why it failed or was cancelled.
    pub error: Option<Failure>,
}

impl NewJob {
    /// Checks a draft. The last place that validates; all field errors come at once.
    pub fn parse(draft: JobDraft, limits: &Limits) -> Result<Self, Vec<FieldError>> {
        check::Checker::new(limits).job(draft)
    }

    /// Whether the job has a feature that costs more than the plain path: a unique key.
    pub fn is_plain(&self) -> bool {
        self.unique.is_none()
    }
}

/// Priorities are clamped nowhere: outside of this range a job is refused.
pub(crate) fn priority(value: i64) -> Option<i16> {
    i16::try_from(value).ok().filter(|p| PRIORITIES.contains(p))
}

pub(crate) const fn default_max_attempts() -> u16 {
    DEFAULT_MAX_ATTEMPTS
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
            tags: vec!["x".repeat(65), String::new()],
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
            "/tags/0",
            "/tags/1",
            "/metadata",
            "/traceparent",
        ];
        assert_eq!(pointers(draft), all);
    }

    #[test]
    fn moments_need_an_offset_and_must_exist() {
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
