//! `delete`: deletes queues, and jobs that are final.

use std::time::Duration;

use clap::Args;
use reqwest::Method;

use crate::client::{Ask, Client};
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::Fields;
use crate::resource::{JOB, QUEUE};
use crate::verbs::act::{self, ActArgs, JobAction};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue delete job 0198c1a2-3b4c-7d5e
  jobqueue delete jobs --status failed --error-type timeout --dry-run
  jobqueue delete jobs --status completed --finished-before 2026-01-31T09:00:00Z --yes
  jobqueue delete queue old-mail
  jobqueue delete queue old-mail --force --yes      its waiting jobs are deleted, running ones are asked to stop";

/// How long the API waits for running jobs when a queue is deleted by force.
const FORCED: Duration = Duration::from_secs(20);

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// jobs or queues; the singular and the first letter work too.
    #[arg(value_name = "WHAT")]
    what: String,

    /// With queues: delete the jobs that wait, too, and ask the workers to stop those that run.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    targets: ActArgs,
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
    let DeleteArgs { what, force, targets } = args;
    if JOB.is_named(&what) {
        if force {
            return Err(CommandError::usage("--force is for queues; cancel a job before you delete it"));
        }
        return act::run(JobAction::Delete, targets).await;
    }
    if !QUEUE.is_named(&what) {
        return Err(CommandError::usage(format!("`{what}` cannot be deleted; use queue or job")));
    }
    if targets.ids.is_empty() || !targets.selector.is_empty() || targets.dry_run || targets.limit.is_some() {
        return Err(CommandError::usage("a queue is deleted by its name, without selectors"));
    }
    queues(DeleteQueueArgs { names: targets.ids, force, yes: targets.yes, api: targets.api }).await
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
    let path = ["v1", "queues", name];
    let ask = Ask { query, wait: FORCED, ..Ask::new(&Method::DELETE, &path) };
    let answer = client.ask(ask).await?;
    let answer = Fields::of(&answer);
    if !answer.is_true("deleted") {
        return Err(CommandError::new(Exit::NotFound, "not found: there is no such queue"));
    }
    Ok(format!("queue {name} deleted, {} waiting jobs with it\n", answer.count("purged")))
}
