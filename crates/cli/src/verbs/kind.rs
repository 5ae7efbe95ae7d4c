//! `kind`: what operators do with kinds.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;

use crate::client::Ask;
use crate::connection::ClientArgs;
use crate::duration;
use crate::exit::{CommandResult, Exit};
use crate::output::OutputArgs;
use crate::resource::KIND;
use crate::verbs::get::{self, GetArgs};
use crate::verbs::pause::{self, NamedArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue kind list
  jobqueue kind pause mail.send               no job of it starts, in any queue; running jobs continue
  jobqueue kind resume mail.send
  jobqueue kind set mail.send --timeout 2m    for its jobs that have no time limit of their own
  jobqueue kind set mail.send --retry '{\"strategy\":\"fixed\",\"delay_seconds\":60}'
  jobqueue kind set mail.send --timeout default --retry default";

#[derive(Debug, Subcommand)]
pub(crate) enum KindCommand {
    /// Lists kinds with their settings.
    List(ListKindsArgs),
    /// Pauses kinds: none of their jobs starts. Running jobs continue.
    Pause(NamedArgs),
    /// Ends the pause of kinds.
    Resume(NamedArgs),
    /// Sets defaults for the jobs of a kind.
    Set(SetKindArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListKindsArgs {
    /// Only these kinds.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SetKindArgs {
    /// Name of the kind.
    name: String,

    /// Time limit of one attempt, for example 30s or 2m; `default` is the worker's setting.
    #[arg(long, value_name = "DURATION", value_parser = timeout, required_unless_present = "retry")]
    timeout: Option<Timeout>,

    /// Retry policy as JSON; `default` is the default policy.
    #[arg(long, value_name = "JSON")]
    retry: Option<String>,

    /// Create the kind if it does not exist.
    #[arg(long)]
    create: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// `None`: the default of the worker.
type Timeout = Option<Duration>;

fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "default" { Ok(None) } else { duration::parse(text).map(Some) }
}

pub(crate) async fn run(command: KindCommand) -> CommandResult {
    match command {
        KindCommand::List(args) => get::run(GetArgs::of(&KIND, args.names, args.output, args.api)).await,
        KindCommand::Pause(args) => pause::each(&KIND, "pause", &args).await,
        KindCommand::Resume(args) => pause::each(&KIND, "resume", &args).await,
        KindCommand::Set(args) => set(&args).await,
    }
}

async fn set(args: &SetKindArgs) -> CommandResult {
    let client = args.api.client()?;
    let seconds = |limit: Timeout| limit.map_or("null".to_owned(), |limit| limit.as_secs_f64().to_string());
    let policy = |text: &String| if text == "default" { "null".to_owned() } else { text.clone() };
    let members = [
        ("timeout_seconds", args.timeout.map(seconds)),
        ("retry", args.retry.as_ref().map(policy)),
        ("create", args.create.then(|| "true".to_owned())),
    ];
    let given = members.into_iter().filter_map(|(name, json)| Some(format!("\"{name}\":{}", json?)));
    let body = format!("{{{}}}", given.collect::<Vec<_>>().join(","));
    let path = ["v1", "kinds", args.name.as_str()];
    let ask = Ask { body: Some(&body), ..Ask::new(&Method::PATCH, &path) };
    let kind = client.ask(ask).await?;
    get::show(&KIND, &args.output, &client, &[kind], true)?;
    Ok(Exit::Done)
}
