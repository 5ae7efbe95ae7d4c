//! The verbs of a job's life and of the administration, one file each. Each changes rows; none decides.

pub(crate) mod aftermath;
pub(crate) mod cancel;
pub(crate) mod dead_letters;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod enqueue;
pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod idempotency;
pub(crate) mod kinds;
pub(crate) mod lease;
pub(crate) mod precondition;
pub(crate) mod promote;
pub(crate) mod queues;
pub(crate) mod reclaim;
pub(crate) mod remote_worker;
pub(crate) mod report;
pub(crate) mod retry;
pub(crate) mod routes;
pub(crate) mod schedules;
pub(crate) mod settle;
pub(crate) mod settle_and_lease;
pub(crate) mod snooze;
pub(crate) mod unique;
pub(crate) mod webhook;
pub(crate) mod worker_command;
