//! promote: makes delayed jobs and retries runnable when they are due, and wakes their workers.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct PromoteDuty {
    interval: Duration,
    batch_size: u32,
}

impl PromoteDuty {
    /// With the interval and batch size of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.promote_interval, batch_size: args.batch_size }
    }
}

impl Duty for PromoteDuty {
    fn name(&self) -> &'static str {
        "promote"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let promotion = store.promote_due(self.batch_size).await?;
            for queue in &promotion.queues {
                notifier.wake(queue);
            }
            Ok(Done { jobs: promotion.jobs, more: promotion.jobs == u64::from(self.batch_size) })
        })
    }
}
