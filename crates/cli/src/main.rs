//! The `jobqueue` command: a demo of the whole platform, migrations, and a small client.

use std::process::ExitCode;

use jobqueue_cli::Cli;

fn main() -> ExitCode {
    let cli: Cli = jobqueue_runtime::parse_args();
    let telemetry = cli.telemetry();
    jobqueue_runtime::boot("jobqueue", &telemetry, |shutdown| jobqueue_cli::run(cli, shutdown))
}
