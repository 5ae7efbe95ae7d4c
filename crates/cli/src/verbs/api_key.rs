//! `api-key`: what operators do with API keys. The text of a key is printed once, when it is made.

mod apply;

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::duration;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::members::members;
use crate::output::{self, OutputArgs, print};
use crate::raw::Fields;
use crate::resource::API_KEY;
use crate::verbs::get;
use apply::ApplyKeysArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue api-key create shop --scope read,write --queue mail --queue 'shop-*'
  jobqueue api-key create thumbnails --scope worker --queue images --rate 600/60
  jobqueue api-key create support --scope read --hide payload --hide /user/email --expires-at 2027-01-31T00:00:00Z
  jobqueue api-key list -o wide
  jobqueue api-key describe shop
  jobqueue api-key rotate shop --overlap 1h        prints the new text; the one before is accepted for an hour
  jobqueue api-key revoke shop --yes
  jobqueue api-key apply -f keys.toml --dry-run    shows what would change

A file of keys:
  owner = \"shop\"
  [[keys]]
  name = \"shop\"
  scopes = [\"read\", \"write\"]
  queues = [\"mail\", \"shop-*\"]

`create`, `rotate` and `apply` print the text of a new key once. It cannot be shown again.";

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Creates a key and prints its text.
    Create(Box<CreateKeyArgs>),
    /// Lists keys by name.
    List(ListKeysArgs),
    /// Shows everything about one key but its text.
    Describe(DescribeKeyArgs),
    /// Replaces the secret of a key and prints the new text.
    Rotate(RotateKeyArgs),
    /// Revokes keys. It cannot be undone.
    Revoke(RevokeKeysArgs),
    /// Creates and changes keys so that they are those of a file.
    Apply(ApplyKeysArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateKeyArgs {
    /// Name of the key.
    name: String,

    /// What the key may do: read, write, worker, admin.
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
    scope: Vec<String>,

    /// Only queues that match this pattern, with `*` and `?`. Can be repeated. Default: all.
    #[arg(long, value_name = "PATTERN")]
    queue: Vec<String>,

    /// Only kinds that match this pattern. Can be repeated. Default: all.
    #[arg(long, value_name = "PATTERN")]
    kind: Vec<String>,

    /// Hide this from the key: payload, result, metadata, progress, log, error, or a JSON pointer such as
    /// /user/email. Can be repeated.
    #[arg(long, value_name = "WHAT")]
    hide: Vec<String>,

    /// Most requests in a number of seconds, such as 600/60. Each API process counts for itself.
    #[arg(long, value_name = "REQUESTS/SECONDS", value_parser = rate)]
    rate: Option<(u32, u32)>,

    /// From when on the key is not accepted (RFC 3339).
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,

    /// What the key belongs to.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// A note for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListKeysArgs {
    /// Only revoked keys.
    #[arg(long)]
    revoked: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DescribeKeyArgs {
    /// Name or id of the key.
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RotateKeyArgs {
    /// Name or id of the key.
    #[arg(value_name = "KEY")]
    key: String,

    /// How much longer the text before is accepted, up to 30 days. Default: a day.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    overlap: Option<Duration>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeKeysArgs {
    /// Names or ids of keys.
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,

    /// Do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(command: ApiKeyCommand) -> CommandResult {
    match command {
        ApiKeyCommand::Create(args) => create(&args).await,
        ApiKeyCommand::List(args) => list(&args).await,
        ApiKeyCommand::Describe(args) => describe(&args).await,
        ApiKeyCommand::Rotate(args) => rotate(&args).await,
        ApiKeyCommand::Revoke(args) => revoke(&args).await,
        ApiKeyCommand::Apply(args) => apply::run(&args).await,
    }
}

async fn create(args: &CreateKeyArgs) -> CommandResult {
    let client = args.api.client()?;
    let list = |patterns: &[String]| if patterns.is_empty() { Value::Null } else { json!(patterns) };
    let rate =
        args.rate.map(|(requests, per_seconds)| json!({ "requests": requests, "per_seconds": per_seconds }));
    let fields = [
        ("name", json!(args.name)),
        ("scopes", json!(args.scope)),
        ("queues", list(&args.queue)),
        ("kinds", list(&args.kind)),
        ("hide", list(&args.hide)),
        ("rate", json!(rate)),
        ("expires_at", json!(args.expires_at)),
        ("owner", json!(args.owner)),
        ("description", json!(args.description)),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    let body: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), value)).collect();
    let key = client.post(&["v1", "api-keys"], Some(&Value::from(body).to_string())).await?;
    show_text(&args.output, &key)
}

async fn list(args: &ListKeysArgs) -> CommandResult {
    let client = args.api.client()?;
    let filter: &[(&str, String)] = if args.revoked { &[("revoked", "true".to_owned())] } else { &[] };
    let (keys, _) = client.list(&API_KEY, filter, usize::MAX).await?;
    get::show(&API_KEY, &args.output, &client, &keys, false)?;
    Ok(Exit::Done)
}

async fn describe(args: &DescribeKeyArgs) -> CommandResult {
    let client = args.api.client()?;
    let key = client.get(&["v1", "api-keys", &id_of(&client, &args.key).await?], &[]).await?;
    output::structured(&args.output, &key, || members(&Fields::of(&key), &client))?;
    Ok(Exit::Done)
}

async fn rotate(args: &RotateKeyArgs) -> CommandResult {
    let client = args.api.client()?;
    let id = id_of(&client, &args.key).await?;
    let body =
        args.overlap.map_or_else(|| json!({}), |overlap| json!({ "overlap_seconds": overlap.as_secs_f64() }));
    let key = client.post(&["v1", "api-keys", &id, "rotate"], Some(&body.to_string())).await?;
    show_text(&args.output, &key)
}

async fn revoke(args: &RevokeKeysArgs) -> CommandResult {
    let client = args.api.client()?;
    confirm(&format!("Revoke {}?", args.keys.join(", ")), args.yes)?;
    let mut exit = Exit::Done;
    for key in &args.keys {
        let revoked = async {
            let id = id_of(&client, key).await?;
            client.send(&Method::DELETE, &["v1", "api-keys", &id], None).await
        };
        match revoked.await {
            Ok(_) => print(&format!("api-key {key} revoked\n"))?,
            Err(error) => exit = exit.or(error.about(&format!("api-key {key}"))),
        }
    }
    Ok(exit)
}

/// Prints the text of a new key alone, so that a script can take it.
fn show_text(args: &OutputArgs, key: &RawValue) -> CommandResult {
    output::structured(args, key, || format!("{}\n", Fields::of(key).text("key")))?;
    Ok(Exit::Done)
}

/// The id of a key that is given by name or id.
async fn id_of(client: &Client, key: &str) -> CommandResult<String> {
    if key.len() == 16 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(key.to_owned());
    }
    let (keys, _) = client.list(&API_KEY, &[], usize::MAX).await?;
    let found = keys.iter().map(|known| Fields::of(known)).find(|known| known.text("name") == key);
    let absent = || CommandError::new(Exit::NotFound, "not found: there is no such key, or it is revoked");
    found.map(|known| known.text("id")).ok_or_else(absent)
}

fn rate(text: &str) -> Result<(u32, u32), String> {
    let numbers = || {
        let (requests, seconds) = text.split_once('/')?;
        Some((requests.parse().ok()?, seconds.parse().ok()?))
    };
    numbers().ok_or_else(|| "must be REQUESTS/SECONDS, such as 600/60".to_owned())
}
