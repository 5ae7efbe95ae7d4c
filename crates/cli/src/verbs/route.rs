//! `route`: what operators do with routes.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::members::members;
use crate::output::{self, OutputArgs};
use crate::raw::Fields;
use crate::resource::ROUTE;
use crate::verbs::apply::{self, ApplyArgs, Wanted};
use crate::verbs::delete_named::{self, DeleteNamedArgs};
use crate::verbs::get;
use crate::verbs::submit::{FieldArgs, body::body};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue route apply -f routes.toml --dry-run    shows what would change
  jobqueue route apply -f routes.toml --prune      deletes those that are no longer in the file
  jobqueue route list
  jobqueue route get mail -o yaml
  jobqueue route test mail.send --priority 9       the route of a submission, and what becomes of it
  jobqueue route delete mail --yes

A file of routes, in the order in which they are tried:
  owner = \"shop\"
  [[routes]]
  name = \"mail\"
  kind = \"mail.*\"
  queue = \"mail\"
  timeout_seconds = 60";

/// Distance between the positions of routes that a file does not number.
const STEP: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Creates and changes routes so that they are those of a file.
    Apply(ApplyArgs),
    /// Lists routes in the order in which they are tried.
    List(ListRoutesArgs),
    /// Shows single routes.
    Get(NamedRoutesArgs),
    /// Shows which route a submission gets and what becomes of it. Submits nothing.
    Test(Box<TestRouteArgs>),
    /// Deletes routes. Their jobs stay as they are.
    Delete(DeleteNamedArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListRoutesArgs {
    /// Only routes of this owner.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct NamedRoutesArgs {
    /// Names of routes.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TestRouteArgs {
    /// Kind of the job.
    kind: String,

    #[command(flatten)]
    fields: FieldArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    /// What the routes belong to; only those are pruned.
    owner: Option<String>,
    /// Each with its name and the fields of `PUT /v1/routes/NAME`. One without a position gets that of its place.
    #[serde(default)]
    routes: Vec<Map<String, Value>>,
}

impl RouteFile {
    fn wanted(self) -> CommandResult<Wanted> {
        let mut bodies = BTreeMap::new();
        for (at, mut fields) in (1..).zip(self.routes) {
            let Some(Value::String(name)) = fields.remove("name") else {
                return Err(CommandError::usage(format!("route {at} of the file has no name")));
            };
            fields.entry("position").or_insert_with(|| json!(at * STEP));
            if bodies.insert(name.clone(), fields).is_some() {
                return Err(CommandError::usage(format!("route {name} is in the file twice")));
            }
        }
        Ok(Wanted { owner: self.owner, bodies, texts: BTreeMap::new() })
    }
}

pub(crate) async fn run(command: RouteCommand) -> CommandResult {
    match command {
        RouteCommand::Apply(args) => {
            let file = apply::read::<RouteFile>(&args.file)?.0.wanted()?;
            apply::run(&args, &ROUTE, file).await
        }
        RouteCommand::List(args) => list(&args).await,
        RouteCommand::Get(args) => show(&args).await,
        RouteCommand::Test(args) => test(&args).await,
        RouteCommand::Delete(args) => delete_named::each(&ROUTE, &args).await,
    }
}

async fn list(args: &ListRoutesArgs) -> CommandResult {
    let client = args.api.client()?;
    let filter: Vec<(&str, String)> = args.owner.clone().map(|owner| ("owner", owner)).into_iter().collect();
    let (routes, _) = client.list(&ROUTE, &filter, usize::MAX).await?;
    get::show(&ROUTE, &args.output, &client, &routes, false)?;
    Ok(Exit::Done)
}

async fn show(args: &NamedRoutesArgs) -> CommandResult {
    let client = args.api.client()?;
    let mut exit = Exit::Done;
    let mut routes = Vec::with_capacity(args.names.len());
    for name in &args.names {
        match client.get(&["v1", "routes", name], &[]).await {
            Ok(route) => routes.push(route),
            Err(error) => exit = exit.or(error.about(&format!("route {name}"))),
        }
    }
    if !routes.is_empty() {
        get::show(&ROUTE, &args.output, &client, &routes, args.names.len() == 1)?;
    }
    Ok(exit)
}

async fn test(args: &TestRouteArgs) -> CommandResult {
    let client = args.api.client()?;
    let body = body(Some(&args.kind), &args.fields.members()?, None);
    let result = client.post(&["v1", "routes", "test"], Some(&body)).await?;
    output::structured(&args.output, &result, || members(&Fields::of(&result), &client))?;
    Ok(Exit::Done)
}
