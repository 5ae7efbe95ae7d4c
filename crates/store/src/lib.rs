//! The only crate that knows SQL. Its methods are the verbs of a job's life, one file each:
//! enqueue · promote · lease · heartbeat · settle · reclaim · cancel · expire · retry · prune, and the readers.
//!
//! It moves rows and decides nothing: what follows from an outcome comes from `jobqueue_core::settle`.
//! How jobs are laid out in Postgres stays in here (`docs/adr/0001-storage.md`).

mod again;
mod body;
mod cancel;
mod catalog;
mod census;
mod clock;
mod connect;
mod enqueue;
mod error;
mod expire;
mod heartbeat;
mod idempotency;
mod inspect;
mod lease;
mod list;
mod low_water;
mod migrate;
mod promote;
mod prune;
mod queues;
mod reclaim;
mod report;
mod retry;
mod row;
mod settle;
mod unique;
mod wakeup;
mod walk;

pub use cancel::Cancelled;
pub use census::{Census, QueueCensus};
pub use connect::{Pooler, Store, StoreOptions};
pub use enqueue::{Accepted, Answer, Submission};
pub use error::StoreError;
pub use heartbeat::{Beat, Extended, WorkerEntry};
pub use idempotency::{Idempotency, KeyClaim, KeyState};
pub use inspect::{AttemptRecord, Event};
pub use lease::{LeaseRequest, Leased};
pub use list::{JobFilter, Page};
pub use migrate::{Applied as Migrated, SCHEMA_VERSION};
pub use promote::Promotion;
pub use prune::{Pruned, Retention};
pub use queues::{QueueRecord, QueueSettings};
pub use reclaim::Reclaimed;
pub use report::AttemptReport;
pub use retry::Retried;
pub use settle::{AttemptEnd, Settled};
pub use wakeup::{Listener, Notifier};
