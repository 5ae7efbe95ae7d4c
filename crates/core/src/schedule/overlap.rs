//! The rule for a tick whose predecessor's job has not ended.

use serde::{Deserialize, Serialize};

/// What happens at a tick while the job of the tick before has not ended: it waits, runs, or waits for a retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The job is enqueued.
    #[default]
    Allow,
    /// The tick has no job.
    Skip,
    /// The job is enqueued when the other one has ended. Only one tick waits at a time; further ticks have no job.
    QueueOne,
    /// The other job is cancelled, and the new one is enqueued.
    CancelPrevious,
}
