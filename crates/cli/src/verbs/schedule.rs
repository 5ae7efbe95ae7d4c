//! `schedule`: what operators do with schedules.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::members::members;
use crate::output::{self, OutputArgs};
use crate::raw::{self, Fields};
use crate::resource::{JOB, NEXT_TICK, Resource, SCHEDULE, TICK};
use crate::verbs::apply::{self, ApplyArgs, Wanted};
use crate::verbs::delete_named::{self, DeleteNamedArgs};
use crate::verbs::get;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue schedule apply -f schedules.toml --dry-run    shows what would change
  jobqueue schedule apply -f schedules.toml --prune      deletes those that are no longer in the file
  jobqueue schedule list --owner shop
  jobqueue schedule describe nightly
  jobqueue schedule preview nightly -n 10
  jobqueue schedule ticks nightly                        the job of each tick, or why it has none
  jobqueue schedule run nightly                          once, now
  jobqueue schedule pause nightly
  jobqueue schedule resume nightly
  jobqueue schedule delete nightly --yes

A file of schedules:
  owner = \"shop\"
  [schedules.nightly]
  cron = \"0 2 * * *\"
  time_zone = \"Europe/Berlin\"
  job = { kind = \"report.build\", payload = { days = 1 } }";

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Creates and changes schedules so that they are those of a file.
    Apply(ApplyArgs),
    /// Lists schedules.
    List(ListSchedulesArgs),
    /// Shows everything about a schedule, with its next and last ticks.
    Describe(OneScheduleArgs),
    /// Pauses schedules: they have no ticks.
    Pause(NamedSchedulesArgs),
    /// Ends the pause of schedules.
    Resume(NamedSchedulesArgs),
    /// Enqueues the job of a schedule once, now.
    Run(NamedSchedulesArgs),
    /// Deletes schedules. Their jobs stay.
    Delete(DeleteNamedArgs),
    /// Prints the next ticks.
    Preview(PreviewArgs),
    /// Prints past ticks, newest first, each with its job or why it has none.
    Ticks(TicksArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListSchedulesArgs {
    /// Only schedules of this owner.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Only paused ones, or with `false` only those that are not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    paused: Option<bool>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct OneScheduleArgs {
    /// Name of the schedule.
    name: String,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct NamedSchedulesArgs {
    /// Names of schedules.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PreviewArgs {
    /// Name of the schedule.
    name: String,

    /// How many ticks.
    #[arg(short = 'n', long, default_value_t = 5)]
    count: u32,

    /// Ticks after this time (RFC 3339). Default: now.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TicksArgs {
    /// Name of the schedule.
    name: String,

    /// Most ticks to print.
    #[arg(long, default_value_t = 20)]
    limit: u32,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleFile {
    /// What the schedules belong to; only those are pruned.
    owner: Option<String>,
    /// Each with the fields of `PUT /v1/schedules/NAME`.
    #[serde(default)]
    schedules: BTreeMap<String, Map<String, Value>>,
}

pub(crate) async fn run(command: ScheduleCommand) -> CommandResult {
    match command {
        ScheduleCommand::Apply(args) => {
            let (ScheduleFile { owner, schedules }, json) = apply::read(&args.file)?;
            let texts = Fields::of(&json).object("schedules");
            let texts = texts.iter().map(|(name, body)| (name.to_owned(), body.to_owned())).collect();
            apply::run(&args, &SCHEDULE, Wanted { owner, bodies: schedules, texts }).await
        }
        ScheduleCommand::List(args) => list(&args).await,
        ScheduleCommand::Describe(args) => {
            describe(&args.api.client()?, &args.output, &args.name).await?;
            Ok(Exit::Done)
        }
        ScheduleCommand::Pause(args) => each("pause", &SCHEDULE, &args).await,
        ScheduleCommand::Resume(args) => each("resume", &SCHEDULE, &args).await,
        ScheduleCommand::Run(args) => each("run", &JOB, &args).await,
        ScheduleCommand::Delete(args) => delete_named::each(&SCHEDULE, &args).await,
        ScheduleCommand::Preview(args) => preview(&args).await,
        ScheduleCommand::Ticks(args) => ticks(&args).await,
    }
}

async fn list(args: &ListSchedulesArgs) -> CommandResult {
    let client = args.api.client()?;
    let owner = args.owner.clone().map(|owner| ("owner", owner));
    let paused = args.paused.map(|paused| ("paused", paused.to_string()));
    let filter: Vec<(&str, String)> = owner.into_iter().chain(paused).collect();
    let (schedules, _) = client.list(&SCHEDULE, &filter, usize::MAX).await?;
    get::show(&SCHEDULE, &args.output, &client, &schedules, false)?;
    Ok(Exit::Done)
}

/// Prints a schedule with its next ticks.
pub(crate) async fn describe(client: &Client, output: &OutputArgs, name: &str) -> CommandResult<()> {
    let schedule = client.get(&["v1", "schedules", name], &[]).await?;
    let next = client.get(&["v1", "schedules", name, "preview"], &[("n", "5".to_owned())]).await;
    let next = next.unwrap_or_default();
    let next = Fields::of(&next).items("ticks").into_iter().map(ToOwned::to_owned).collect::<Vec<_>>();
    let list = next.iter().map(|tick| tick.get()).collect::<Vec<_>>().join(",");
    let all = raw::object(&[("schedule", schedule.get()), ("next_ticks", &format!("[{list}]"))]);
    output::structured(output, &all, || {
        let fields = Fields::of(&schedule);
        let past = fields.items("last_ticks");
        let table = |resource: &Resource, ticks: &mut dyn Iterator<Item = &serde_json::value::RawValue>| {
            resource.table(ticks, &client.view()).lines(true, output::coloured()).join("\n  ")
        };
        format!(
            "{}\nnext ticks:\n  {}\n\nlast ticks:\n  {}\n",
            members(&fields.without("last_ticks"), client),
            table(&NEXT_TICK, &mut next.iter().map(AsRef::as_ref)),
            table(&TICK, &mut past.into_iter()),
        )
    })
}

async fn each(verb: &str, shown: &Resource, args: &NamedSchedulesArgs) -> CommandResult {
    let client = args.api.client()?;
    let mut exit = Exit::Done;
    let mut objects = Vec::with_capacity(args.names.len());
    for name in &args.names {
        match client.post(&["v1", "schedules", name, verb], None).await {
            Ok(object) => objects.push(object),
            Err(error) => exit = exit.or(error.about(&format!("schedule {name}"))),
        }
    }
    if !objects.is_empty() {
        get::show(shown, &args.output, &client, &objects, args.names.len() == 1)?;
    }
    Ok(exit)
}

async fn preview(args: &PreviewArgs) -> CommandResult {
    let client = args.api.client()?;
    let from = args.from.clone().map(|from| ("from", from));
    let query: Vec<(&str, String)> = [("n", args.count.to_string())].into_iter().chain(from).collect();
    let answer = client.get(&["v1", "schedules", &args.name, "preview"], &query).await?;
    let ticks: Vec<_> = Fields::of(&answer).items("ticks").into_iter().map(ToOwned::to_owned).collect();
    get::show(&NEXT_TICK, &args.output, &client, &ticks, false)?;
    Ok(Exit::Done)
}

async fn ticks(args: &TicksArgs) -> CommandResult {
    let client = args.api.client()?;
    let query = [("limit", args.limit.to_string())];
    let answer = client.get(&["v1", "schedules", &args.name, "ticks"], &query).await?;
    let ticks: Vec<_> = Fields::of(&answer).items("ticks").into_iter().map(ToOwned::to_owned).collect();
    get::show(&TICK, &args.output, &client, &ticks, false)?;
    Ok(Exit::Done)
}
