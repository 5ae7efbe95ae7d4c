//! The settings of one worker: bounds, intervals and limits, checked once. Owns which values fit together;
//! does not know where a value came from.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::KindName;
use jobqueue_core::limits::MAX_SLOTS;
use jobqueue_runtime::ConfigError;

use crate::pod_cost::PodCost;
use crate::queues::QueuePlan;
use crate::stop_times::AFTER_GRACE;

/// The settings of a worker. Each field names the environment variable by which the binary sets it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `WORKER_NAME`: the name that people see.
    pub(crate) name: String,
    /// `WORKER_QUEUES`: the queues to lease from, and their order.
    pub(crate) queues: QueuePlan,
    /// `WORKER_KINDS`: the only kinds to lease; `None` means every kind that has a handler.
    pub(crate) kinds: Option<BTreeSet<KindName>>,
    /// `WORKER_WEBHOOK_ALLOW`: hosts that webhooks of jobs may be sent to although their addresses are private.
    pub(crate) webhook_allow: Vec<String>,
    /// `WORKER_SLOTS`: how many jobs run at the same time.
    pub(crate) slots: usize,
    /// `WORKER_BATCH_SIZE`: the largest number of jobs that one lease call takes.
    pub(crate) batch: usize,
    /// `WORKER_POLL_INTERVAL_SECONDS`: the longest time between two polls.
    pub(crate) poll: Duration,
    /// `WORKER_LEASE_DURATION_SECONDS`: how long a lease lasts unless a heartbeat renews it.
    pub(crate) lease: Duration,
    /// `WORKER_HEARTBEAT_INTERVAL_SECONDS`: the time between heartbeats.
    pub(crate) heartbeat: Duration,
    /// `WORKER_STALE_AFTER_SECONDS`: time without a heartbeat after which the reaper considers this worker
    /// dead.
    pub(crate) stale_after: Duration,
    /// `WORKER_SHUTDOWN_GRACE_SECONDS`: how long running jobs may continue after the shutdown begins.
    pub(crate) grace: Duration,
    /// `WORKER_POD_GRACE_SECONDS`: time after SIGTERM at which the platform kills the process.
    pub(crate) pod_grace: Duration,
    /// `WORKER_DEFAULT_TIMEOUT_SECONDS`: time limit of an attempt whose job sets none.
    pub(crate) default_timeout: Duration,
    /// `WORKER_CANCEL_GRACE_SECONDS`: how long a handler may take to stop after a cancel.
    pub(crate) cancel_grace: Duration,
    /// `WORKER_POD_DELETION_COST_INTERVAL_SECONDS`: how the pod's deletion cost is reported to Kubernetes;
    /// `None` means never.
    pub(crate) pod_cost: Option<PodCost>,
    /// Whether to listen for wake-ups. They do not work through a pooler in transaction mode.
    pub(crate) listen: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: host_name(),
            queues: QueuePlan::Strict(vec![jobqueue_core::QueueName::default()]),
            kinds: None,
            webhook_allow: Vec::new(),
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
    /// Rejects invalid settings with a sentence that says what to change.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |sentence: String| Err(ConfigError(sentence));
        let seconds = |duration: Duration| duration.as_secs_f64();
        if !u32::try_from(self.slots).is_ok_and(|slots| (1..=MAX_SLOTS).contains(&slots)) {
            return refuse(format!(
                "WORKER_SLOTS must be 1 to {MAX_SLOTS}: a worker without slots runs nothing"
            ));
        }
        if self.batch == 0 || self.batch > jobqueue_core::limits::MAX_BATCH {
            let most = jobqueue_core::limits::MAX_BATCH;
            return refuse(format!(
                "WORKER_BATCH_SIZE must be 1 to {most}: a batch of no jobs leases nothing"
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
                "WORKER_SHUTDOWN_GRACE_SECONDS ({}) and the {} s after it, in which the remaining jobs are stopped and released, must \
                 fit into the pod's terminationGracePeriodSeconds (WORKER_POD_GRACE_SECONDS, {}), or the worker is killed before \
                 it has released its jobs: lower the first to {} or raise the second to {} in both places",
                seconds(self.grace),
                seconds(AFTER_GRACE),
                seconds(self.pod_grace),
                seconds(self.pod_grace.saturating_sub(AFTER_GRACE)),
                seconds(needed)
            ));
        }
        Ok(())
    }

    /// How old the last successful heartbeat may be while jobs are started: slightly less than the time after
    /// which the reaper reclaims, counted from before the heartbeat was sent. Running jobs continue after
    /// that, because only the database knows whether their leases were reclaimed; stopping them on a guess
    /// would cost each job an attempt in every longer outage.
    pub(crate) fn max_heartbeat_age(&self) -> Duration {
        let reclaimed_after = self.stale_after.min(self.lease.mul_f64(0.667));
        reclaimed_after.saturating_sub((reclaimed_after / 10).min(Duration::from_secs(2)))
    }
}

/// The host's name; in a pod, the pod's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_contradictions_are_named() {
        let fine = Options::default();
        fine.check().unwrap();
        assert_eq!(fine.max_heartbeat_age(), Duration::from_secs(28));
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check().unwrap_err().0
        };
        assert!(with(|o| o.lease = Duration::from_secs(19)).contains("WORKER_LEASE_DURATION_SECONDS (19)"));
        assert_eq!(
            AFTER_GRACE,
            Duration::from_millis(8500),
            "the help text of WORKER_SHUTDOWN_GRACE_SECONDS names this value"
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
