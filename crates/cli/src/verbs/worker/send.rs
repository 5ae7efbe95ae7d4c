//! Sends a command to workers and waits until they acknowledge it.

use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::duration;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::raw::{self, Fields, quoted};
use crate::resource::{SENT_COMMAND, WORKER};
use crate::verbs::get;

/// Pause between two looks at the command.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct CommandArgs {
    /// Names or ids of workers. In a name `*` stands for any text and `?` for one character.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// All workers.
    #[arg(long, conflicts_with = "names")]
    all: bool,

    /// Workers that lease from this queue.
    #[arg(long, value_name = "QUEUE", conflicts_with = "names")]
    queue: Option<String>,

    /// Workers that lease this kind.
    #[arg(long, value_name = "KIND", conflicts_with = "names")]
    kind: Option<String>,

    /// Workers of this version.
    #[arg(long = "version", value_name = "VERSION", conflicts_with = "names")]
    of_version: Option<String>,

    /// Send nothing, and print the workers that match.
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before a drain or a shutdown of several workers.
    #[arg(short = 'y', long)]
    yes: bool,

    /// How long to wait until the workers acknowledge it; 0 does not wait.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// A command that was sent.
struct Sent {
    worker: String,
    name: String,
    /// `None`: it was not sent.
    command: Option<String>,
}

pub(super) async fn run(command: &str, more: &str, args: &CommandArgs) -> CommandResult {
    let client = args.api.client()?;
    let filters = filters(&client, args).await?;
    let mut matching = Vec::new();
    for filter in &filters {
        matching.extend(request(&client, filter, command, more, true).await?);
    }
    if matching.is_empty() {
        return Err(CommandError::new(
            Exit::NotFound,
            "not found: no live worker matches; `jobqueue get workers` lists them",
        ));
    }
    if args.dry_run {
        return show(
            args,
            &client,
            command,
            &matching,
            &vec![("dry run".to_owned(), String::new()); matching.len()],
        );
    }
    let asks = matches!(command, "drain" | "shutdown")
        && (matching.len() > args.names.len() || args.names.is_empty());
    if asks {
        confirm(&format!("{command} {} workers?", matching.len()), args.yes)?;
    }
    let mut sent = Vec::new();
    if asks && !args.yes {
        // the answer does not concern workers that came after the question
        for worker in &matching {
            sent.extend(send_to(&client, worker, command, more).await?);
        }
    } else {
        for filter in &filters {
            sent.extend(request(&client, filter, command, more, false).await?);
        }
    }
    let deadline = Instant::now() + args.timeout;
    let mut ends = Vec::with_capacity(sent.len());
    for one in &sent {
        ends.push(acknowledged(&client, one, command, deadline).await?);
    }
    let refused = ends.iter().any(|(status, _)| status == "refused" || status == "not sent");
    let open = ends.iter().any(|(status, _)| status == "pending" || status == "delivered");
    let shown = show(args, &client, command, &sent, &ends)?;
    Ok(match (refused, open && !args.timeout.is_zero()) {
        (true, _) => Exit::Refused,
        (false, true) => Exit::TimedOut,
        (false, false) => shown,
    })
}

/// One filter for each name, or one of the criteria. An id becomes the name of its worker.
async fn filters(client: &Client, args: &CommandArgs) -> CommandResult<Vec<String>> {
    if args.names.is_empty() {
        let criteria = [("queue", &args.queue), ("kind", &args.kind), ("version", &args.of_version)];
        let given = criteria.into_iter().filter_map(|(name, value)| Some((name, quoted(value.as_ref()?))));
        let all = args.all.then(|| ("all", "true".to_owned()));
        let members: Vec<String> =
            given.chain(all).map(|(name, json)| format!("\"{name}\":{json}")).collect();
        if members.is_empty() {
            return Err(CommandError::usage(
                "say which workers: a name, --queue, --kind, --version or --all",
            ));
        }
        return Ok(vec![format!("{{{}}}", members.join(","))]);
    }
    let mut filters = Vec::new();
    for name in &args.names {
        let name = match name.parse::<Uuid>() {
            Ok(_) => Fields::of(&get::by_name(client, &WORKER, name).await?).text("name"),
            Err(_) => name.clone(),
        };
        filters.push(format!("{{\"name\":{}}}", quoted(&name)));
    }
    Ok(filters)
}

async fn request(
    client: &Client,
    filter: &str,
    command: &str,
    more: &str,
    dry_run: bool,
) -> CommandResult<Vec<Sent>> {
    let body = format!("{{\"filter\":{filter},\"command\":\"{command}\"{more},\"dry_run\":{dry_run}}}");
    let answer = client.post(&["v1", "workers", "commands"], Some(&body)).await?;
    let sent = |worker: &RawValue| {
        let worker = Fields::of(worker);
        let command = Some(worker.text("command_id")).filter(|id| !id.is_empty());
        Sent { worker: worker.text("id"), name: worker.text("name"), command }
    };
    Ok(Fields::of(&answer).items("workers").into_iter().map(sent).collect())
}

/// Sends it to one worker; `None` if the worker has ended.
async fn send_to(client: &Client, to: &Sent, command: &str, more: &str) -> CommandResult<Option<Sent>> {
    let body = format!("{{\"command\":\"{command}\"{more}}}");
    match client.post(&["v1", "workers", &to.worker, "commands"], Some(&body)).await {
        Ok(answer) => {
            let command = Some(Fields::of(&answer).text("id"));
            Ok(Some(Sent { worker: to.worker.clone(), name: to.name.clone(), command }))
        }
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The status of the command, and what the worker answered. A worker that has ended carried out its drain.
async fn acknowledged(
    client: &Client,
    sent: &Sent,
    command: &str,
    deadline: Instant,
) -> CommandResult<(String, String)> {
    let Some(id) = &sent.command else {
        return Ok(("not sent".to_owned(), "100 of its commands are open".to_owned()));
    };
    loop {
        let answer = match client.get(&["v1", "workers", &sent.worker, "commands"], &[]).await {
            Ok(answer) => answer,
            Err(error) if error.exit == Exit::NotFound && matches!(command, "drain" | "shutdown") => {
                return Ok(("acknowledged".to_owned(), "it has ended".to_owned()));
            }
            Err(error) => return Err(error),
        };
        let fields = Fields::of(&answer);
        let found =
            fields.items("commands").into_iter().map(Fields::of).find(|known| known.text("id") == *id);
        let (status, said) = found.map_or_else(
            || ("pending".to_owned(), String::new()),
            |known| {
                let error = known.text("error");
                (known.text("status"), if error.is_empty() { known.text("result") } else { error })
            },
        );
        if !matches!(status.as_str(), "pending" | "delivered") || Instant::now() >= deadline {
            return Ok((status, said));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(
    args: &CommandArgs,
    client: &Client,
    command: &str,
    sent: &[Sent],
    ends: &[(String, String)],
) -> CommandResult {
    let row = |(sent, (status, said)): (&Sent, &(String, String))| {
        raw::object(&[
            ("worker", &quoted(&sent.name)),
            ("worker_id", &quoted(&sent.worker)),
            ("command", &quoted(command)),
            ("status", &quoted(status)),
            ("answer", &quoted(said)),
        ])
    };
    let rows: Vec<Box<RawValue>> = sent.iter().zip(ends).map(row).collect();
    get::show(&SENT_COMMAND, &args.output, client, &rows, false)?;
    Ok(Exit::Done)
}
