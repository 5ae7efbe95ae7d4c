//! `jobqueue`: the demo (everything in one process on a private Postgres; the feature `demo`), `migrate`, and the client of the REST API.
//!
//! It only combines the other crates, and must never contain a rule of the queue.

mod args;
mod changes;
mod client;
mod confirm;
mod connection;
mod contexts;
#[cfg(feature = "demo")]
mod demo;
mod duration;
mod exit;
mod ids;
mod key_file;
mod members;
mod output;
mod progress;
mod raw;
mod resource;
mod selector;
mod table;
mod time;
mod verbs;

use std::process::ExitCode;

use clap::CommandFactory as _;
use jobqueue_runtime::{ConfigError, DatabaseArgs, boot, install_tls_provider};
use jobqueue_store::{DatabaseUrl, SCHEMA_VERSION, Store, StoreError};

pub use args::Cli;
use args::Command;
use exit::{CommandError, CommandResult, Exit};
use verbs::act::{self, JobAction};

/// Runs one command and returns the exit code of the process.
pub fn start(cli: Cli) -> ExitCode {
    let telemetry = cli.telemetry();
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => boot("jobqueue", &telemetry, |shutdown| demo::run(args, shutdown)),
        Command::Migrate(args) => boot("jobqueue", &telemetry, |_| async move { migrate(&args).await }),
        command => run_client(command),
    }
}

/// A client command has no tasks to drain, so Ctrl-C ends it at once.
fn run_client(command: Command) -> ExitCode {
    install_tls_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            CommandError::internal(format!("the runtime cannot be built: {error}")).report();
            return Exit::Internal.into();
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(command) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        }
    });
    // a thread that still reads standard input must not hold up the exit
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.report();
            error.exit.into()
        }
    }
}

async fn run(command: Command) -> CommandResult {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(_) => Err(CommandError::internal("it is not a client command")),
        Command::Migrate(_) => Err(CommandError::internal("it is not a client command")),
        Command::Get(args) => verbs::get::run(*args).await,
        Command::Describe(args) => verbs::describe::run(args).await,
        Command::Submit(args) => verbs::submit::run(*args).await,
        Command::Wait(args) => verbs::wait::run(args).await,
        Command::Explain(args) => verbs::explain::run(args).await,
        Command::Logs(args) => verbs::logs::run(args).await,
        Command::Cancel(args) => act::run(JobAction::Cancel, *args).await,
        Command::Retry(args) => act::run(JobAction::Retry, *args).await,
        Command::Promote(args) => act::run(JobAction::Promote, *args).await,
        Command::Delete(args) => verbs::delete::run(*args).await,
        Command::Edit(args) => verbs::edit::run(args).await,
        Command::Count(args) => verbs::count::run(*args).await,
        Command::Queue(command) => verbs::queue::run(command).await,
        Command::Kind(command) => verbs::kind::run(command).await,
        Command::Worker(command) => verbs::worker::run(command).await,
        Command::Schedule(command) => verbs::schedule::run(command).await,
        Command::ApiKey(command) => verbs::api_key::run(command).await,
        Command::Route(command) => verbs::route::run(command).await,
        Command::Dlq(command) => verbs::dlq::run(command).await,
        Command::Audit(args) => verbs::audit::run(args).await,
        Command::Stats(args) => verbs::stats::run(args).await,
        Command::Top(args) => verbs::top::run(args).await,
        Command::Doctor(args) => verbs::doctor::run(*args).await,
        Command::Context(command) => verbs::context::run(command),
        Command::Completion(args) => verbs::completion::run(&args, Cli::command()),
    }
}

async fn migrate(database: &DatabaseArgs) -> anyhow::Result<()> {
    let url = DatabaseUrl::new(database.url(), database.url_file());
    let migrated = Store::migrate(url).await.map_err(|error| match error {
        StoreError::Url(reason) => ConfigError(reason.to_string()).into(),
        StoreError::Schema(reason) => ConfigError(reason).into(),
        other => anyhow::Error::from(other),
    })?;
    for name in &migrated.now {
        println!("applied {name}");
    }
    println!("schema {SCHEMA_VERSION}: {} migrations, {} applied now", migrated.total, migrated.now.len());
    Ok(())
}
