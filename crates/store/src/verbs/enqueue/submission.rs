//! What a client submits, and what it is answered.

use jobqueue_core::{JobId, NewJob, Status};
use serde::{Deserialize, Serialize};

use crate::verbs::idempotency::Idempotency;

/// The jobs of one request, which are answered together.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The jobs, in order.
    pub jobs: Vec<NewJob>,
    /// Whether one rejected job rejects all of them.
    pub atomic: bool,
    /// The client's idempotency key for this request.
    pub idempotency: Option<Idempotency>,
}

impl Submission {
    /// Whether storing it can wait for a key that another transaction holds.
    pub fn is_keyed(&self) -> bool {
        self.idempotency.is_some() || !self.jobs.iter().all(|job| job.ties().is_plain())
    }
}

/// The result for one submitted job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// The job was stored.
    Created {
        /// Its id.
        id: JobId,
        /// `queued`, or `scheduled` if its start is in the future.
        status: Status,
    },
    /// Another job holds its unique key; nothing was stored.
    Existing(JobId),
    /// Another job holds its unique key, and its `on_conflict` is `reject`; nothing was stored.
    Rejected(JobId),
    /// Nothing was stored, because another job of the same atomic request was rejected or found no room.
    NotTried,
    /// Its queue has `max_queued`, and no room for it; nothing was stored.
    Full {
        /// When the client shall try again.
        retry_after_seconds: u32,
    },
}

impl Accepted {
    pub(crate) const fn full(retry_after_seconds: u32) -> Self {
        Self::Full { retry_after_seconds }
    }
}

/// The result of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request was carried out, now or before.
    Served {
        /// One entry a job, in the order of the request.
        jobs: Vec<Accepted>,
        /// Whether this is the stored answer of an earlier request with the same idempotency key. Then nothing new was
        /// stored.
        replayed: bool,
    },
    /// The idempotency key belongs to another request.
    KeyReused,
}
