//! prune: forgets what retention says, and makes room for the days to come.

use std::time::Duration;

use jobqueue_store::{Notifier, Retention, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct Prune {
    interval: Duration,
    retention: Retention,
}

impl Prune {
    /// With the rhythm and retention of the process.
    pub fn new(args: &DutyArgs) -> Self {
        let retention = Retention { completed: args.completed_retention, failed: args.failed_retention };
        Self { interval: args.interval, retention }
    }
}

impl Duty for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn walks(&self) -> bool {
        true
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let pruned = store.prune(self.retention).await?;
            if pruned.days > 0 || pruned.days_waiting > 0 {
                tracing::info!(
                    jobs = pruned.jobs,
                    days = pruned.days,
                    days_waiting = pruned.days_waiting,
                    "old jobs forgotten"
                );
            }
            Ok(Done { jobs: pruned.jobs, more: false })
        })
    }
}
