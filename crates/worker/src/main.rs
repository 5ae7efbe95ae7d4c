//! The `jobqueue-worker` binary: leases jobs and runs them with the handlers of one configuration file.

use std::process::ExitCode;

use jobqueue_worker::WorkerCli;

fn main() -> ExitCode {
    jobqueue_worker::protect_secrets();
    let args: WorkerCli = jobqueue_runtime::parse_args();
    let telemetry = args.telemetry.clone();
    jobqueue_runtime::boot("jobqueue-worker", &telemetry, |shutdown| {
        jobqueue_worker::run_alone(args, shutdown)
    })
}
