//! census: counts every queue, so that no scrape and no dashboard has to.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct Census {
    interval: Duration,
}

impl Census {
    /// With the rhythm of the process.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.census_interval }
    }
}

impl Duty for Census {
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
            store.take_census().await?;
            Ok(Done::default())
        })
    }
}
