//! The `jobqueue-worker` binary: leases jobs and runs them by the handlers of one configuration file.

use std::process::ExitCode;

use jobqueue_worker::Args;

fn main() -> ExitCode {
    let args: Args = jobqueue_runtime::parse_args();
    let telemetry = args.telemetry.clone();
    jobqueue_runtime::boot("jobqueue-worker", &telemetry, |shutdown| jobqueue_worker::run(args, shutdown))
}
