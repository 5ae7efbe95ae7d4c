//! `schedule apply` and `route apply`: make the schedules or routes of an owner those of a file.

mod differences;
mod lossless;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::duration;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::{self, Fields};
use crate::resource::Resource;
use crate::table::printable;
use differences::differences;

/// Time between two questions whether the API is ready.
const READY_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// A TOML file, or a JSON file whose name ends with .json.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What the content of the file belongs to. Default: `owner` in the file.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Change nothing, and print what would change.
    #[arg(long)]
    dry_run: bool,

    /// Delete what belongs to the owner and is not in the file.
    #[arg(long)]
    prune: bool,

    /// With --prune: do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    /// Wait up to so long until the API is ready. Default: fail at once if it cannot be reached.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait_for_api: Option<Duration>,

    #[command(flatten)]
    api: ClientArgs,
}

/// Members of `on_end` that are not compared: what is sent, and what is shown instead.
const SECRETS: [&str; 2] = ["secret", "secret_id"];

/// What to do with one of them.
enum Step {
    Create,
    Change(Vec<(String, Value, Value)>),
    /// It is as in the file, except that its secret, which the API never shows, may be another one.
    Secret,
    Keep,
    Delete,
}

/// A file, read and checked.
pub(crate) struct Wanted {
    /// What the content belongs to, as the file says.
    pub(crate) owner: Option<String>,
    /// The fields of a PUT, by name.
    pub(crate) bodies: BTreeMap<String, Map<String, Value>>,
    /// The same as the JSON that is sent, in which numbers have the digits of the file. One that is missing is written from `bodies`.
    pub(crate) texts: BTreeMap<String, Box<RawValue>>,
}

/// Makes those of the owner the ones of the file.
pub(crate) async fn run(args: &ApplyArgs, resource: &Resource, file: Wanted) -> CommandResult {
    let owner = args.owner.clone().or(file.owner);
    if args.prune && owner.is_none() {
        return Err(CommandError::usage(
            "--prune needs an owner: write `owner = \"NAME\"` into the file, or add --owner NAME",
        ));
    }
    let client = args.api.client()?;
    let wanted = owned(resource, file.bodies, owner.as_deref())?;
    if let Some(limit) = args.wait_for_api {
        wait_until_ready(&client, limit).await;
    }
    let existing = existing(&client, resource).await?;
    let steps = steps(resource, (&wanted, &existing), owner.as_deref(), args.prune)?;
    let deleted: Vec<&str> = steps
        .iter()
        .filter(|(_, step)| matches!(step, Step::Delete))
        .map(|(name, _)| name.as_str())
        .collect();
    if !deleted.is_empty() && !args.dry_run {
        confirm(&format!("Delete the {} {}?", resource.many, deleted.join(", ")), args.yes)?;
    }
    let mut exit = Exit::Done;
    for (name, step) in &steps {
        let body = || match file.texts.get(name) {
            Some(text) => with_owner(text, owner.as_deref()),
            None => wanted.get(name).map(ToString::to_string).unwrap_or_default(),
        };
        let done = if args.dry_run { Ok(()) } else { carry_out(&client, resource, (name, step), body).await };
        match done {
            Ok(()) => print(&said(resource, name, step, args.dry_run))?,
            Err(error) => exit = exit.or(error.about(&format!("{} {name}", resource.one))),
        }
    }
    Ok(exit)
}

/// Returns when the API is ready or the time is over. In the second case the first request says what is wrong.
async fn wait_until_ready(client: &Client, limit: Duration) {
    let ready = async {
        while !client.is_ready().await {
            tokio::time::sleep(READY_INTERVAL).await;
        }
    };
    let _is_ready = tokio::time::timeout(limit, ready).await;
}

/// Reads a file: JSON if its name ends with `.json`, otherwise TOML. Also returns its JSON, in which numbers have the digits of the file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> CommandResult<(T, Box<RawValue>)> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CommandError::usage(format!("{} cannot be read: {error}", path.display())))?;
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    let json = if is_json {
        RawValue::from_string(text.trim().to_owned()).map_err(|error| error.to_string())
    } else {
        // only this one knows the line of an error
        let checked: Result<T, String> = toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        });
        checked.and_then(|_| lossless::json(&text))
    };
    let parsed = json
        .and_then(|json| Ok((serde_json::from_str(json.get()).map_err(|error| error.to_string())?, json)));
    parsed.map_err(|reason| CommandError::usage(format!("{} is invalid: {reason}", path.display())))
}

