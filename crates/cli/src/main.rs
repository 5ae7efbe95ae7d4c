//! The `jobqueue` command: a demo of the whole platform, migrations, and a client of the API.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobqueue_cli::start(jobqueue_runtime::parse_args())
}
