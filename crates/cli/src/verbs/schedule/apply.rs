//! `schedule apply`: makes the schedules of an owner those of a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::file::{ScheduleFile, differences};
use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::{self, Fields};
use crate::resource::SCHEDULE;
use crate::table::printable;

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// A TOML file, or a JSON file whose name ends with .json.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: PathBuf,

    /// What the schedules belong to. Default: `owner` in the file.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Change nothing, and print what would change.
    #[arg(long)]
    dry_run: bool,

    /// Delete the schedules of the owner that are not in the file.
    #[arg(long)]
    prune: bool,

    /// With --prune: do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

/// What to do with one schedule.
enum Step {
    Create,
    Change(Vec<(String, Value, Value)>),
    Keep,
    Delete,
}

pub(crate) async fn run(args: ApplyArgs) -> CommandResult {
    let file = ScheduleFile::read(&args.file)?;
    let owner = args.owner.clone().or_else(|| file.owner.clone());
    if args.prune && owner.is_none() {
        return Err(CommandError::usage(
            "--prune needs an owner: write `owner = \"NAME\"` into the file, or add --owner NAME",
        ));
    }
    let client = args.api.client()?;
    let wanted = wanted(&file, owner.as_deref())?;
    let existing = existing(&client).await?;
    let steps = steps(&wanted, &existing, owner.as_deref(), args.prune)?;
    let deleted: Vec<&str> = steps
        .iter()
        .filter(|(_, step)| matches!(step, Step::Delete))
        .map(|(name, _)| name.as_str())
        .collect();
    if !deleted.is_empty() && !args.dry_run {
        confirm(&format!("Delete the schedules {}?", deleted.join(", ")), args.yes)?;
    }
    let mut exit = Exit::Done;
    for (name, step) in &steps {
        let done = if args.dry_run { Ok(()) } else { carry_out(&client, name, step, &wanted).await };
        match done {
            Ok(()) => print(&said(name, step, args.dry_run))?,
            Err(error) => exit = exit.or(error.about(&format!("schedule {name}"))),
        }
    }
    Ok(exit)
}

/// The bodies of the file, each with its owner.
fn wanted(file: &ScheduleFile, owner: Option<&str>) -> CommandResult<BTreeMap<String, Value>> {
    let mut wanted = BTreeMap::new();
    for (name, fields) in &file.schedules {
        if fields.contains_key("owner") {
            return Err(CommandError::usage(format!(
                "schedule {name}: write `owner` once, at the top of the file"
            )));
        }
        let owner = owner.map(|owner| ("owner".to_owned(), json!(owner)));
        let fields: Map<String, Value> = fields.clone().into_iter().chain(owner).collect();
        wanted.insert(name.clone(), Value::Object(fields));
    }
    Ok(wanted)
}

/// The specs of all schedules of the API, by name.
async fn existing(client: &Client) -> CommandResult<BTreeMap<String, Value>> {
    let (schedules, _) = client.list(&SCHEDULE, &[], usize::MAX).await?;
    let spec = |schedule: &serde_json::value::RawValue| {
        let schedule = Fields::of(schedule);
        (schedule.text("name"), schedule.raw("spec").map_or(Value::Null, |spec| raw::value(spec, 0)))
    };
    Ok(schedules.iter().map(|schedule| spec(schedule)).collect())
}

fn steps(
    wanted: &BTreeMap<String, Value>,
    existing: &BTreeMap<String, Value>,
    owner: Option<&str>,
    prune: bool,
) -> CommandResult<Vec<(String, Step)>> {
    let mut steps = Vec::new();
    for (name, body) in wanted {
        let step = match existing.get(name) {
            None => Step::Create,
            Some(spec) => match spec["owner"].as_str() {
                Some(other) if Some(other) != owner => {
                    return Err(CommandError::new(
                        Exit::Refused,
                        format!(
                            "schedule {name} belongs to {}: rename it in the file, or delete the other one",
                            printable(other)
                        ),
                    ));
                }
                _ => match differences(spec, body) {
                    found if found.is_empty() => Step::Keep,
                    found => Step::Change(found),
                },
            },
        };
        steps.push((name.clone(), step));
    }
    let is_ours = |spec: &Value| owner.is_some() && spec["owner"].as_str() == owner;
    let left = existing.iter().filter(|(name, spec)| prune && is_ours(spec) && !wanted.contains_key(*name));
    steps.extend(left.map(|(name, _)| (name.clone(), Step::Delete)));
    Ok(steps)
}

async fn carry_out(
    client: &Client,
    name: &str,
    step: &Step,
    wanted: &BTreeMap<String, Value>,
) -> CommandResult<()> {
    let path = ["v1", "schedules", name];
    match step {
        Step::Keep => {}
        Step::Delete => drop(client.send(&Method::DELETE, &path, None).await?),
        Step::Create | Step::Change(_) => {
            let body = wanted.get(name).map(ToString::to_string).unwrap_or_default();
            client.send(&Method::PUT, &path, Some(&body)).await?;
        }
    }
    Ok(())
}

fn said(name: &str, step: &Step, dry_run: bool) -> String {
    let would = |verb: &str, done: &str| if dry_run { format!("would be {verb}") } else { done.to_owned() };
    match step {
        Step::Keep => format!("schedule {name} unchanged\n"),
        Step::Create => format!("schedule {name} {}\n", would("created", "created")),
        Step::Delete => format!("schedule {name} {}\n", would("deleted", "deleted")),
        Step::Change(found) => {
            let line = |(path, before, after): &(String, Value, Value)| {
                format!("  {path}: {} → {}\n", printable(&before.to_string()), printable(&after.to_string()))
            };
            format!(
                "schedule {name} {}\n{}",
                would("changed", "changed"),
                found.iter().map(line).collect::<Vec<_>>().concat()
            )
        }
    }
}
