//! `get`: lists jobs, queues and workers, or shows single ones.

use clap::Args;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::ids;
use crate::output::OutputArgs;
use crate::raw::Fields;
use crate::resource::{JOB, KIND, QUEUE, ROUTE, Resource, SCHEDULE, View, WORKER, shown_ids};
use crate::selector::Selector;
use crate::verbs::watch::{self, Watch};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue get jobs                                    the newest jobs
  jobqueue get jobs -q mail --status failed -o wide    failed jobs of a queue, with their errors
  jobqueue get jobs --tag nightly --all -o name        the ids of all jobs with a tag
  jobqueue get job 0198c1a2-3b4c-7d5e -o yaml          one job, by the beginning of its id
  jobqueue get job 0198c1a2-3b4c-7d5e -o jsonpath=.result
  jobqueue get jobs -q mail -w                         jobs of a queue, and every change
  jobqueue get queues
  jobqueue get kinds
  jobqueue get workers -o wide";

/// The resources that `get` knows.
const RESOURCES: [&Resource; 6] = [&JOB, &QUEUE, &KIND, &WORKER, &SCHEDULE, &ROUTE];

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// jobs, queues, kinds, workers, schedules or routes; the singular and the first letter work too.
    #[arg(value_name = "WHAT")]
    what: String,

    /// Only these: ids of jobs, or names. `-` reads ids from standard input.
    #[arg(value_name = "ID|NAME")]
    names: Vec<String>,

    #[command(flatten)]
    selector: Selector,

    /// Most objects to print.
    #[arg(long, default_value_t = 100, conflicts_with = "all")]
    limit: usize,

    /// Print all objects, over as many requests as needed.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    watch: Watch,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

impl GetArgs {
    /// `list` of a verb that has its own name, such as `queue list`.
    pub(crate) fn of(resource: &Resource, names: Vec<String>, output: OutputArgs, api: ClientArgs) -> Self {
        Self {
            what: resource.many.to_owned(),
            names,
            selector: Selector::default(),
            limit: usize::MAX,
            all: true,
            watch: Watch::default(),
            output,
            api,
        }
    }
}

pub(crate) async fn run(mut args: GetArgs) -> CommandResult {
    let resource = resource(&mut args)?;
    if resource.one != JOB.one && !args.selector.is_empty() {
        return Err(CommandError::usage(format!(
            "selectors are for jobs; {} are listed by name",
            resource.many
        )));
    }
    let client = args.api.client()?;
    let wanted =
        if resource.one == JOB.one { ids::resolve(&client, &args.names).await? } else { args.names.clone() };
    if args.watch.is_on() {
        let fetch = async || Ok(fetch(&client, resource, &args, &wanted).await?.0);
        let of_job = wanted.first().map(|id| ["v1", "jobs", id, "stream"]);
        let path: Option<&[&str]> = match &of_job {
            Some(path) if resource.one == JOB.one && wanted.len() == 1 => Some(path),
            _ if resource.one == QUEUE.one || resource.one == WORKER.one => Some(&["v1", "stream"]),
            _ => None,
        };
        return watch::run((args.watch, path), resource, &args.output, &client, fetch).await;
    }
    let (objects, more) = fetch(&client, resource, &args, &wanted).await?;
    show(resource, &args.output, &client, &objects, wanted.len() == 1)?;
    if more && args.output.is_table() {
        eprintln!("More {} match: use --limit N or --all.", resource.many);
    }
    Ok(Exit::Done)
}

/// The resource of the first word. An id instead of a word means a job.
fn resource(args: &mut GetArgs) -> CommandResult<&'static Resource> {
    if let Some(resource) = RESOURCES.into_iter().find(|resource| resource.is_named(&args.what)) {
        return Ok(resource);
    }
    if args.what.contains(|char: char| char.is_ascii_digit()) {
        args.names.insert(0, args.what.clone());
        return Ok(&JOB);
    }
    let known: Vec<&str> = RESOURCES.iter().map(|resource| resource.many).collect();
    Err(CommandError::usage(format!("there is no `{}`; use one of: {}", args.what, known.join(", "))))
}

async fn fetch(
    client: &Client,
    resource: &Resource,
    args: &GetArgs,
    wanted: &[String],
) -> CommandResult<(Vec<Box<RawValue>>, bool)> {
    if wanted.is_empty() {
        let limit = if args.all { usize::MAX } else { args.limit.max(1) };
        return client.list(resource, &args.selector.query(), limit).await;
    }
    if resource.one == WORKER.one {
        return named(client, resource, wanted).await.map(|found| (found, false));
    }
    let mut found = Vec::with_capacity(wanted.len());
    for name in wanted {
        let path: Vec<&str> = resource.path.iter().copied().chain([name.as_str()]).collect();
        found.push(client.get(&path, &[]).await?);
    }
    Ok((found, false))
}

/// Those of a list that have one of these names, or an id.
async fn named(client: &Client, resource: &Resource, wanted: &[String]) -> CommandResult<Vec<Box<RawValue>>> {
    let (mut all, _) = client.list(resource, &[], usize::MAX).await?;
    let called =
        |fields: &Fields<'_>, name: &str| fields.text(resource.id) == name || fields.text("id") == name;
    if let Some(missing) = wanted.iter().find(|name| !all.iter().any(|one| called(&Fields::of(one), name))) {
        return Err(CommandError::new(
            Exit::NotFound,
            format!("not found: there is no {} `{missing}`", resource.one),
        ));
    }
    all.retain(|one| wanted.iter().any(|name| called(&Fields::of(one), name)));
    Ok(all)
}

/// The only object of a list with this name or id.
pub(crate) async fn by_name(
    client: &Client,
    resource: &Resource,
    name: &str,
) -> CommandResult<Box<RawValue>> {
    let mut found = named(client, resource, &[name.to_owned()]).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        count => Err(CommandError::usage(format!(
            "`{name}` is ambiguous: {count} {} have this name; give the id",
            resource.many
        ))),
    }
}

/// Prints objects, with short ids in a table of jobs.
pub(crate) fn show(
    resource: &Resource,
    output: &OutputArgs,
    client: &Client,
    objects: &[Box<RawValue>],
    single: bool,
) -> CommandResult<()> {
    let id_length = (resource.one == JOB.one && !single).then(|| shown_ids(objects)).flatten();
    let view = View { id_length, ..client.view() };
    match objects {
        [object] if single => output.one(resource, object, &view),
        [] if output.is_table() => {
            eprintln!("No {} found.", resource.many);
            Ok(())
        }
        objects => output.many(resource, objects, &view),
    }
}
