//! A benchmark of jobqueue. The database is durable, figures are compared with a control of the same run, a job counts
//! when its final state is committed, and a ledger of executions proves that no job was lost or ran twice.
//!
//! It uses only the public interfaces of the product; plain SQL is used for the yardstick and for counting.

mod args;
mod cost;
mod http_load;
mod ledger;
mod machine;
mod open_loop;
mod plot;
mod process;
mod remote;
mod report;
mod scenarios;
mod server;
mod stats;
mod submissions;
mod worker;
mod yardstick;

pub use args::Args;
use args::Command;

/// Runs the command of the command line.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.command {
            Command::Run(options) => scenarios::run(options).await,
            Command::Worker(options) => worker::run(options).await,
            Command::Api(options) => process::api(options).await,
            Command::Reaper(options) => process::reaper(options).await,
            Command::Remote(options) => remote::run(options).await,
            Command::Plot(options) => plot::run(&options),
        }
    })
}
