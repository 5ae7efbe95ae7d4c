//! `jobqueue`: the demo (everything in one process on a private Postgres), `migrate`, and a client of the REST API.
//!
//! It only puts the other crates together; it must never hold a rule of the queue.

mod args;
mod client;
mod demo;

use jobqueue_runtime::{ConfigError, Shutdown};
use jobqueue_store::{SCHEMA_VERSION, Store, StoreError};

pub use args::Cli;
use args::Command;

/// Runs one command to its end.
pub async fn run(cli: Cli, shutdown: Shutdown) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(args, shutdown).await,
        Command::Migrate(args) => migrate(&args.database.url()).await,
        Command::Submit(args) => client::submit(args).await,
        Command::Get(args) => client::get(args).await,
        Command::List(args) => client::list(args).await,
        Command::Cancel(args) => client::act("cancel", args).await,
        Command::Retry(args) => client::act("retry", args).await,
    }
}

async fn migrate(url: &str) -> anyhow::Result<()> {
    let migrated = Store::migrate(url).await.map_err(|error| match error {
        StoreError::Schema(reason) => anyhow::Error::from(ConfigError(reason)),
        other => other.into(),
    })?;
    for name in &migrated.now {
        println!("applied {name}");
    }
    println!("schema {SCHEMA_VERSION}: {} migrations, {} applied now", migrated.total, migrated.now.len());
    Ok(())
}
