//! `edit`: changes jobs that wait, by fields, by a patch, or in an editor; and routes and schedules, by fields or by a patch.

mod editor;
mod patch;
mod send;

use std::io::Read as _;

use clap::Args;
use reqwest::Method;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::resource::{JOB, ROUTE, Resource, SCHEDULE};
use crate::verbs::get;
use crate::{ids, progress};
use send::send;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue edit 0198c1a2-3b4c-7d5e                                       opens $VISUAL or $EDITOR
  jobqueue edit 0198c1a2-3b4c-7d5e --set priority=50 --set queue=urgent
  jobqueue edit 0198c1a2-3b4c-7d5e --set payload.to=ada@example.com --set delay_seconds=600
  jobqueue edit 0198c1a2-3b4c-7d5e -p '{\"tags\": [\"again\"], \"expires_at\": null}'
  jobqueue edit route/mail --set queue=mail-2 --set timeout_seconds=60
  jobqueue edit schedule/nightly -p '{\"cron\": \"30 2 * * *\", \"job\": {\"priority\": 5}}'
  jobqueue get jobs -q mail --status scheduled -o name | jobqueue edit - --set queue=mail-2";

/// Largest patch that is read; the API accepts less.
const LARGEST: u64 = 16 * 1024 * 1024;

#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// Ids of jobs that wait, or their beginnings; `-` reads ids from standard input. Or `route/NAME` and `schedule/NAME`.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    /// Set a field: queue, priority, run_at, delay_seconds, expires_at, payload, tags, metadata, retry, max_attempts, max_snoozes,
    /// timeout_seconds or soft_timeout_seconds; of a route or a schedule, a field of its PUT. A value is JSON, or a text. `payload.user.name=ada` sets a part of the payload;
    /// `null` sets a field back to its default. May be repeated.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    fields: Vec<String>,

    /// A JSON merge patch (RFC 7396); `-` reads it from standard input.
    #[arg(short = 'p', long, value_name = "JSON", conflicts_with = "fields")]
    patch: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: EditArgs) -> CommandResult {
    let client = args.api.client()?;
    let patch = match (&args.patch, args.fields.as_slice()) {
        (Some(text), _) if text == "-" && args.ids.iter().any(|id| id == "-") => {
            return Err(CommandError::usage("standard input cannot have both the ids and the patch"));
        }
        (Some(text), _) => Some(given(text)?),
        (None, []) => None,
        (None, fields) => Some(patch::of_fields(fields)?),
    };
    let (named, ids): (Vec<_>, Vec<_>) = args.ids.iter().cloned().partition(|id| id.contains('/'));
    if !named.is_empty() {
        let patch = patch.ok_or_else(|| CommandError::usage("say what to change with --set or --patch"))?;
        if !ids.is_empty() {
            return Err(CommandError::usage("jobs and what has a name cannot be edited together"));
        }
        return each_named(&client, &named, &patch, &args.output).await;
    }
    let ids = ids::resolve(&client, &ids).await?;
    match (patch, ids.as_slice()) {
        (Some(patch), ids) => each(&client, ids, &patch, &args.output).await,
        (None, [id]) => editor::edit(&client, id, &args.output).await,
        (None, _) => Err(CommandError::usage(
            "an editor opens one job; to change several, say what with --set or --patch",
        )),
    }
}

/// Sends the patch to each route or schedule, written as `route/NAME` or `schedule/NAME`.
async fn each_named(client: &Client, named: &[String], patch: &str, output: &OutputArgs) -> CommandResult {
    let mut exit = Exit::Done;
    for given in named {
        let (resource, name) = of_name(given)?;
        let route = [resource.path, &[name]].concat();
        match client.send(&Method::PATCH, &route, Some(patch)).await {
            Ok(changed) => get::show(resource, output, client, &[changed], named.len() == 1)?,
            Err(error) => exit = exit.or(error.about(&format!("{} {name}", resource.one))),
        }
    }
    Ok(exit)
}

fn of_name(given: &str) -> CommandResult<(&'static Resource, &str)> {
    let (word, name) = given.split_once('/').unwrap_or((given, ""));
    let resource = [&ROUTE, &SCHEDULE].into_iter().find(|resource| resource.is_named(word));
    resource.filter(|_| !name.is_empty()).map(|resource| (resource, name)).ok_or_else(|| {
        CommandError::usage(format!("`{given}` must be the id of a job, `route/NAME` or `schedule/NAME`"))
    })
}

/// The patch of the command line or of standard input. The API says what is wrong with its fields.
fn given(text: &str) -> CommandResult<String> {
    let mut read = String::new();
    let text = if text == "-" {
        let wrong = |error| CommandError::usage(format!("standard input cannot be read: {error}"));
        std::io::stdin().take(LARGEST).read_to_string(&mut read).map_err(wrong)?;
        &read
    } else {
        text
    };
    let json = RawValue::from_string(text.trim().to_owned())
        .map_err(|error| CommandError::usage(format!("the patch is not JSON ({error})")))?;
    Ok(json.get().to_owned())
}

/// Sends the patch to each job. A refused one is reported, and the others are still changed.
async fn each(client: &Client, ids: &[String], patch: &str, output: &OutputArgs) -> CommandResult {
    let bar = progress::bar(ids.len(), "edit");
    let (mut exit, mut jobs) = (Exit::Done, Vec::with_capacity(ids.len()));
    for id in ids {
        match send(client, id, patch, None).await {
            Ok(job) => jobs.push(job),
            Err(error) => bar.suspend(|| exit = exit.or(error.about(&format!("job {id}")))),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !jobs.is_empty() {
        get::show(&JOB, output, client, &jobs, ids.len() == 1)?;
    }
    Ok(exit)
}
