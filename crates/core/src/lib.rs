//! Terms and rules of the queue: what a job is, which status changes are legal, and what follows from an outcome.
//!
//! This crate is pure: no IO, no async, no clock, no random numbers. It returns delays, which the database turns
//! into timestamps. Where a rule needs a random number, the caller passes it in.

pub mod aftermath;
pub mod api_key;
pub mod arrivals;
pub mod attempt;
pub mod doctor;
pub mod explain;
pub mod field;
pub mod fingerprint;
pub mod id;
pub mod job;
pub mod json;
pub mod kind_settings;
pub mod lease;
pub mod limits;
pub mod log;
pub mod merge_patch;
pub mod metadata;
pub mod name;
pub mod on_end;
pub mod outage;
pub mod redrive;
pub mod replacement;
pub mod retry;
pub mod route;
pub mod scaling;
pub mod schedule;
pub mod settle;
pub mod statistics;
pub mod status;
pub mod ties;
pub mod time;
pub mod trace;
pub mod unique;
pub mod worker_command;

pub use aftermath::{Effects, aftermath};
pub use api_key::{ApiKeyDraft, Grant, KeyId, KeyText, Scope};
pub use attempt::{Ended, EventKind, Failure, Outcome};
pub use explain::{Explanation, Facts, explain};
pub use field::FieldError;
pub use fingerprint::FailureCause;
pub use id::{JobId, WorkerId};
pub use job::edit::{EditDraft, JobEdit};
pub use job::{Job, JobDraft, JobRecord, NewJob, Start};
pub use json::Json;
pub use kind_settings::KindSettings;
pub use lease::Lease;
pub use limits::Limits;
pub use log::{AttemptLog, LogLine, LogPosition};
pub use metadata::MetadataTerm;
pub use name::{KeyName, KindName, QueueName, RouteName, ScheduleName, WorkerName};
pub use on_end::{OnEnd, OnEndDraft};
pub use outage::{Observation, Outage, OutagePolicy};
pub use redrive::{RedriveDraft, RedriveResult, RedriveRules};
pub use retry::RetryPolicy;
pub use route::{JobRoute, RouteDraft, RouteTable};
pub use scaling::QueueLoad;
pub use schedule::{Schedule, ScheduleDraft};
pub use settle::{Settlement, settle};
pub use status::{Status, Verb};
pub use ties::Ties;
pub use trace::TraceParent;
pub use unique::{OnConflict, Unique, UniqueScope};
pub use worker_command::{CommandArguments, CommandDraft, ControlCommand};
