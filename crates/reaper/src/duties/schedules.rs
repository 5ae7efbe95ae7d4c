//! schedules: enqueues the jobs of schedules whose ticks are due, and wakes their workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};
use crate::schedule_metrics::ScheduleMetrics;

/// Most schedules of one transaction.
const MAX_BATCH: u32 = 500;
/// The invalid schedules are counted once in so many steps.
const COUNT_EVERY: u32 = 40;

/// See the module.
#[derive(Debug)]
pub struct SchedulesDuty {
    interval: Duration,
    batch_size: u32,
    metrics: ScheduleMetrics,
    steps: AtomicU32,
}

impl SchedulesDuty {
    /// With the interval and batch size of the process's arguments.
    pub fn new(args: &DutyArgs, metrics: ScheduleMetrics) -> Self {
        let batch_size = args.batch_size.min(MAX_BATCH);
        Self { interval: args.schedules_interval, batch_size, metrics, steps: AtomicU32::new(0) }
    }
}

impl Duty for SchedulesDuty {
    fn name(&self) -> &'static str {
        "schedules"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            if self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY) {
                self.metrics.invalid.set(store.schedules().count_failed().await?);
            }
            let firing = store.fire_schedules(self.batch_size).await?;
            for queue in &firing.queues {
                notifier.wake(queue);
            }
            for (fate, late) in &firing.ticks {
                self.metrics.decided(*fate, *late);
            }
            for failed in &firing.failed {
                self.metrics.invalid.inc();
                tracing::error!(
                    schedule.name = failed.name,
                    error = failed.error,
                    "a schedule is invalid; it has no ticks until it is changed"
                );
            }
            Ok(Done { jobs: firing.jobs, more: firing.more })
        })
    }
}
