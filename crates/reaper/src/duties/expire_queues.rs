//! expire_queues: deletes queues that have been unused for the retention, and kinds that have been for as long as statistics are kept.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct ExpireQueuesDuty {
    interval: Duration,
    retention: Duration,
    batch_size: u32,
}

impl ExpireQueuesDuty {
    /// With the interval, retention and batch size of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.interval, retention: args.queue_retention, batch_size: args.batch_size }
    }
}

impl Duty for ExpireQueuesDuty {
    fn name(&self) -> &'static str {
        "expire_queues"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn walks(&self) -> bool {
        true
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            if self.retention.is_zero() {
                return Ok(Done::default());
            }
            let queues = store.upkeep().expire_queues(self.retention, self.batch_size).await?;
            if queues > 0 {
                tracing::info!(queues, "unused queues deleted");
            }
            let kinds = store.upkeep().expire_kinds(self.batch_size).await?;
            if kinds > 0 {
                tracing::info!(kinds, "unused kinds deleted");
            }
            let more = queues == self.batch_size || kinds == self.batch_size;
            Ok(Done { jobs: u64::from(queues) + u64::from(kinds), more })
        })
    }
}
