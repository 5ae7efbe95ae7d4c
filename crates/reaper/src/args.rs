//! What an operator can set. Every duty has its own rhythm; the defaults keep the product's promises.

use std::time::Duration;

use clap::Parser;
use jobqueue_runtime::{AdminArgs, ConfigError, DatabaseArgs, Seconds, TelemetryArgs};

/// Does the standing duties of the queue: reclaims jobs of dead workers, starts delayed jobs, expires, prunes, counts.
///
/// One reaper is enough; a second one is a stand-by that shares the work.
#[derive(Clone, Debug, Parser)]
#[command(name = "jobqueue-reaper", version)]
pub struct Args {
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

/// Rhythms and bounds of the duties. All spans in seconds.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Duties")]
pub struct DutyArgs {
    /// How often old jobs are pruned and room for new ones is made.
    #[arg(long = "interval-seconds", env = "REAPER_INTERVAL_SECONDS", default_value = "60", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub interval: Duration,

    /// How often lost leases are looked for. With REAPER_STALE_AFTER_SECONDS it decides how soon a dead worker's jobs run again.
    #[arg(long = "reclaim-interval-seconds", env = "REAPER_RECLAIM_INTERVAL_SECONDS", default_value = "2", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub reclaim_interval: Duration,

    /// A worker that was silent for this long is dead. At least three of its heartbeats (WORKER_HEARTBEAT_INTERVAL_SECONDS, 10).
    #[arg(long = "stale-after-seconds", env = "REAPER_STALE_AFTER_SECONDS", default_value = "30", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub stale_after: Duration,

    /// After an outage of the database nothing is reclaimed for this long: every worker looks dead then, and all running jobs
    /// would run twice.
    #[arg(long = "hold-off-seconds", env = "REAPER_HOLD_OFF_SECONDS", default_value = "30", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub hold_off: Duration,

    /// How often delayed jobs and retries whose time has come are started.
    #[arg(long = "promote-interval-seconds", env = "REAPER_PROMOTE_INTERVAL_SECONDS", default_value = "0.25", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub promote_interval: Duration,

    /// How often waiting jobs past their expires_at are cancelled.
    #[arg(long = "expire-interval-seconds", env = "REAPER_EXPIRE_INTERVAL_SECONDS", default_value = "1", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub expire_interval: Duration,

    /// How often the queues are counted for the metrics.
    #[arg(long = "census-interval-seconds", env = "REAPER_CENSUS_INTERVAL_SECONDS", default_value = "5", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub census_interval: Duration,

    /// How long completed jobs are kept; a queue can have its own. 604800 is 7 days.
    #[arg(long = "completed-retention-seconds", env = "REAPER_COMPLETED_RETENTION_SECONDS", default_value = "604800",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub completed_retention: Duration,

    /// How long failed and cancelled jobs are kept; a queue can have its own. 2592000 is 30 days.
    #[arg(long = "failed-retention-seconds", env = "REAPER_FAILED_RETENTION_SECONDS", default_value = "2592000",
          value_name = "SECONDS", value_parser = Seconds::parse_duration)]
    pub failed_retention: Duration,

    /// Most jobs that one statement of a duty moves.
    #[arg(long = "batch-size", env = "REAPER_BATCH_SIZE", default_value_t = 1000, value_name = "JOBS",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_size: u32,
}

impl DutyArgs {
    /// Refuses rhythms that contradict each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.stale_after < self.reclaim_interval {
            return Err(ConfigError(format!(
                "REAPER_STALE_AFTER_SECONDS ({:?}) must not be below REAPER_RECLAIM_INTERVAL_SECONDS ({:?}): raise the first or \
                 lower the second",
                self.stale_after, self.reclaim_interval
            )));
        }
        if self.hold_off < self.stale_after {
            return Err(ConfigError(format!(
                "REAPER_HOLD_OFF_SECONDS ({:?}) must not be below REAPER_STALE_AFTER_SECONDS ({:?}), or jobs run twice after every \
                 outage of the database: raise it",
                self.hold_off, self.stale_after
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(more: &[&str]) -> Args {
        let base = ["jobqueue-reaper", "--database-url", "postgresql://localhost/jobqueue"];
        Args::try_parse_from(base.iter().chain(more)).unwrap()
    }

    #[test]
    fn the_command_line_is_sound_and_the_defaults_pass() {
        Args::command().debug_assert();
        assert_eq!(parse(&[]).duties.check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused_with_a_sentence() {
        let late = parse(&["--stale-after-seconds", "1"]).duties.check().unwrap_err();
        assert!(late.0.contains("REAPER_STALE_AFTER_SECONDS"), "{late}");
        let hasty = parse(&["--hold-off-seconds", "5"]).duties.check().unwrap_err();
        assert!(hasty.0.contains("REAPER_HOLD_OFF_SECONDS"), "{hasty}");
    }
}
