//! How one worker works: its bounds, rhythms and limits, checked once. Owns what makes sense together; never where a
//! value came from.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::KindName;
use jobqueue_runtime::ConfigError;

use crate::dispatcher::STOP_WITHIN;
use crate::heartbeat::FAREWELL_LIMIT;
use crate::pod_cost::PodCost;
use crate::queues::QueuePlan;
use crate::worker::ABANDON_AFTER;

/// The settings of a worker, each with the variable of the binary that sets it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `WORKER_NAME`: for humans.
    pub(crate) name: String,
    /// `WORKER_QUEUES`.
    pub(crate) queues: QueuePlan,
    /// `WORKER_KINDS`: only these; `None` is every kind that has a handler.
    pub(crate) kinds: Option<BTreeSet<KindName>>,
    /// `WORKER_SLOTS`: jobs at once.
    pub(crate) slots: usize,
    /// `WORKER_BATCH_SIZE`: most jobs of one lease call.
    pub(crate) batch: usize,
    /// `WORKER_POLL_INTERVAL_SECONDS`.
    pub(crate) poll: Duration,
    /// `WORKER_LEASE_DURATION_SECONDS`.
    pub(crate) lease: Duration,
    /// `WORKER_HEARTBEAT_INTERVAL_SECONDS`.
    pub(crate) heartbeat: Duration,
    /// `WORKER_STALE_AFTER_SECONDS`: the silence after which the reaper takes this worker for dead.
    pub(crate) stale_after: Duration,
    /// `WORKER_SHUTDOWN_GRACE_SECONDS`.
    pub(crate) grace: Duration,
    /// `WORKER_POD_GRACE_SECONDS`: when the platform kills.
    pub(crate) pod_grace: Duration,
    /// `WORKER_DEFAULT_TIMEOUT_SECONDS`.
    pub(crate) default_timeout: Duration,
    /// `WORKER_CANCEL_GRACE_SECONDS`: what a handler gets to stop by itself after a cancel.
    pub(crate) cancel_grace: Duration,
    /// `WORKER_POD_DELETION_COST_INTERVAL_SECONDS`: whether and how Kubernetes hears how busy this pod is.
    pub(crate) pod_cost: Option<PodCost>,
    /// Whether to listen for wake-ups; useless through a pooler in transaction mode.
    pub(crate) listen: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: default_name(),
            queues: QueuePlan::Strict(vec![jobqueue_core::QueueName::default()]),
            kinds: None,
            slots: 10,
            batch: 10,
            poll: Duration::from_secs(1),
            lease: Duration::from_mins(5),
            heartbeat: Duration::from_secs(10),
            stale_after: Duration::from_secs(30),
            grace: Duration::from_secs(50),
            pod_grace: Duration::from_mins(1),
            default_timeout: Duration::from_hours(1),
            cancel_grace: Duration::from_secs(5),
            pod_cost: None,
            listen: true,
        }
    }
}

impl Options {
    /// Refuses what makes no sense, with a sentence that says what to change.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |sentence: String| Err(ConfigError(sentence));
        let seconds = |span: Duration| span.as_secs_f64();
        if self.slots == 0 || self.slots > MAX_SLOTS {
            return refuse(format!(
                "WORKER_SLOTS must be 1 to {MAX_SLOTS}: a worker without slots runs nothing"
            ));
        }
        if self.batch == 0 || self.batch > jobqueue_core::limits::MAX_BATCH {
            let most = jobqueue_core::limits::MAX_BATCH;
            return refuse(format!(
                "WORKER_BATCH_SIZE must be 1 to {most}: a lease call of no jobs never ends"
            ));
        }
        if self.lease < self.heartbeat * 2 {
            return refuse(format!(
                "WORKER_LEASE_DURATION_SECONDS ({}) must be at least two heartbeats ({} each), or one late heartbeat loses \
                 every job: raise it or lower WORKER_HEARTBEAT_INTERVAL_SECONDS",
                seconds(self.lease),
                seconds(self.heartbeat)
            ));
        }
        if self.stale_after < self.heartbeat * 2 {
            return refuse(format!(
                "WORKER_STALE_AFTER_SECONDS ({}) must be at least two heartbeats ({} each), or one late heartbeat loses every \
                 job: raise it or lower WORKER_HEARTBEAT_INTERVAL_SECONDS",
                seconds(self.stale_after),
                seconds(self.heartbeat)
            ));
        }
        let needed = self.grace.saturating_add(AFTER_GRACE);
        if needed > self.pod_grace {
            return refuse(format!(
                "WORKER_SHUTDOWN_GRACE_SECONDS ({}) and the {} s after it, in which the rest is stopped and given back, must \
                 fit into the pod's terminationGracePeriodSeconds (WORKER_POD_GRACE_SECONDS, {}), or the worker is killed before \
                 it has given its jobs back: lower the first to {} or raise the second to {} in both places",
                seconds(self.grace),
                seconds(AFTER_GRACE),
                seconds(self.pod_grace),
                seconds(self.pod_grace.saturating_sub(AFTER_GRACE)),
                seconds(needed)
            ));
        }
        Ok(())
    }

    /// How long after its last good heartbeat a worker may still start jobs: a little less than what the reaper waits,
    /// counted from before the heartbeat was sent. What runs already goes on, for only the database knows whether its lease
    /// was reclaimed; to stop it on a guess would cost each job an attempt in every longer outage.
    pub(crate) fn trust(&self) -> Duration {
        let reclaimed_after = self.stale_after.min(self.lease.mul_f64(0.667));
        reclaimed_after.saturating_sub((reclaimed_after / 10).min(Duration::from_secs(2)))
    }
}

/// What the end may take after the grace, at most: handlers are stopped and their jobs given back, the worker says goodbye,
/// and what cannot be stopped is left behind.
const AFTER_GRACE: Duration = STOP_WITHIN.saturating_add(FAREWELL_LIMIT).saturating_add(ABANDON_AFTER);

/// Most slots of one process: beyond it, start more processes.
const MAX_SLOTS: usize = 10_000;

/// The host's name, which in a pod is the pod's.
fn default_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense_and_contradictions_are_named() {
        let fine = Options::default();
        fine.check().unwrap();
        assert_eq!(fine.trust(), Duration::from_secs(28));
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check().unwrap_err().0
        };
        assert!(with(|o| o.lease = Duration::from_secs(19)).contains("WORKER_LEASE_DURATION_SECONDS (19)"));
        assert_eq!(
            AFTER_GRACE,
            Duration::from_millis(8500),
            "the help of WORKER_SHUTDOWN_GRACE_SECONDS says it"
        );
        let tight = Options { grace: Duration::from_millis(51_500), ..Options::default() };
        tight.check().unwrap();
        let late = with(|o| o.grace = Duration::from_secs(52));
        for part in
            ["WORKER_SHUTDOWN_GRACE_SECONDS (52)", "8.5 s", "SECONDS, 60)", "to 51.5 or", "to 60.5 in"]
        {
            assert!(late.contains(part), "{part}: {late}");
        }
        assert!(with(|o| o.stale_after = Duration::from_secs(10)).contains("WORKER_STALE_AFTER_SECONDS"));
        assert!(with(|o| o.batch = 0).contains("WORKER_BATCH_SIZE"));
        assert!(with(|o| o.slots = 0).contains("WORKER_SLOTS"));
    }
}
