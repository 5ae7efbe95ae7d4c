//! Statistics of all queues.

use chrono::{DateTime, Utc};
use jobqueue_store::QueueCensus;
use serde::Serialize;
use utoipa::ToSchema;

use crate::census::Latest;

/// Statistics of all queues, the same from every replica. `total` is always present, for autoscalers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsView {
    /// Sums over all queues that the key includes.
    total: TotalView,
    /// Workers that count as alive, remote ones included; `/v1/workers` lists them.
    workers: u64,
    /// A page of queues, by name.
    queues: Vec<QueueStatsView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    next_cursor: Option<String>,
}

/// Sums over all queues.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct TotalView {
    /// Jobs that wait for their `run_at`.
    scheduled: u64,
    /// Jobs that can start now.
    queued: u64,
    /// Jobs that run.
    running: u64,
    /// How long the oldest job that can start has waited, in seconds; 0 without one.
    oldest_age_seconds: f64,
}

/// Statistics of one queue. `scheduled`, `queued` and `running` are as old as `taken_at`; the totals are exact.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueStatsView {
    /// Name of the queue.
    queue: String,
    /// Jobs that wait for their `run_at`.
    scheduled: u64,
    /// Jobs that can start now.
    queued: u64,
    /// Jobs that run.
    running: u64,
    /// How long the oldest job that can start has waited, in seconds; 0 without one.
    oldest_age_seconds: f64,
    /// When the reaper counted the jobs; `null` before the first count.
    taken_at: Option<DateTime<Utc>>,
    /// Total of submitted jobs.
    created: u64,
    /// Total of completed jobs.
    completed: u64,
    /// Total of failed jobs.
    failed: u64,
    /// Total of cancelled jobs.
    cancelled: u64,
    /// Total of failed attempts that were followed by a retry.
    retried: u64,
    /// Total of leased jobs, every attempt counted.
    leased: u64,
    /// Total of attempts whose lease ended without a settle.
    lost: u64,
    /// Total of jobs that were deleted after their retention or by a purge.
    pruned: u64,
}

impl StatsView {
    /// The totals of these queues, with this page of them.
    pub(crate) fn page(
        latest: &Latest,
        all: &[&QueueCensus],
        queues: &[&QueueCensus],
        next_cursor: Option<String>,
    ) -> Self {
        let mut total = TotalView::default();
        for queue in all {
            total.scheduled += queue.scheduled;
            total.queued += queue.queued;
            total.running += queue.running;
            total.oldest_age_seconds = total.oldest_age_seconds.max(latest.oldest_age_seconds(queue));
        }
        let queues = queues.iter().map(|queue| QueueStatsView::new(latest, queue)).collect();
        Self { total, workers: latest.census.workers, queues, next_cursor }
    }
}

impl QueueStatsView {
    fn new(latest: &Latest, queue: &QueueCensus) -> Self {
        Self {
            queue: queue.queue.clone(),
            scheduled: queue.scheduled,
            queued: queue.queued,
            running: queue.running,
            oldest_age_seconds: latest.oldest_age_seconds(queue),
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
