//! `describe`: everything about one job, queue or worker.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::ids;
use crate::members::{ago, members};
use crate::output::{self, OutputArgs};
use crate::raw::{self, Fields};
use crate::resource::{JOB, QUEUE, QUEUE_STATS, ROUTE, SCHEDULE, WORKER, status_tone};
use crate::table::{Cell, Table, printable, printable_lines};
use crate::time::distance;
use crate::verbs::{get, schedule};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue describe job 0198c1a2-3b4c-7d5e     the job, its attempts and its history
  jobqueue describe queue mail                 settings, counts, and the workers that serve it
  jobqueue describe worker worker-7f9c         what it runs now
  jobqueue describe job 0198c1a2-3b4c-7d5e -o json";

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// job, queue, worker, schedule or route.
    #[arg(value_name = "WHAT")]
    what: String,

    /// Id of the job, or name of the other thing.
    #[arg(value_name = "ID|NAME")]
    name: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: DescribeArgs) -> CommandResult {
    let client = args.api.client()?;
    let named = |what: &'static str| {
        let missing = || CommandError::usage(format!("say which {what}: jobqueue describe {what} NAME"));
        args.name.as_deref().ok_or_else(missing)
    };
    match args.what.as_str() {
        what if JOB.is_named(what) => job(&client, &args.output, named("job")?).await?,
        what if QUEUE.is_named(what) => queue(&client, &args.output, named("queue")?).await?,
        what if SCHEDULE.is_named(what) => {
            schedule::describe(&client, &args.output, named("schedule")?).await?;
        }
        what if ROUTE.is_named(what) => {
            let route = client.get(&["v1", "routes", named("route")?], &[]).await?;
            output::structured(&args.output, &route, || members(&Fields::of(&route), &client))?;
        }
        what if WORKER.is_named(what) => worker(&client, &args.output, named("worker")?).await?,
        id if args.name.is_none() && id.contains(|char: char| char.is_ascii_digit()) => {
            job(&client, &args.output, id).await?;
        }
        other => {
            return Err(CommandError::usage(format!(
                "there is no `{other}`; use job, queue, worker, schedule or route"
            )));
        }
    }
    Ok(Exit::Done)
}

async fn job(client: &Client, output: &OutputArgs, name: &str) -> CommandResult<()> {
    let id = ids::one(client, name).await?;
    let job = client.job(&id, Duration::ZERO).await?;
    let attempts = client.get(&["v1", "jobs", &id, "attempts"], &[]).await?;
    let events = client.get(&["v1", "jobs", &id, "events"], &[]).await?;
    let (attempts, events) = (Fields::of(&attempts), Fields::of(&events));
    let list = |fields: &Fields<'_>, name: &str| fields.raw(name).map_or("[]", RawValue::get).to_owned();
    let all = raw::object(&[
        ("job", job.get()),
        ("attempts", &list(&attempts, "attempts")),
        ("events", &list(&events, "events")),
    ]);
    output::structured(output, &all, || {
        let mut text = members(&Fields::of(&job), client);
        text.push_str(&attempt_lines(&attempts.items("attempts"), client));
        text.push_str(&event_lines(&events.items("events"), client));
        text
    })
}

fn attempt_lines(attempts: &[&RawValue], client: &Client) -> String {
    if attempts.is_empty() {
        return "\nattempts: none\n".to_owned();
    }
    let mut table = Table::new(["  ATTEMPT", "ENDED", "STARTED", "FINISHED", "WORKER", "ERROR"]);
    let mut logs = String::new();
    for attempt in attempts {
        let attempt = Fields::of(attempt);
        let at = |name: &str| match attempt.text(name) {
            text if text.is_empty() => text,
            text => ago(&text, client),
        };
        let ended = attempt.text("ended");
        let tone = status_tone(&ended);
        table.row(vec![
            Cell::new(format!("  {}", attempt.text("attempt"))),
            Cell::new(ended).tone(tone),
            at("started_at").into(),
            at("finished_at").into(),
            attempt.text("worker_id").into(),
            failure(&attempt.object("error")).into(),
        ]);
        let log = attempt.text("log");
        if !log.is_empty() {
            let _infallible = writeln!(logs, "\nlog of attempt {}:", attempt.text("attempt"));
            for line in printable_lines(log.trim_end()).lines() {
                let _infallible = writeln!(logs, "  {line}");
            }
        }
    }
    format!("\nattempts:\n{}\n{logs}", table.lines(true, output::coloured()).join("\n"))
}

fn event_lines(events: &[&RawValue], client: &Client) -> String {
    let mut table = Table::new(["  WHEN", "EVENT", "ATTEMPT", "ERROR"]);
    for event in events {
        let event = Fields::of(event);
        table.row(vec![
            Cell::new(format!("  {}", ago(&event.text("at"), client))),
            event.text("event").into(),
            event.text("attempt").into(),
            failure(&event.object("error")).into(),
        ]);
    }
    format!("\nevents:\n{}\n", table.lines(true, output::coloured()).join("\n"))
}

fn failure(failure: &Fields<'_>) -> String {
    match (failure.text("type"), failure.text("message")) {
        (kind, message) if message.is_empty() => kind,
        (kind, message) => format!("{kind}: {message}"),
    }
}

async fn queue(client: &Client, output: &OutputArgs, name: &str) -> CommandResult<()> {
    let queue = client.get(&["v1", "queues", name], &[]).await?;
    let (stats, _) = client.list(&QUEUE_STATS, &[], usize::MAX).await?;
    let (workers, _) = client.list(&WORKER, &[], usize::MAX).await?;
    let stats = stats.iter().find(|stats| Fields::of(stats).text("queue") == name);
    let serving: Vec<&Box<RawValue>> = workers
        .iter()
        .filter(|worker| Fields::of(worker).texts("queues").iter().any(|queue| queue == name))
        .collect();
    let list = serving.iter().map(|worker| worker.get()).collect::<Vec<_>>().join(",");
    let all = raw::object(&[
        ("queue", queue.get()),
        ("stats", stats.map_or("null", |stats| stats.get())),
        ("workers", &format!("[{list}]")),
    ]);
    output::structured(output, &all, || {
        let mut text = members(&Fields::of(&queue), client);
        if let Some(stats) = stats {
            let _infallible = write!(text, "\nstatistics:\n{}", members(&Fields::of(stats), client));
        }
        let names: Vec<String> =
            serving.iter().map(|worker| printable(&Fields::of(worker).text("name"))).collect();
        let names =
            if names.is_empty() { "none: its jobs do not start".to_owned() } else { names.join(", ") };
        let _infallible = write!(text, "\nworkers: {names}\n");
        text
    })
}

async fn worker(client: &Client, output: &OutputArgs, name: &str) -> CommandResult<()> {
    let worker = get::by_name(client, &WORKER, name).await?;
    output::structured(output, &worker, || {
        let fields = Fields::of(&worker);
        let mut table = Table::new(["  JOB", "QUEUE", "KIND", "ATTEMPT", "SINCE"]);
        for job in fields.items("jobs") {
            let job = Fields::of(job);
            table.row(vec![
                Cell::new(format!("  {}", job.text("id"))),
                job.text("queue").into(),
                job.text("kind").into(),
                job.text("attempt").into(),
                distance(&job.text("leased_at"), client.view().now).into(),
            ]);
        }
        let mut text = members(&fields.without("jobs"), client);
        let jobs = table.lines(true, output::coloured());
        let _infallible = match jobs.len() {
            1 => write!(text, "\njobs: none\n"),
            _ => write!(text, "\njobs:\n{}\n", jobs.join("\n")),
        };
        text
    })
}
