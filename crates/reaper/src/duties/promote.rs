//! promote: delayed jobs and retries whose time has come become runnable, and their workers are woken.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct Promote {
    interval: Duration,
    batch_size: u32,
}

impl Promote {
    /// With the rhythm and bounds of the process.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.promote_interval, batch_size: args.batch_size }
    }
}

impl Duty for Promote {
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
