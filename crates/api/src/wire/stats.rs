//! The numbers of all queues.

use chrono::{DateTime, Utc};
use jobqueue_store::{Census, QueueCensus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::census::oldest_age_seconds;

/// The numbers of all queues, the same from every replica. An autoscaler finds what it needs in `total`, which is always
/// there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsView {
    total: TotalView,
    /// Workers with a heartbeat in the last 30 s; remote workers are not among them.
    workers: u64,
    queues: Vec<QueueStatsView>,
}

/// Over all queues.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct TotalView {
    scheduled: u64,
    queued: u64,
    running: u64,
    oldest_age_seconds: f64,
}

/// Of one queue. The counts since its beginning are exact; the others are as old as `taken_at`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueStatsView {
    queue: String,
    scheduled: u64,
    queued: u64,
    running: u64,
    /// How long the longest-waiting runnable job waits; 0 without one.
    oldest_age_seconds: f64,
    taken_at: Option<DateTime<Utc>>,
    created: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    retried: u64,
    leased: u64,
    lost: u64,
    pruned: u64,
}

impl From<&Census> for StatsView {
    fn from(census: &Census) -> Self {
        let mut total = TotalView::default();
        for queue in &census.queues {
            total.scheduled += queue.scheduled;
            total.queued += queue.queued;
            total.running += queue.running;
            total.oldest_age_seconds = total.oldest_age_seconds.max(oldest_age_seconds(queue));
        }
        Self { total, workers: census.workers, queues: census.queues.iter().map(Into::into).collect() }
    }
}

impl From<&QueueCensus> for QueueStatsView {
    fn from(queue: &QueueCensus) -> Self {
        Self {
            queue: queue.queue.clone(),
            scheduled: queue.scheduled,
            queued: queue.queued,
            running: queue.running,
            oldest_age_seconds: oldest_age_seconds(queue),
            taken_at: queue.taken_at,
            created: queue.created,
            completed: queue.completed,
            failed: queue.failed,
            cancelled: queue.cancelled,
            retried: queue.retried,
            leased: queue.leased,
            lost: queue.lost,
            pruned: queue.pruned,
        }
    }
}
