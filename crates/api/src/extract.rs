//! From bytes to wire types. Owns how requests are read and what a malformed one is told; never a rule about a job.

pub(crate) mod idempotency;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod query;
mod strict;
pub(crate) mod trace;

use tokio::sync::OwnedSemaphorePermit;

pub(crate) use idempotency::IdempotencyKey;
pub(crate) use json::{JsonBody, Wire};
pub(crate) use path::{JobPath, QueuePath};
pub(crate) use query::Query;
pub(crate) use strict::{Object, Refusal, parse};
pub(crate) use trace::Trace;

/// Memory that a body takes out of the common budget, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Adds to it.
    pub(crate) fn grow(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
    }
}
