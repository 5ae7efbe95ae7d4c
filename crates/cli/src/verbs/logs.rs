//! `logs`: the log of a job's attempts. The API keeps the last 16 KiB of each.

use clap::Args;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::Fields;
use crate::table::printable_lines;
use crate::{ids, output};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue logs 0198c1a2-3b4c-7d5e                 the last attempt
  jobqueue logs 0198c1a2-3b4c-7d5e --attempt 1
  jobqueue logs 0198c1a2-3b4c-7d5e --all
  jobqueue logs -f 0198c1a2-3b4c-7d5e              follows until the job ends";

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Id of the job, or its beginning.
    id: String,

    /// Print new lines as they arrive, also those of later attempts, until the job ends.
    #[arg(short = 'f', long)]
    follow: bool,

    /// Only the attempt with this number. Default: the last one.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    attempt: Option<u64>,

    /// All attempts, each under a line with its number.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    api: ClientArgs,
}

/// The log of one attempt.
#[derive(Debug)]
struct PrintedLog {
    number: u64,
    ended: String,
    text: String,
}

pub(crate) async fn run(args: LogsArgs) -> CommandResult {
    let client = args.api.client()?;
    let id = ids::one(&client, &args.id).await?;
    if args.follow && follow(&client, &id, &args).await? {
        return Ok(Exit::Done);
    }
    let mut logs = read(&client, &id).await?;
    if let Some(wanted) = args.attempt {
        logs.retain(|log| log.number == wanted);
        if logs.is_empty() {
            return Err(CommandError::new(
                Exit::NotFound,
                format!("not found: job {id} has no attempt {wanted}"),
            ));
        }
    } else if !args.all && logs.len() > 1 {
        logs.drain(..logs.len() - 1);
    }
    if logs.iter().all(|log| log.text.is_empty()) {
        eprintln!("jobqueue: job {id} has no log");
    }
    for log in &logs {
        if args.all {
            print(&format!("--- attempt {} ({})\n", log.number, log.ended))?;
        }
        if !log.text.is_empty() {
            print(&shown(&log.text))?;
            print(if log.text.ends_with('\n') || log.ended == "running" { "" } else { "\n" })?;
        }
    }
    Ok(Exit::Done)
}

/// Prints lines as they arrive, until the job ends. Returns whether there was any. If the connection breaks, it continues after the last line.
async fn follow(client: &Client, id: &str, args: &LogsArgs) -> CommandResult<bool> {
    // without it the log begins with the last attempt
    let first = (args.all || args.attempt.is_some()).then_some("0-0");
    let mut events = client.events(&["v1", "jobs", id, "stream"], first);
    let (mut printed, mut attempt) = (false, 0);
    while let Some(event) = events.next().await? {
        let fields = Fields::of(&event.json);
        match event.name.as_str() {
            "log" => {
                let its = fields.count("attempt");
                if args.attempt.is_some_and(|wanted| wanted != its) {
                    continue;
                }
                if fields.raw("skipped_bytes").is_some() {
                    eprintln!(
                        "jobqueue: {} bytes of the log are no longer kept",
                        fields.text("skipped_bytes")
                    );
                }
                if args.all && its != attempt {
                    print(&format!("--- attempt {its}\n"))?;
                }
                (printed, attempt) = (true, its);
                print(&format!("{}\n", shown(&fields.text("line"))))?;
            }
            "unavailable" => eprintln!("jobqueue: {}; waiting", fields.text("reason")),
            "unreadable" => return Err(CommandError::internal(fields.text("reason"))),
            "end" => break,
            _ => {}
        }
    }
    Ok(printed)
}

/// A terminal must not be steered by a log; a file gets the bytes as they are.
fn shown(text: &str) -> String {
    if output::is_terminal() { printable_lines(text) } else { text.to_owned() }
}

async fn read(client: &Client, id: &str) -> CommandResult<Vec<PrintedLog>> {
    let answer = client.get(&["v1", "jobs", id, "attempts"], &[]).await?;
    let log = |attempt| {
        let attempt = Fields::of(attempt);
        PrintedLog {
            number: attempt.count("attempt"),
            ended: attempt.text("ended"),
            text: attempt.text("log"),
        }
    };
    Ok(Fields::of(&answer).items("attempts").into_iter().map(log).collect())
}
