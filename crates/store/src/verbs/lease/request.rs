//! What a worker asks for and what it gets.

use std::time::Duration;

use jobqueue_core::{Job, KindName, Lease, QueueName, WorkerId};

/// Which jobs a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRequest {
    /// The registered worker that will hold the lease. `None`: no registered worker, and the lease ends only by its expiry.
    pub worker_id: Option<WorkerId>,
    /// Queues to lease from. An earlier queue is emptied before the next one is used.
    pub queues: Vec<QueueName>,
    /// Kinds to lease; empty means all.
    pub kinds: Vec<KindName>,
    /// Maximum number of jobs, 1 to 1000.
    pub limit: usize,
    /// How long the lease lasts if it is not renewed.
    pub duration: Duration,
}

/// A job and the right to run it.
#[derive(Debug)]
pub struct Leased {
    /// The job; `attempt` is the number of the attempt that begins now.
    pub job: Job,
    /// The right to run and settle this attempt.
    pub lease: Lease,
    /// How long the job was runnable before this lease, from `run_at` if it has one. Set for a first attempt only.
    pub waited: Option<Duration>,
}