/// The body with its owner.
fn with_owner(body: &RawValue, owner: Option<&str>) -> String {
    let (fields, owner) = (Fields::of(body), owner.map(raw::quoted));
    let owner = owner.as_deref().map(|owner| ("owner", owner));
    let members: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name, value.get())).chain(owner).collect();
    raw::object(&members).get().to_owned()
}

/// The bodies of the file, each with its owner.
fn owned(
    resource: &Resource,
    bodies: BTreeMap<String, Map<String, Value>>,
    owner: Option<&str>,
) -> CommandResult<BTreeMap<String, Value>> {
    let mut wanted = BTreeMap::new();
    for (name, fields) in bodies {
        if fields.contains_key("owner") {
            let one = resource.one;
            let message = format!("{one} {name}: write `owner` once, at the top of the file");
            return Err(CommandError::usage(message));
        }
        let owner = owner.map(|owner| ("owner".to_owned(), json!(owner)));
        wanted.insert(name, Value::Object(fields.into_iter().chain(owner).collect()));
    }
    Ok(wanted)
}

/// The specs of all of the API, by name.
async fn existing(client: &Client, resource: &Resource) -> CommandResult<BTreeMap<String, Value>> {
    let (all, _) = client.list(resource, &[], usize::MAX).await?;
    let spec = |one: &RawValue| {
        let one = Fields::of(one);
        (one.text("name"), one.raw("spec").map_or(Value::Null, |spec| raw::value(spec, 0)))
    };
    Ok(all.iter().map(|one| spec(one)).collect())
}

fn steps(
    resource: &Resource,
    (wanted, existing): (&BTreeMap<String, Value>, &BTreeMap<String, Value>),
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
                            "{} {name} belongs to {}: rename it in the file, or delete the other one",
                            resource.one,
                            printable(other)
                        ),
                    ));
                }
                _ => changed(spec, body),
            },
        };
        steps.push((name.clone(), step));
    }
    let is_ours = |spec: &Value| owner.is_some() && spec["owner"].as_str() == owner;
    let left = existing.iter().filter(|(name, spec)| prune && is_ours(spec) && !wanted.contains_key(*name));
    steps.extend(left.map(|(name, _)| (name.clone(), Step::Delete)));
    Ok(steps)
}

fn without_secrets(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(on_end) = spec["on_end"].as_object_mut() {
        on_end.retain(|name, _| !SECRETS.contains(&name.as_str()));
    }
    spec
}

/// What to do with one that exists. A secret is never printed.
fn changed(spec: &Value, body: &Value) -> Step {
    let found = differences(&without_secrets(spec), &without_secrets(body));
    if !found.is_empty() {
        Step::Change(found)
    } else if body["on_end"]["secret"].is_string() {
        Step::Secret
    } else {
        Step::Keep
    }
}

async fn carry_out(
    client: &Client,
    resource: &Resource,
    (name, step): (&str, &Step),
    body: impl FnOnce() -> String,
) -> CommandResult<()> {
    let path = ["v1", resource.many, name];
    match step {
        Step::Keep => {}
        Step::Delete => drop(client.send(&Method::DELETE, &path, None).await?),
        Step::Create | Step::Change(_) | Step::Secret => {
            client.send(&Method::PUT, &path, Some(&body())).await?;
        }
    }
    Ok(())
}

fn said(resource: &Resource, name: &str, step: &Step, dry_run: bool) -> String {
    let one = resource.one;
    let would = |verb: &str, done: &str| if dry_run { format!("would be {verb}") } else { done.to_owned() };
    match step {
        Step::Keep => format!("{one} {name} unchanged\n"),
        Step::Secret if dry_run => format!("{one} {name} unchanged; its secret is not compared\n"),
        Step::Secret => format!("{one} {name} unchanged, with the secret of the file\n"),
        Step::Create => format!("{one} {name} {}\n", would("created", "created")),
        Step::Delete => format!("{one} {name} {}\n", would("deleted", "deleted")),
        Step::Change(found) => {
            let line = |(path, before, after): &(String, Value, Value)| {
                format!("  {path}: {} → {}\n", printable(&before.to_string()), printable(&after.to_string()))
            };
            format!(
                "{one} {name} {}\n{}",
                would("changed", "changed"),
                found.iter().map(line).collect::<Vec<_>>().concat()
            )
        }
    }
}
