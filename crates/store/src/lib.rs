//! The only crate that knows SQL. Its methods are the verbs of a job's life, one file each in `verbs`:
//! enqueue · promote · lease · heartbeat · settle · reclaim · cancel · expire · retry · edit · delete · prune, and the readers.
//!
//! It moves rows and decides nothing: `jobqueue_core::settle` decides what follows from an outcome.
//! No other crate knows the table layout (`docs/adr/0001-storage.md`).

mod handles;
mod plumbing;
mod readers;
mod upkeep;
mod verbs;

pub use handles::{ApiKeys, AuditLog, DeadLetters, Jobs, Kinds, Queues, Routes, Schedules, Upkeep};
pub use plumbing::actor::Actor;
pub use plumbing::batches::Batches;
pub use plumbing::cause::Cause;
pub use plumbing::connect::{Store, StoreOptions};
pub use plumbing::error::StoreError;
pub use plumbing::pooler::Pooler;
pub use plumbing::url::{DatabaseUrl, UrlError};
pub use plumbing::wakeup::{Heard, Listener, Notifier};
pub use readers::api_keys::{ApiKeyRecord, KeyNews, LiveKey};
pub use readers::arrivals::ArrivalWatcher;
pub use readers::audit::{AuditEntry, AuditFilter};
pub use readers::census::{Census, QueueCensus};
pub use readers::dead_letters::groups::{
    DeadLetterGroup, DeadLetterGroupDetail, GroupFilter, GroupOrder, GroupPosition,
};
pub use readers::dead_letters::recent::{GroupHour, MAX_OF_AN_HOUR};
pub use readers::dead_letters::redrives::{Redrive, RedriveState};
pub use readers::dead_letters::{DeadLetter, DeadLetterFilter, LetterPosition};
pub use readers::inspect::{AttemptRecord, Event, HeldJob};
pub use readers::list::{JobFilter, Matches, Page};
pub use readers::routes::RouteRecord;
pub use readers::schedules::{ScheduleFilter, ScheduleRecord, TickRecord};
pub use readers::statistics::RangeStatistics;
pub use readers::watch::{NewReport, REPORTS_READ, UnreadableJob, WatchedJob, WatchedState};
pub use readers::workers::{WorkerJob, WorkerRecord, WorkerReport};
pub use upkeep::migrate::{Applied as Migrated, SCHEMA_VERSION};
pub use upkeep::prune::Pruned;
pub use upkeep::retention::Retention;
pub use upkeep::stuck::EndedSession;
pub use upkeep::vacuum::HotTable;
pub use verbs::api_keys::{ApiKeyChange, ApiKeyEdit, NewApiKey};
pub use verbs::cancel::Cancelled;
pub use verbs::dead_letters::Replaced;
pub use verbs::dead_letters::redrive::{RedriveStep, RedriveStop};
pub use verbs::delete::Deleted;
pub use verbs::edit::Edited;
pub use verbs::enqueue::submission::{Accepted, Answer, Submission};
pub use verbs::heartbeat::{Beat, Extended, HeldLeases, WorkerEntry, WorkerState};
pub use verbs::idempotency::{Idempotency, KeyClaim, KeyState};
pub use verbs::kinds::{KindChange, KindChanged, KindRecord};
pub use verbs::lease::request::{LeaseRequest, Leased};
pub use verbs::precondition::Precondition;
pub use verbs::promote::Promotion;
pub use verbs::queues::delete::QueueDeletion;
pub use verbs::queues::{QueueRecord, QueueSettings, Waiting};
pub use verbs::reclaim::Reclaimed;
pub use verbs::remote_worker::{RemoteReport, RemoteWorker};
pub use verbs::report::AttemptReport;
pub use verbs::retry::Retried;
pub use verbs::routes::RouteChange;
pub use verbs::schedules::ScheduleChange;
pub use verbs::schedules::fire::{FailedSchedule, Firing};
pub use verbs::settle::end::{AttemptEnd, Settled};
pub use verbs::webhook::WebhookTarget;
pub use verbs::worker_command::{
    CommandAnswer, CommandRecord, CommandTargets, CommandedWorker, SentCommand, WorkerFilter,
};
