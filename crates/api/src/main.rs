//! The `jobqueue-api` binary. It selects the command and starts it; everything else is in the library.

use std::process::ExitCode;

use jobqueue_api::args::{ApiCli, ApiCommand};
use jobqueue_runtime::{boot, parse_args};

fn main() -> ExitCode {
    let ApiCli { command, serve } = parse_args();
    match command {
        None => boot("jobqueue-api", &serve.telemetry.clone(), |shutdown| jobqueue_api::run(serve, shutdown)),
        Some(ApiCommand::Migrate(args)) => {
            boot("jobqueue-api", &args.telemetry.clone(), |_| jobqueue_api::migrate(args))
        }
        Some(ApiCommand::Wait(args)) => {
            boot("jobqueue-api", &args.telemetry.clone(), |shutdown| jobqueue_api::wait(args, shutdown))
        }
        Some(ApiCommand::Probe) => jobqueue_api::probe(serve.api_addr),
        Some(ApiCommand::Openapi) => {
            jobqueue_api::openapi::print();
            ExitCode::SUCCESS
        }
    }
}
