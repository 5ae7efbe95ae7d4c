//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures jobqueue beside a yardstick, on a Postgres of its own with fsync on.
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

    /// Small sizes, for a check in under two minutes. Its figures mean nothing; lost or doubled jobs still fail it.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Rounds; in each, the scenarios have their turns, and each its control. By default three, and one of scenarios that take minutes.
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) repeats: Option<usize>,

    /// Seconds of the steady scenarios (saturate, count, mixed, pinned, memory; 600 by default) and of each half of idle (120 by default).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,

    /// Jobs of the burn-down.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) jobs: usize,

    /// Where the figures go, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Print what each SQL statement took, at the end. It costs some of the speed, and Postgres needs `pg_stat_statements`.
    #[arg(long)]
    pub(crate) statements: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Drain waiting no-op jobs with one worker process.
    BurnDown,
    /// Enqueue, lease and settle at once; the worst minute is printed.
    Saturate,
    /// Saturate while an operator counts every second.
    Count,
    /// Retries, delays, priorities, unique keys, cancels and payload sizes mixed.
    Mixed,
    /// Saturate while another session holds a snapshot.
    Pinned,
    /// Single POSTs over keep-alive HTTP beside a control with one commit a request.
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
    /// Other queues on the same server, through the adapters in `bench/peers`.
    Peers,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// Database.
    #[arg(long)]
    pub(crate) url: String,
    /// Jobs at once.
    #[arg(long, default_value_t = 100)]
    pub(crate) slots: usize,
    /// Where executions are written at the end.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// Database.
    #[arg(long)]
    pub(crate) url: String,
    /// Port on the loopback.
    #[arg(long)]
    pub(crate) port: u16,
    /// With 64 connections, as the control needs them.
    #[arg(long)]
    pub(crate) control: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReaperArgs {
    /// Database.
    #[arg(long)]
    pub(crate) url: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RemoteArgs {
    /// Of the API.
    #[arg(long)]
    pub(crate) address: String,
    /// How many at once.
    #[arg(long)]
    pub(crate) workers: usize,
    /// Where executions are written.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlotArgs {
    /// Figures of `run --json`; of several files the later ones win.
    #[arg(required = true)]
    pub(crate) figures: Vec<PathBuf>,
    /// Folder of the SVG files.
    #[arg(long, default_value = "docs/performance")]
    pub(crate) out: PathBuf,
}
