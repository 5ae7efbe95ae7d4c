//! prune: deletes jobs and entries of the audit log whose retention has passed, and creates the storage for the coming days.

use std::time::Duration;

use jobqueue_store::{Notifier, Retention, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// See the module.
#[derive(Debug)]
pub struct PruneDuty {
    interval: Duration,
    retention: Retention,
    /// Zero keeps the audit log forever.
    audit: Duration,
}

impl PruneDuty {
    /// With the interval and retention of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        let retention = Retention { completed: args.completed_retention, failed: args.failed_retention };
        Self {
            interval: args.interval,
            retention,
            audit: Duration::from_hours(u64::from(args.audit_retention_days) * 24),
        }
    }
}

impl Duty for PruneDuty {
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
            let pruned = store.upkeep().prune(self.retention).await?;
            if !self.audit.is_zero() {
                let entries = store.upkeep().prune_audit(self.audit).await?;
                if entries > 0 {
                    tracing::info!(entries, "old entries of the audit log deleted");
                }
            }
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
