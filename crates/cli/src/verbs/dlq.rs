//! `dlq`: dead letters, jobs that are `failed`.

mod purge;
mod redrive;
mod retry;
mod selector;

use clap::{Args, Subcommand, ValueEnum};

use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::members::members;
use crate::output::{self, OutputArgs};
use crate::raw::Fields;
use crate::resource::{DEAD_LETTER, LETTER_GROUP, REDRIVE};
use crate::verbs::get;
use purge::PurgeLettersArgs;
use redrive::{RedriveArgs, StopArgs, WatchArgs};
use retry::RetryLettersArgs;
use selector::LetterSelector;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue dlq groups                                    what fails, the largest group first
  jobqueue dlq groups -q mail --sort last                the newest failure first
  jobqueue dlq list --text 'connection refused' -o wide
  jobqueue dlq show 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6
  jobqueue dlq retry 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6
  jobqueue dlq retry 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6 --payload '{\"to\":\"ada@example.com\"}'
  jobqueue dlq redrive --group 6f1ed002-ab55-4d86-91c0-42e0ac1f2c7b --rate 50 --dry-run
  jobqueue dlq redrive -k send_email --rate 5 --stop-share 0.5 --yes
  jobqueue dlq redrives                                  how far each is
  jobqueue dlq watch 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6
  jobqueue dlq stop 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6
  jobqueue dlq purge --failed-before 2026-01-31T09:00:00Z --dry-run";

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Lists dead letters, the newest failure first.
    List(ListLettersArgs),
    /// Lists groups: dead letters of one kind with the same error.
    Groups(GroupsArgs),
    /// Shows everything about a dead letter or a group.
    Show(ShowArgs),
    /// Retries dead letters; with a payload, as a new job that takes the place of the old one.
    Retry(RetryLettersArgs),
    /// Retries a group, or what matches, at a rate, and stops when the jobs fail again.
    Redrive(Box<RedriveArgs>),
    /// Lists redrives, newest first.
    Redrives(RedrivesArgs),
    /// Follows a redrive to its end.
    Watch(WatchArgs),
    /// Stops redrives. The jobs that they have retried run on.
    Stop(StopArgs),
    /// Deletes dead letters with their jobs.
    Purge(Box<PurgeLettersArgs>),
}

#[derive(Args, Debug)]
pub(crate) struct ListLettersArgs {
    #[command(flatten)]
    selector: LetterSelector,

    /// Most dead letters to print.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// The order of groups.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// The largest first.
    Count,
    /// The newest failure first.
    Last,
}

#[derive(Args, Debug)]
pub(crate) struct GroupsArgs {
    /// Only groups with dead letters in this queue, counted in this queue.
    #[arg(short = 'q', long, value_name = "QUEUE")]
    queue: Option<String>,

    /// Only groups of this kind.
    #[arg(short = 'k', long, value_name = "KIND")]
    kind: Option<String>,

    /// Only groups with this error type.
    #[arg(long, value_name = "TYPE")]
    error_type: Option<String>,

    /// Only groups with this text in their message.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,

    /// The order.
    #[arg(long, value_enum, default_value = "count")]
    sort: Sort,

    /// Most groups to print.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Id of a job or of a group.
    id: String,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RedrivesArgs {
    /// Most redrives to print.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(command: DlqCommand) -> CommandResult {
    match command {
        DlqCommand::List(args) => list(&args).await,
        DlqCommand::Groups(args) => groups(&args).await,
        DlqCommand::Show(args) => show(&args).await,
        DlqCommand::Retry(args) => retry::run(&args).await,
        DlqCommand::Redrive(args) => redrive::run(&args).await,
        DlqCommand::Redrives(args) => redrives(&args).await,
        DlqCommand::Watch(args) => redrive::watch(&args).await,
        DlqCommand::Stop(args) => redrive::stop(&args).await,
        DlqCommand::Purge(args) => purge::run(&args).await,
    }
}

async fn list(args: &ListLettersArgs) -> CommandResult {
    let client = args.api.client()?;
    let (letters, more) = client.list(&DEAD_LETTER, &args.selector.query(), args.limit.max(1)).await?;
    get::show(&DEAD_LETTER, &args.output, &client, &letters, false)?;
    say_more(more);
    Ok(Exit::Done)
}

async fn groups(args: &GroupsArgs) -> CommandResult {
    let client = args.api.client()?;
    let given = [
        ("queue", &args.queue),
        ("kind", &args.kind),
        ("error_type", &args.error_type),
        ("text", &args.text),
    ];
    let mut query: Vec<(&str, String)> =
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let sort = match args.sort {
        Sort::Count => "count",
        Sort::Last => "last_failed_at",
    };
    query.push(("sort", sort.to_owned()));
    let (groups, more) = client.list(&LETTER_GROUP, &query, args.limit.max(1)).await?;
    get::show(&LETTER_GROUP, &args.output, &client, &groups, false)?;
    say_more(more);
    Ok(Exit::Done)
}

async fn redrives(args: &RedrivesArgs) -> CommandResult {
    let client = args.api.client()?;
    let (redrives, more) = client.list(&REDRIVE, &[], args.limit.max(1)).await?;
    get::show(&REDRIVE, &args.output, &client, &redrives, false)?;
    say_more(more);
    Ok(Exit::Done)
}

async fn show(args: &ShowArgs) -> CommandResult {
    let client = args.api.client()?;
    let letter = client.get(&["v1", "dead-letters", &args.id], &[]).await;
    let found = match letter {
        Err(CommandError { exit: Exit::NotFound, .. }) => {
            client.get(&["v1", "dead-letters", "groups", &args.id], &[]).await?
        }
        other => other?,
    };
    output::structured(&args.output, &found, || {
        let fields = Fields::of(&found);
        let letters = fields.items("dead_letters");
        if letters.is_empty() {
            return members(&fields, &client);
        }
        let table = DEAD_LETTER.table(&mut letters.into_iter(), &client.view());
        let lines = table.lines(true, output::coloured()).join("\n  ");
        format!("{}\nnewest:\n  {lines}\n", members(&fields.without("dead_letters"), &client))
    })?;
    Ok(Exit::Done)
}

fn say_more(more: bool) {
    if more {
        eprintln!("There are more; raise --limit.");
    }
}
