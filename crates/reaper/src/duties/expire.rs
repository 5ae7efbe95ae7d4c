//! expire: waiting jobs whose `expires_at` has passed are cancelled.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct ExpireDuty {
    interval: Duration,
    batch_size: u32,
}

impl ExpireDuty {
    /// With the interval and batch size of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.expire_interval, batch_size: args.batch_size }
    }
}

impl Duty for ExpireDuty {
    fn name(&self) -> &'static str {
        "expire"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let handled = store.expire_due(self.batch_size).await?;
            Ok(Done { jobs: u64::from(handled), more: handled == self.batch_size })
        })
    }
}
