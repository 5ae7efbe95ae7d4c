//! `api-key apply`: makes the keys of an owner those of a file. A file has no secrets: the text of a new key is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::{self, Fields};
use crate::resource::API_KEY;
use crate::table::printable;
use crate::verbs::apply::read;

#[derive(Args, Debug)]
pub(crate) struct ApplyKeysArgs {
    /// A TOML file, or a JSON file whose name ends with .json.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: PathBuf,

    /// Change nothing, and print what would change.
    #[arg(long)]
    dry_run: bool,

    /// Revoke what belongs to the owner of the file and is not in it.
    #[arg(long)]
    prune: bool,

    /// With --prune: do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// What the keys belong to; only those are pruned.
    owner: Option<String>,
    /// Each with the fields of `POST /v1/api-keys`.
    #[serde(default)]
    keys: Vec<Map<String, Value>>,
}

/// What a file can set, each with its default.
const FIELDS: [&str; 8] = ["scopes", "queues", "kinds", "hide", "rate", "expires_at", "owner", "description"];

/// What to do with one of them.
enum Step {
    Create(Value),
    Change { id: String, patch: Map<String, Value> },
    Keep,
    Revoke { id: String },
}

pub(crate) async fn run(args: &ApplyKeysArgs) -> CommandResult {
    let file = read::<KeyFile>(&args.file)?.0;
    if args.prune && file.owner.is_none() {
        return Err(CommandError::usage("--prune needs an owner: write `owner = \"NAME\"` into the file"));
    }
    let client = args.api.client()?;
    let (all, _) = client.list(&API_KEY, &[], usize::MAX).await?;
    let existing = all.iter().map(|key| (Fields::of(key).text("name"), raw::value(key, 0))).collect();
    let steps = steps(file, &existing, args.prune)?;
    let is_revoked =
        |(name, step): &(String, Step)| matches!(step, Step::Revoke { .. }).then(|| name.clone());
    let revoked: Vec<String> = steps.iter().filter_map(is_revoked).collect();
    if !revoked.is_empty() && !args.dry_run {
        confirm(&format!("Revoke the api-keys {}?", revoked.join(", ")), args.yes)?;
    }
    let mut exit = Exit::Done;
    for (name, step) in &steps {
        let done = if args.dry_run { Ok(planned(name, step)) } else { carry_out(&client, name, step).await };
        match done {
            Ok(said) => print(&said)?,
            Err(error) => exit = exit.or(error.about(&format!("api-key {name}"))),
        }
    }
    Ok(exit)
}

fn steps(
    file: KeyFile,
    existing: &BTreeMap<String, Value>,
    prune: bool,
) -> CommandResult<Vec<(String, Step)>> {
    let (mut steps, mut wanted) = (Vec::new(), BTreeMap::new());
    for (at, mut fields) in (1..).zip(file.keys) {
        let Some(Value::String(name)) = fields.remove("name") else {
            return Err(CommandError::usage(format!("key {at} of the file has no name")));
        };
        if let Some(unknown) =
            fields.keys().find(|field| !FIELDS.contains(&field.as_str()) || *field == "owner")
        {
            let sentence = format!("api-key {name}: `{unknown}` is not a field of a key in a file");
            return Err(CommandError::usage(sentence));
        }
        if !fields.contains_key("scopes") {
            return Err(CommandError::usage(format!("api-key {name} has no scopes")));
        }
        fields.insert("owner".to_owned(), json!(file.owner));
        if wanted.insert(name.clone(), fields).is_some() {
            return Err(CommandError::usage(format!("api-key {name} is in the file twice")));
        }
    }
    for (name, fields) in &wanted {
        steps.push((name.clone(), step(name, fields, existing.get(name), file.owner.as_deref())?));
    }
    let is_ours = |key: &Value| file.owner.is_some() && key["owner"].as_str() == file.owner.as_deref();
    let left = existing.iter().filter(|(name, key)| prune && is_ours(key) && !wanted.contains_key(*name));
    steps.extend(left.map(|(name, key)| (name.clone(), Step::Revoke { id: id(key) })));
    Ok(steps)
}

fn step(
    name: &str,
    fields: &Map<String, Value>,
    existing: Option<&Value>,
    owner: Option<&str>,
) -> CommandResult<Step> {
    let Some(key) = existing else {
        let given = fields.iter().filter(|(_, value)| !value.is_null());
        let mut body: Map<String, Value> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        body.insert("name".to_owned(), json!(name));
        return Ok(Step::Create(body.into()));
    };
    if let Some(other) = key["owner"].as_str().filter(|other| Some(*other) != owner) {
        let sentence =
            format!("api-key {name} belongs to {}: choose another name in the file", printable(other));
        return Err(CommandError::new(Exit::Refused, sentence));
    }
    let differs = |field: &&str| normal(field, fields.get(*field)) != normal(field, key.get(*field));
    let value = |field: &str| (field.to_owned(), fields.get(field).cloned().unwrap_or(Value::Null));
    let patch: Map<String, Value> = FIELDS.into_iter().filter(differs).map(value).collect();
    Ok(if patch.is_empty() { Step::Keep } else { Step::Change { id: id(key), patch } })
}

/// A value in the form in which two of them can be compared.
fn normal(field: &str, value: Option<&Value>) -> Value {
    match value {
        Some(Value::Array(entries)) if field == "scopes" => {
            let mut entries = entries.clone();
            entries.sort_by_key(ToString::to_string);
            entries.into()
        }
        Some(Value::Array(entries)) if entries.is_empty() => Value::Null,
        Some(Value::String(text)) if field == "expires_at" => {
            let time = text.parse::<DateTime<Utc>>();
            time.map_or_else(|_| json!(text), |time| json!(time.to_rfc3339_opts(SecondsFormat::Micros, true)))
        }
        other => other.cloned().unwrap_or(Value::Null),
    }
}

async fn carry_out(client: &Client, name: &str, step: &Step) -> CommandResult<String> {
    match step {
        Step::Keep => {}
        Step::Create(body) => {
            let key = client.post(&["v1", "api-keys"], Some(&body.to_string())).await?;
            return Ok(format!("api-key {name} created: {}\n", Fields::of(&key).text("key")));
        }
        Step::Change { id, patch } => {
            let body = Value::from(patch.clone()).to_string();
            drop(client.send(&Method::PATCH, &["v1", "api-keys", id], Some(&body)).await?);
        }
        Step::Revoke { id } => drop(client.send(&Method::DELETE, &["v1", "api-keys", id], None).await?),
    }
    Ok(match step {
        Step::Keep => format!("api-key {name} unchanged\n"),
        Step::Revoke { .. } => format!("api-key {name} revoked\n"),
        _ => format!("api-key {name} changed\n"),
    })
}

fn planned(name: &str, step: &Step) -> String {
    match step {
        Step::Keep => format!("api-key {name} unchanged\n"),
        Step::Create(_) => format!("api-key {name} would be created\n"),
        Step::Revoke { .. } => format!("api-key {name} would be revoked\n"),
        Step::Change { patch, .. } => {
            let line = |(field, value): (&String, &Value)| {
                format!("  {field} → {}\n", printable(&value.to_string()))
            };
            format!("api-key {name} would be changed\n{}", patch.iter().map(line).collect::<String>())
        }
    }
}

fn id(key: &Value) -> String {
    key["id"].as_str().unwrap_or_default().to_owned()
}
