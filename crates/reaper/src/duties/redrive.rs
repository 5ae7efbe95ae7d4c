//! redrive: retries dead letters at the rates that users chose, and stops when their failures return.

use std::time::Duration;

use jobqueue_store::{Notifier, RedriveState, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct RedriveDuty {
    interval: Duration,
}

impl RedriveDuty {
    /// With the interval of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self { interval: args.redrive_interval }
    }
}

impl Duty for RedriveDuty {
    fn name(&self) -> &'static str {
        "redrive"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let Some(step) = store.redrive_step().await? else { return Ok(Done::default()) };
            for queue in &step.queues {
                notifier.wake(queue);
            }
            match step.ended {
                Some((id, RedriveState::Failing)) => {
                    tracing::warn!(redrive.id = %id, "a redrive stopped, because its jobs fail again");
                }
                Some((id, state)) => {
                    tracing::info!(redrive.id = %id, redrive.state = state.word(), "a redrive ended");
                }
                None => {}
            }
            // each step takes the redrive that waits longest, until none is due
            Ok(Done { jobs: step.jobs, more: true })
        })
    }
}
