//! What an operator can set. Every duty has its own rhythm; the defaults keep the product's promises.

use std::time::Duration;

use clap::Parser;
use jobqueue_runtime::{AdminArgs, DatabaseArgs, Seconds, TelemetryArgs};

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

    /// How often lost leases are looked for. With the workers' own WORKER_STALE_AFTER_SECONDS it decides how soon a
    /// dead worker's jobs run again.
    #[arg(long = "reclaim-interval-seconds", env = "REAPER_RECLAIM_INTERVAL_SECONDS", default_value = "2", value_name = "SECONDS",
          value_parser = Seconds::parse_duration)]
    pub reclaim_interval: Duration,

    /// After an outage of the database nothing is reclaimed for this long: every worker looks dead then, and all running jobs
    /// would run twice. A worker that may be silent for longer (WORKER_STALE_AFTER_SECONDS) is waited for as long; 0 switches it off.
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
