//! `queue`: what operators do with queues.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::value::RawValue;

use crate::client::{Ask, Client};
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{OutputArgs, print};
use crate::raw::{self, Fields};
use crate::resource::QUEUE;
use crate::verbs::delete::{self, DeleteQueueArgs};
use crate::verbs::get::{self, GetArgs};
use crate::verbs::pause::{self, NamedArgs};
use crate::{duration, progress};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue queue list
  jobqueue queue pause mail reports           no job of them starts; running jobs continue
  jobqueue queue resume mail
  jobqueue queue set mail --keep-completed 1d --keep-failed default
  jobqueue queue set mail --max-queued 100000
                                              refuses submissions above it
  jobqueue queue purge mail --dry-run
  jobqueue queue purge mail --yes             deletes the jobs that wait
  jobqueue queue delete old-mail";

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Lists queues with their counts.
    List(ListQueuesArgs),
    /// Pauses queues: none of their jobs starts. Running jobs continue.
    Pause(NamedArgs),
    /// Ends the pause of queues.
    Resume(NamedArgs),
    /// Sets how long the final jobs of a queue are kept, and with how many queued jobs it refuses submissions.
    Set(SetQueueArgs),
    /// Deletes all jobs of a queue that wait.
    Purge(PurgeArgs),
    /// Deletes queues.
    Delete(DeleteQueueArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListQueuesArgs {
    /// Only these queues.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SetQueueArgs {
    /// Name of the queue.
    name: String,

    /// How long completed jobs are kept, for example 12h or 7d; `default` is the reaper's setting.
    #[arg(long, value_name = "DURATION", value_parser = retention, required_unless_present_any = ["keep_failed", "max_queued"])]
    keep_completed: Option<Retention>,

    /// How long failed and cancelled jobs are kept.
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    keep_failed: Option<Retention>,

    /// Largest number of queued jobs with which submissions are accepted; `none` is no limit.
    #[arg(long, value_name = "JOBS", value_parser = most)]
    max_queued: Option<Most>,

    /// Create the queue if it does not exist.
    #[arg(long)]
    create: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// `None`: the default of the reaper.
type Retention = Option<Duration>;

fn retention(text: &str) -> Result<Retention, String> {
    if text == "default" { Ok(None) } else { duration::parse(text).map(Some) }
}

/// `None`: no limit.
type Most = Option<u64>;

fn most(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "must be a number of jobs, or `none`".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct PurgeArgs {
    /// Name of the queue.
    name: String,

    /// Delete nothing, and print how many jobs would be deleted.
    #[arg(long)]
    dry_run: bool,

    /// Do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(command: QueueCommand) -> CommandResult {
    match command {
        QueueCommand::List(args) => get::run(GetArgs::of(&QUEUE, args.names, args.output, args.api)).await,
        QueueCommand::Pause(args) => pause::each(&QUEUE, "pause", &args).await,
        QueueCommand::Resume(args) => pause::each(&QUEUE, "resume", &args).await,
        QueueCommand::Set(args) => set(&args).await,
        QueueCommand::Purge(args) => purge(&args).await,
        QueueCommand::Delete(args) => delete::queues(args).await,
    }
}

async fn set(args: &SetQueueArgs) -> CommandResult {
    let client = args.api.client()?;
    let seconds = |kept: Retention| kept.map_or("null".to_owned(), |kept| kept.as_secs_f64().to_string());
    let members = [
        ("completed_retention_seconds", args.keep_completed.map(seconds)),
        ("failed_retention_seconds", args.keep_failed.map(seconds)),
        ("max_queued", args.max_queued.map(|most| most.map_or("null".to_owned(), |most| most.to_string()))),
        ("create", args.create.then(|| "true".to_owned())),
    ];
    let given = members.into_iter().filter_map(|(name, json)| Some(format!("\"{name}\":{}", json?)));
    let body = format!("{{{}}}", given.collect::<Vec<_>>().join(","));
    let path = ["v1", "queues", args.name.as_str()];
    let ask = Ask { body: Some(&body), ..Ask::new(&Method::PATCH, &path) };
    let queue = client.ask(ask).await?;
    get::show(&QUEUE, &args.output, &client, &[queue], true)?;
    Ok(Exit::Done)
}

async fn purge(args: &PurgeArgs) -> CommandResult {
    let client = args.api.client()?;
    let preview = request(&client, &args.name, "{\"dry_run\":true}").await?;
    let preview = Fields::of(&preview);
    let matched = preview.count("matched");
    let or_more = if preview.is_true("exact") { "" } else { " or more" };
    if args.dry_run || matched == 0 {
        print(&format!("{matched}{or_more} waiting jobs match, nothing was deleted\n"))?;
        return Ok(Exit::Done);
    }
    confirm(&format!("Delete {matched}{or_more} waiting jobs of the queue {}?", args.name), args.yes)?;
    // the answer to a question does not concern jobs that came after it
    let as_of = Some(preview.text("as_of")).filter(|as_of| !args.yes && !as_of.is_empty());
    let body =
        as_of.map_or("{}".to_owned(), |as_of| format!("{{\"created_before\":{}}}", raw::quoted(&as_of)));
    let bar = progress::bar(usize::try_from(matched).unwrap_or(usize::MAX), "deleting");
    let mut purged = 0;
    loop {
        let answer = request(&client, &args.name, &body).await?;
        let answer = Fields::of(&answer);
        purged += answer.count("purged");
        bar.set_position(purged);
        if !answer.is_true("more") || answer.count("purged") == 0 {
            break;
        }
    }
    bar.finish_and_clear();
    print(&format!("{purged} waiting jobs deleted\n"))?;
    Ok(Exit::Done)
}

async fn request(client: &Client, name: &str, body: &str) -> CommandResult<Box<RawValue>> {
    client.post(&["v1", "queues", name, "purge"], Some(body)).await
}
