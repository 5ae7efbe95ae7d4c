//! Command line options of the worker and their variables. Defines names, defaults and help texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use jobqueue_runtime::{AdminArgs, ConfigError, DatabaseArgs, PoolerArg, Seconds, TelemetryArgs};
use jobqueue_store::{DatabaseUrl, Pooler, StoreOptions};

use crate::builder::WorkerBuilder;
use crate::config::Config;
use crate::pod_cost::PodCost;
use crate::worker::Worker;

/// Leases jobs, runs them with the handlers of a configuration file, and stores their results.
///
/// On SIGTERM it leases no more jobs, lets running jobs finish within the grace period and releases the rest.
/// After a second signal it releases them at once.
#[derive(Clone, Debug, Parser)]
#[command(name = "jobqueue-worker", version)]
pub struct WorkerCli {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "documented where it is defined; a doc comment here would title the help section"
    )]
    pub worker: WorkerArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is defined")]
    pub telemetry: TelemetryArgs,
}

/// Options of the worker. All durations are in seconds.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerArgs {
    /// TOML file that binds kinds of jobs to handlers of type `command` or `http`. See docs/handlers.md.
    #[arg(long = "config", env = "WORKER_CONFIG", value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Queues to lease from. `critical,default` is a strict order. `critical=3,default=1` draws a random
    /// order by weight for each call, so that no queue starves.
    #[arg(long = "queues", env = "WORKER_QUEUES", default_value = "default", value_name = "QUEUES")]
    pub queues: String,

    /// Kinds to lease, separated by commas. Default: every kind that has a handler. Jobs of other kinds wait
    /// for a worker that has a handler for them.
    #[arg(long = "kinds", env = "WORKER_KINDS", value_name = "KINDS")]
    pub kinds: Option<String>,

    /// Hosts, as `host` or `host:port`, separated by commas, to which webhooks of jobs (`on_end`) may be sent although their
    /// addresses are private. Default: none.
    #[arg(long = "webhook-allow", env = "WORKER_WEBHOOK_ALLOW", value_name = "HOSTS")]
    pub webhook_allow: Option<String>,

    /// Number of jobs that run at the same time.
    #[arg(long = "slots", env = "WORKER_SLOTS", default_value_t = 10, value_name = "JOBS")]
    pub slots: usize,

    /// Largest number of jobs per lease call, 1 to 1000.
    #[arg(long = "batch-size", env = "WORKER_BATCH_SIZE", default_value_t = 10, value_name = "JOBS")]
    pub batch_size: usize,

    /// Interval between polls while no jobs arrive. A notification triggers a poll earlier. Without
    /// notifications, polls become more frequent while they find jobs, but at least about 5 ms apart.
    #[arg(long = "poll-interval-seconds", env = "WORKER_POLL_INTERVAL_SECONDS", default_value = "1.0", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub poll_interval: Duration,

    /// Time after which a lease expires unless a heartbeat renews it. At least two heartbeat intervals.
    #[arg(long = "lease-duration-seconds", env = "WORKER_LEASE_DURATION_SECONDS", default_value = "300", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub lease_duration: Duration,

    /// Time between two heartbeats. Without notifications the worker learns of cancels and commands with the
    /// next heartbeat.
    #[arg(long = "heartbeat-interval-seconds", env = "WORKER_HEARTBEAT_INTERVAL_SECONDS", default_value = "10",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub heartbeat_interval: Duration,

    /// Time without a heartbeat after which the reaper treats this worker as dead and returns its jobs to the
    /// queue; at least two heartbeat intervals. A worker that has not reached the database for almost this
    /// time starts no new jobs. Running jobs continue until the database reports that their lease is lost.
    #[arg(long = "stale-after-seconds", env = "WORKER_STALE_AFTER_SECONDS", default_value = "30", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub stale_after: Duration,

    /// Time that running jobs get to finish after SIGTERM. At least 8.5 below WORKER_POD_GRACE_SECONDS,
    /// because stopping and releasing the remaining jobs may take that long.
    #[arg(long = "shutdown-grace-seconds", env = "WORKER_SHUTDOWN_GRACE_SECONDS", default_value = "50", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub shutdown_grace: Duration,

    /// Time after SIGTERM at which the platform kills the process: the pod's terminationGracePeriodSeconds.
    #[arg(long = "pod-grace-seconds", env = "WORKER_POD_GRACE_SECONDS", default_value = "60", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub pod_grace: Duration,

    /// Timeout of an attempt if its job has none.
    #[arg(long = "default-timeout-seconds", env = "WORKER_DEFAULT_TIMEOUT_SECONDS", default_value = "3600",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub default_timeout: Duration,

    /// Time that a handler gets to stop after its job was cancelled.
    #[arg(long = "cancel-grace-seconds", env = "WORKER_CANCEL_GRACE_SECONDS", default_value = "5", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub cancel_grace: Duration,

    /// Name of the worker, for people. Default: the host name, which is the pod's name.
    #[arg(long = "name", env = "WORKER_NAME", value_name = "NAME")]
    pub name: Option<String>,

    /// How often to report to Kubernetes how much work this pod holds, if that changed much
    /// (`controller.kubernetes.io/pod-deletion-cost`). Kubernetes then removes idle pods first. Default:
    /// never. Needs WORKER_POD_NAME and a service account that may patch the pod.
    #[arg(long = "pod-deletion-cost-interval-seconds", env = "WORKER_POD_DELETION_COST_INTERVAL_SECONDS", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub pod_deletion_cost_interval: Option<Duration>,

    /// Name of this pod, from the downward API (`metadata.name`); used only for its deletion cost.
    #[arg(long = "pod-name", env = "WORKER_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// URL of the Kubernetes API; used only for the pod's deletion cost.
    #[arg(
        long = "kubernetes-url",
        env = "WORKER_KUBERNETES_URL",
        value_name = "URL",
        default_value = "https://kubernetes.default.svc"
    )]
    pub kubernetes_url: String,

    /// Directory in which the service account is mounted; used only for the pod's deletion cost.
    #[arg(
        long = "service-account-dir",
        env = "WORKER_SERVICE_ACCOUNT_DIR",
        value_name = "PATH",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount"
    )]
    pub service_account_dir: PathBuf,
}

