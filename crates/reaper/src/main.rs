//! The `jobqueue-reaper` binary: every duty of the queue that runs without a request.

use std::process::ExitCode;

use jobqueue_reaper::ReaperCli;

fn main() -> ExitCode {
    let args: ReaperCli = jobqueue_runtime::parse_args();
    let telemetry = args.telemetry.clone();
    jobqueue_runtime::boot("jobqueue-reaper", &telemetry, |shutdown| jobqueue_reaper::run(args, shutdown))
}
