//! Words and rules of the queue: what a job is, which moves are legal, what follows from an outcome.
//!
//! Pure on purpose: no IO, no async, no clock, no randomness. Time arrives as delays that the database
//! turns into moments, chance arrives as a number that the caller threw.

pub mod attempt;
pub mod field;
pub mod id;
pub mod job;
pub mod json;
pub mod lease;
pub mod limits;
pub mod name;
pub mod retry;
pub mod scaling;
pub mod settle;
pub mod status;
pub mod trace;
pub mod unique;

pub use attempt::{Ended, Failure, Happening, Outcome};
pub use field::FieldError;
pub use id::{JobId, WorkerId};
pub use job::{Job, JobDraft, JobRecord, NewJob, Start};
pub use json::Json;
pub use lease::Lease;
pub use limits::Limits;
pub use name::{KindName, QueueName};
pub use retry::RetryPolicy;
pub use scaling::QueueLoad;
pub use settle::{Settlement, settle};
pub use status::{Status, Verb};
pub use trace::TraceParent;
pub use unique::{OnConflict, Unique, UniqueScope};
