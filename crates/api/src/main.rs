//! The `jobqueue-api` binary. Picks what to run and boots it; everything else is the library's.

use std::process::ExitCode;

use jobqueue_api::args::{Cli, Command};
use jobqueue_runtime::{boot, parse_args};

fn main() -> ExitCode {
    let Cli { command, serve } = parse_args();
    match command {
        None => boot("jobqueue-api", &serve.telemetry.clone(), |shutdown| jobqueue_api::run(serve, shutdown)),
        Some(Command::Migrate(args)) => {
            boot("jobqueue-api", &args.telemetry.clone(), |_| jobqueue_api::migrate(args))
        }
        Some(Command::Wait(args)) => {
            boot("jobqueue-api", &args.telemetry.clone(), |shutdown| jobqueue_api::wait(args, shutdown))
        }
        Some(Command::Probe) => jobqueue_api::probe(serve.api_addr),
        Some(Command::Openapi) => {
            jobqueue_api::openapi::print();
            ExitCode::SUCCESS
        }
    }
}
