//! Command line options of the reaper. Every duty has its own interval. The defaults keep the promised times.

use std::time::Duration;

use clap::Parser;
use jobqueue_runtime::{AdminArgs, DatabaseArgs, Seconds, TelemetryArgs};

/// Maintains the queue periodically: reclaims jobs of dead workers, starts delayed jobs, expires and prunes
/// jobs, counts the queues.
///
/// One reaper is enough. A second one shares the work and continues alone if the first one fails.
#[derive(Clone, Debug, Parser)]
#[command(name = "jobqueue-reaper", version)]
pub struct ReaperCli {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "documented where it is defined; a doc comment here would title the help section"
    )]
    pub duties: DutyArgs,
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

/// Intervals and limits of the duties. All durations are in seconds.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Duties")]
pub struct DutyArgs {
    /// How often old jobs are pruned, unused queues deleted, and tables for new jobs created.
    #[arg(long = "interval-seconds", env = "REAPER_INTERVAL_SECONDS", default_value = "60", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub interval: Duration,

    /// How often the reaper scans for lost leases. Together with the workers' WORKER_STALE_AFTER_SECONDS it
    /// determines how soon a dead worker's jobs run again.
    #[arg(long = "reclaim-interval-seconds", env = "REAPER_RECLAIM_INTERVAL_SECONDS", default_value = "2", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub reclaim_interval: Duration,

    /// How long the database must have been up after a long outage before a worker without a heartbeat counts
    /// as dead; at least the worker's WORKER_STALE_AFTER_SECONDS. During an outage no worker can send a
    /// heartbeat, so without this delay every running job would run twice. 0 disables the delay; otherwise it is
    /// at least 1. The reaper scans for lost leases at least ten times in this duration.
    #[arg(long = "hold-off-seconds", env = "REAPER_HOLD_OFF_SECONDS", default_value = "30", value_name = "SECONDS",
          value_parser = hold_off)]
    pub hold_off: Duration,

    /// How often due delayed jobs and retries are made runnable.
    #[arg(long = "promote-interval-seconds", env = "REAPER_PROMOTE_INTERVAL_SECONDS", default_value = "0.25", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub promote_interval: Duration,

    /// How often due ticks of schedules are looked for. A tick fires up to this duration after its time.
    #[arg(long = "schedules-interval-seconds", env = "REAPER_SCHEDULES_INTERVAL_SECONDS", default_value = "0.25", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub schedules_interval: Duration,

    /// How often, while there are none, the reaper checks for jobs that were enqueued in SQL without `wake`, to
    /// notify the workers. While there are some it checks every 2 ms. Only one of several reapers checks.
    #[arg(long = "arrivals-interval-seconds", env = "REAPER_ARRIVALS_INTERVAL_SECONDS", default_value = "0.02", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub arrivals_interval: Duration,

    /// How often waiting jobs whose expires_at has passed are cancelled.
    #[arg(long = "expire-interval-seconds", env = "REAPER_EXPIRE_INTERVAL_SECONDS", default_value = "1", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub expire_interval: Duration,

    /// How often the queues are counted for the metrics.
    #[arg(long = "census-interval-seconds", env = "REAPER_CENSUS_INTERVAL_SECONDS", default_value = "5", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub census_interval: Duration,

    /// How often the dead letters are counted by group. Lists of groups are at most so old.
    #[arg(long = "dead-letters-interval-seconds", env = "REAPER_DEAD_LETTERS_INTERVAL_SECONDS", default_value = "1", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub dead_letters_interval: Duration,

    /// How often redrives of dead letters make a step.
    #[arg(long = "redrive-interval-seconds", env = "REAPER_REDRIVE_INTERVAL_SECONDS", default_value = "0.5", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub redrive_interval: Duration,

    /// How often the dead rows of the tables that change most are counted.
    #[arg(long = "vacuum-interval-seconds", env = "REAPER_VACUUM_INTERVAL_SECONDS", default_value = "1", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub vacuum_interval: Duration,

    /// Number of dead rows from which such a table is vacuumed; 0 leaves it to autovacuum.
    #[arg(
        long = "vacuum-dead-rows",
        env = "REAPER_VACUUM_DEAD_ROWS",
        default_value_t = 5000,
        value_name = "ROWS"
    )]
    pub vacuum_dead_rows: u64,

    /// How many queues /metrics names: the most active ones. The others are summed up as `queue="_other"`.
    #[arg(long = "named-queues", env = "REAPER_NAMED_QUEUES", default_value_t = 200, value_name = "QUEUES",
          value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub named_queues: u32,

    /// How long completed jobs are kept, unless their queue has its own setting. 604800 is 7 days.
    #[arg(long = "completed-retention-seconds", env = "REAPER_COMPLETED_RETENTION_SECONDS", default_value = "604800",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub completed_retention: Duration,

    /// How long failed and cancelled jobs are kept, unless their queue has its own setting. 2592000 is 30
    /// days.
    #[arg(long = "failed-retention-seconds", env = "REAPER_FAILED_RETENTION_SECONDS", default_value = "2592000",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub failed_retention: Duration,

    /// How long a queue is kept without any use: no job, not even a final one, no setting, and no running worker and no
    /// schedule that names it. 2592000 is 30 days; 0 keeps it forever. Kinds are kept for 400 days without use, or forever as well.
    #[arg(long = "queue-retention-seconds", env = "REAPER_QUEUE_RETENTION_SECONDS", default_value = "2592000",
          value_name = "SECONDS", value_parser = Seconds::parse_duration_or_zero)]
    pub queue_retention: Duration,

    /// How many days entries of the audit log are kept, at least 30; 0 keeps them forever.
    #[arg(long = "audit-retention-days", env = "REAPER_AUDIT_RETENTION_DAYS", default_value_t = 400, value_name = "DAYS",
          value_parser = audit_retention)]
    pub audit_retention_days: u32,

    /// Largest number of jobs that one statement of a duty moves.
    #[arg(long = "batch-size", env = "REAPER_BATCH_SIZE", default_value_t = 1000, value_name = "JOBS",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_size: u32,
}

