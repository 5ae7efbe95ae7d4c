//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures jobqueue and a yardstick, on its own Postgres with fsync on.
#[derive(Debug, Parser)]
#[command(name = "jobqueue-bench", version)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs scenarios and prints a table.
    Run(RunArgs),
    /// One worker process under test; started by `run`.
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// One API process under test; started by `run`.
    #[command(hide = true)]
    Api(ApiArgs),
    /// One reaper process under test; started by `run`.
    #[command(hide = true)]
    Reaper(ReaperArgs),
    /// Workers over HTTP; started by `run`.
    #[command(hide = true)]
    Remote(RemoteArgs),
    /// Draws the plots of a run's JSON.
    Plot(PlotArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Scenarios; all but `peers` if none is named.
    #[arg(value_enum)]
    pub(crate) scenarios: Vec<Scenario>,

    /// Runs with small sizes, as a check in under two minutes. The figures are meaningless; lost or duplicate
    /// jobs still fail the run.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Number of rounds. Each round runs every scenario once with its control. Default: three, and one for
    /// scenarios that take minutes.
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) repeats: Option<usize>,

    /// Seconds of the steady scenarios (saturate, count, mixed, pinned, memory; 600 by default) and of each half of idle (120 by default).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,

    /// Jobs of the burn-down.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) jobs: usize,

    /// Writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Prints the time of each SQL statement at the end. This slows the run down, and Postgres needs
    /// `pg_stat_statements`.
    #[arg(long)]
    pub(crate) statements: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Drain waiting no-op jobs with one worker process.
    BurnDown,
    /// Enqueue, lease and settle concurrently; prints the worst minute.
    Saturate,
    /// Saturate while another session counts the jobs every second.
    Count,
    /// Retries, delays, priorities, unique keys, cancels and payload sizes mixed.
    Mixed,
    /// Saturate while another session holds a snapshot.
    Pinned,
    /// Single POSTs over keep-alive HTTP, and a control with one commit per request.
    Rest,
    /// Submission to handler start, open loop.
    Latency,
    /// CPU while nothing or little happens.
    Idle,
    /// Resident memory under a steady load.
    Memory,
    /// Drain rate and cost of a lease with a shallow and with a deep backlog.
    Backlog,
    /// Many worker processes, and many remote workers over HTTP.
    Crowd,
    /// Time until 10,000 schedules that are due at once have their jobs, and the lag of 200 a second.
    Schedules,
    /// Other queues on the same server, through the adapters in `bench/peers`.
    Peers,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// URL of the database.
    #[arg(long)]
    pub(crate) url: String,
    /// Number of jobs that run at the same time.
    #[arg(long, default_value_t = 100)]
    pub(crate) slots: usize,
    /// File to which executions are written at the end.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// URL of the database.
    #[arg(long)]
    pub(crate) url: String,
    /// Port on the loopback address.
    #[arg(long)]
    pub(crate) port: u16,
    /// Uses 64 connections, as the control needs.
    #[arg(long)]
    pub(crate) control: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReaperArgs {
    /// URL of the database.
    #[arg(long)]
    pub(crate) url: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RemoteArgs {
    /// Address of the API.
    #[arg(long)]
    pub(crate) address: String,
    /// Number of workers.
    #[arg(long)]
    pub(crate) workers: usize,
    /// File to which executions are written.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlotArgs {
    /// Files of `run --json`; later files override earlier ones.
    #[arg(required = true)]
    pub(crate) figures: Vec<PathBuf>,
    /// Folder of the SVG files.
    #[arg(long, default_value = "docs/performance")]
    pub(crate) out: PathBuf,
}
