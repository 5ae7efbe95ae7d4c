//! `jobqueue-bench`: measures jobqueue and a yardstick in one run, on a private Postgres.

use std::process::ExitCode;

use clap::Parser as _;
use jobqueue_bench::Args;

fn main() -> ExitCode {
    jobqueue_runtime::install_tls_provider();
    match jobqueue_bench::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobqueue-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
