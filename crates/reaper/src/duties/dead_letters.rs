//! dead_letters: keeps the counts of the groups of dead letters, and finds failed jobs that were not recorded as dead letters.

use std::time::Duration;

use jobqueue_store::{Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct DeadLettersDuty {
    interval: Duration,
}

impl DeadLettersDuty {
    /// With the interval of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.dead_letters_interval }
    }
}

impl Duty for DeadLettersDuty {
    fn name(&self) -> &'static str {
        "dead_letters"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let more_tallied = store.upkeep().count_dead_letters().await?;
            let (jobs, more_to_compare) = store.upkeep().compare_dead_letters().await?;
            Ok(Done { jobs, more: more_tallied || more_to_compare })
        })
    }
}
