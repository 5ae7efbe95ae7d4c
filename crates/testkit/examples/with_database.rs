//! Runs a command with `DATABASE_URL` set to a temporary database with every migration, and exits with its
//! exit code: `cargo run -q -p jobqueue-testkit --example with_database -- psql`. The database is deleted at
//! the end.

use std::env;
use std::process::ExitCode;

use jobqueue_testkit::TestDb;
use tokio::process::Command;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with_database <command> [argument…]");
        return ExitCode::from(2);
    };
    let db = TestDb::new().await;
    match Command::new(program).args(words).env("DATABASE_URL", db.url()).status().await {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("cannot run the command: {error}");
            ExitCode::FAILURE
        }
    }
}
