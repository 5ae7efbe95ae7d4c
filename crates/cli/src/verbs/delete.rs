//! `delete`: deletes queues.

use std::time::Duration;

use clap::Args;
use reqwest::Method;

use crate::client::{Ask, Client};
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::Fields;
use crate::resource::QUEUE;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue delete queue old-mail
  jobqueue delete queue old-mail --force --yes      its waiting jobs are deleted, running ones are asked to stop";

/// How long the API waits for running jobs when a queue is deleted by force.
const FORCED: Duration = Duration::from_secs(20);

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// queue.
    #[arg(value_name = "WHAT")]
    what: String,

    #[command(flatten)]
    queues: DeleteQueueArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteQueueArgs {
    /// Names of queues.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Delete the jobs that wait, too, and ask the workers to stop those that run.
    #[arg(long)]
    force: bool,

    /// With --force: do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: DeleteArgs) -> CommandResult {
    if !QUEUE.is_named(&args.what) {
        return Err(CommandError::usage(format!("`{}` cannot be deleted; use queue", args.what)));
    }
    queues(args.queues).await
}

/// Deletes each queue. A refused one is reported, and the others are still deleted.
pub(crate) async fn queues(args: DeleteQueueArgs) -> CommandResult {
    let client = args.api.client()?;
    if args.force {
        confirm(&format!("Delete {} and all their waiting jobs?", args.names.join(", ")), args.yes)?;
    }
    let mut exit = Exit::Done;
    for name in &args.names {
        match queue(&client, name, args.force).await {
            Ok(said) => print(&said)?,
            Err(error) => exit = exit.or(error.about(&format!("queue {name}"))),
        }
    }
    Ok(exit)
}

async fn queue(client: &Client, name: &str, force: bool) -> CommandResult<String> {
    let query = [("force", "true".to_owned())];
    let query = if force { &query[..] } else { &[] };
    let ask = Ask { method: &Method::DELETE, path: &["v1", "queues", name], query, body: None, wait: FORCED };
    let answer = client.ask(ask).await?;
    let answer = Fields::of(&answer);
    if !answer.is_true("deleted") {
        return Err(CommandError::new(Exit::NotFound, "not found: there is no such queue"));
    }
    Ok(format!("queue {name} deleted, {} waiting jobs with it\n", answer.count("purged")))
}
