//! The command line of `jobqueue`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jobqueue_runtime::{DatabaseArgs, LogOutput, TelemetryArgs};

/// jobqueue: background jobs on Postgres.
///
/// `jobqueue demo` shows everything at work. The client commands talk to the API at JOBQUEUE_URL.
#[derive(Debug, Parser)]
#[command(
    name = "jobqueue",
    version,
    arg_required_else_help = true,
    mut_arg("log_level", |arg| arg.default_value("WARN")),
    mut_arg("log_format", |arg| arg.default_value("console"))
)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

impl Cli {
    /// How this command logs: always to stderr, because its output is for people and pipes.
    pub fn telemetry(&self) -> TelemetryArgs {
        TelemetryArgs { log_output: LogOutput::Stderr, ..self.telemetry.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs API, worker and reaper in this process on a private Postgres, and real jobs through them.
    Demo(DemoArgs),
    /// Brings the schema of DATABASE_URL up to date. Safe to run again, and from several places at once.
    Migrate(MigrateArgs),
    /// Submits a job and prints it.
    Submit(SubmitArgs),
    /// Prints a job.
    Get(GetArgs),
    /// Prints jobs, newest first, a line each.
    List(ListArgs),
    /// Cancels a job: at once if it waits, by asking its worker if it runs.
    Cancel(ActArgs),
    /// Runs a failed or cancelled job again.
    Retry(ActArgs),
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Port of the API on 127.0.0.1.
    #[arg(long, default_value_t = 8000, value_name = "PORT")]
    pub(crate) port: u16,

    /// A Postgres to use (an empty database) instead of a private one.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Where the private Postgres keeps its data between runs. Default: $XDG_DATA_HOME/jobqueue-demo or
    /// ~/.local/share/jobqueue-demo; for root /var/tmp/jobqueue-demo, because Postgres refuses to run as root.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// A text whose paragraphs become the jobs. Default: the text of this software's licence.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Stop when the jobs are done instead of waiting for Ctrl-C.
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// Where the API is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiArgs {
    /// Base URL of the API.
    #[arg(long, env = "JOBQUEUE_URL", default_value = "http://127.0.0.1:8000", value_name = "URL")]
    pub(crate) url: String,

    /// API key; not needed by the demo.
    #[arg(long, env = "JOBQUEUE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArgs {
    /// Kind of the job: decides which handler runs it.
    pub(crate) kind: String,

    /// JSON input; `-` reads it from standard input.
    #[arg(default_value = "{}")]
    pub(crate) payload: String,

    /// Queue.
    #[arg(long, default_value = "default")]
    pub(crate) queue: String,

    /// -100 to 100; higher runs first.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub(crate) priority: i16,

    /// Start no earlier than this many seconds from now.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) delay_seconds: Option<f64>,

    /// Wait up to this many seconds for the job to end (0 to 60).
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) wait: u64,

    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// Id of the job.
    pub(crate) id: String,

    /// Wait up to this many seconds for the job to end (0 to 60).
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) wait: u64,

    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only jobs in this status; may be given several times.
    #[arg(long)]
    pub(crate) status: Vec<String>,

    /// Only jobs of this queue; may be given several times.
    #[arg(long)]
    pub(crate) queue: Vec<String>,

    /// Most jobs.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,

    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ActArgs {
    /// Id of the job.
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["jobqueue", "submit", "k", "--priority", "-5"]).unwrap();
        assert!(matches!(cli.command, Command::Submit(SubmitArgs { priority: -5, .. })));
    }
}