impl WorkerArgs {
    /// Returns a builder with these settings and the handlers of the configuration file, if one is set.
    ///
    /// # Errors
    /// The configuration file cannot be read or is invalid.
    pub fn builder(&self, database: &DatabaseArgs) -> Result<WorkerBuilder, ConfigError> {
        let store = StoreOptions {
            url: DatabaseUrl::new(database.url(), database.url_file()),
            application_name: "jobqueue-worker".to_owned(),
            max_connections: database.database_max_connections,
            connect_timeout: database.database_connect_timeout,
            pooler: match database.database_pooler {
                PoolerArg::None => Pooler::None,
                PoolerArg::Transaction => Pooler::Transaction,
            },
        };
        let mut builder = Worker::builder(store)
            .queues(self.queues.split(','))
            .slots(self.slots)
            .batch_size(self.batch_size)
            .poll_interval(self.poll_interval)
            .lease_duration(self.lease_duration)
            .heartbeat_interval(self.heartbeat_interval)
            .stale_after(self.stale_after)
            .shutdown_grace(self.shutdown_grace)
            .default_timeout(self.default_timeout)
            .cancel_grace(self.cancel_grace);
        builder.options.pod_grace = self.pod_grace;
        if let Some(interval) = self.pod_deletion_cost_interval {
            let pod = self.pod_name.as_deref();
            builder.options.pod_cost =
                Some(PodCost::new(interval, &self.kubernetes_url, pod, &self.service_account_dir)?);
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(hosts) = &self.webhook_allow {
            builder = builder.webhook_allow(hosts.split(','));
        }
        if let Some(kinds) = &self.kinds {
            builder = builder.kinds(kinds.split(','));
        }
        if let Some(path) = &self.config {
            for (kind, handler) in Config::read(path)?.handlers(&builder.processes)? {
                builder = builder.handler(&kind, handler);
            }
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn build(more: &[&str]) -> Result<Worker, ConfigError> {
        let base = ["jobqueue-worker", "--database-url", "postgresql://localhost/jobqueue"];
        let args = WorkerCli::try_parse_from(base.iter().chain(more)).unwrap();
        let handled = args.worker.builder(&args.database)?.handle("noop", async |_, (): ()| Ok(()));
        handled.build()
    }

    #[tokio::test]
    async fn the_command_line_is_sound_and_the_defaults_pass() {
        WorkerCli::command().debug_assert();
        assert!(build(&[]).is_ok());
    }

    #[tokio::test]
    async fn nonsense_is_refused_with_a_sentence() {
        for (wrong, named) in [
            (["--lease-duration-seconds", "15"], "WORKER_LEASE_DURATION_SECONDS"),
            (["--shutdown-grace-seconds", "52"], "WORKER_SHUTDOWN_GRACE_SECONDS"),
            (["--batch-size", "0"], "WORKER_BATCH_SIZE"),
            (["--slots", "0"], "WORKER_SLOTS"),
            (["--queues", "a=0"], "weight"),
            (["--kinds", "unbound"], "WORKER_KINDS"),
            (["--config", "/nowhere.toml"], "/nowhere.toml"),
        ] {
            let refused = build(&wrong).err().unwrap_or_else(|| panic!("{wrong:?} passed"));
            assert!(refused.0.contains(named), "{wrong:?}: {refused}");
        }
    }
}
