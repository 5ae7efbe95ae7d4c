//! The end of one attempt, and the result of its settle.

use std::time::Duration;

use jobqueue_core::{Lease, Settlement, Status};

/// The end of one attempt.
#[derive(Debug)]
pub struct AttemptEnd {
    /// The lease of the attempt. It cannot be used again.
    pub lease: Lease,
    /// What `core::settle` decided.
    pub settlement: Settlement,
    /// How long ago the handler was started, by the worker's monotonic clock. With `None` the attempt began at its lease.
    pub ran: Option<Duration>,
}

/// The result of a settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The job has this status now. It is `cancelled` instead of retried if a user asked to cancel it meanwhile.
    Applied(Status),
    /// The lease was lost or already used; nothing changed.
    Stale,
}