/// A shorter one would make the scan for lost leases spin.
fn hold_off(text: &str) -> Result<Duration, String> {
    let hold_off = Seconds::parse_duration_or_zero(text).map_err(|error| error.to_string())?;
    if hold_off.is_zero() || hold_off >= Duration::from_secs(1) {
        Ok(hold_off)
    } else {
        Err("too short: use at least 1 second, or 0 to disable the delay".to_owned())
    }
}

/// The database deletes no younger entry than 30 days.
fn audit_retention(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| matches!(days, 0 | 30..=36_500));
    days.ok_or_else(|| "must be 0, or a whole number from 30 to 36500".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        ReaperCli::command().debug_assert();
    }

    #[test]
    fn zero_switches_off_what_can_be_switched_off() {
        let parsed = |option: &str, value: &str| {
            ReaperCli::try_parse_from([
                "reaper",
                "--database-url=postgres://a/b",
                &format!("{option}={value}"),
            ])
        };
        assert_eq!(parsed("--hold-off-seconds", "0").unwrap().duties.hold_off, Duration::ZERO);
        assert_eq!(parsed("--queue-retention-seconds", "0").unwrap().duties.queue_retention, Duration::ZERO);
        assert_eq!(parsed("--hold-off-seconds", "1").unwrap().duties.hold_off, Duration::from_secs(1));
        for (option, value, words) in [
            ("--hold-off-seconds", "0.5", "or 0 to disable the delay"),
            ("--hold-off-seconds", "-1", "out of range"),
            ("--reclaim-interval-seconds", "0", "out of range"),
        ] {
            let refused = parsed(option, value).unwrap_err().to_string();
            assert!(refused.contains(words), "{option} {value}: {refused}");
        }
    }

    #[test]
    fn the_audit_log_is_kept_for_a_month_at_least() {
        assert_eq!((audit_retention("0"), audit_retention("30")), (Ok(0), Ok(30)));
        for wrong in ["29", "x", "-1", "36501"] {
            assert!(audit_retention(wrong).is_err(), "{wrong}");
        }
    }
}
