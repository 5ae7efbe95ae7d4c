//! census: counts the jobs of every queue, so that scrapes and dashboards need not, and chooses the queues
//! that the metrics name.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct CensusDuty {
    interval: Duration,
    named_queues: u32,
}

impl CensusDuty {
    /// A census with the interval of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.census_interval, named_queues: args.named_queues }
    }
}

impl Duty for CensusDuty {
    fn name(&self) -> &'static str {
        "census"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn walks(&self) -> bool {
        true
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            store.take_census(self.named_queues).await?;
            Ok(Done::default())
        })
    }
}
