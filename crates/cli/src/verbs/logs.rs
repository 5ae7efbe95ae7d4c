//! `logs`: the log of a job's attempts. The API keeps the last 16 KiB of each.

use std::time::Duration;

use clap::Args;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::Fields;
use crate::resource::is_final;
use crate::table::printable_lines;
use crate::{ids, output};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue logs 0198c1a2-3b4c-7d5e                 the last attempt
  jobqueue logs 0198c1a2-3b4c-7d5e --attempt 1
  jobqueue logs 0198c1a2-3b4c-7d5e --all
  jobqueue logs -f 0198c1a2-3b4c-7d5e              follows until the job ends";

/// Pause between two requests while following.
const PAUSE: Duration = Duration::from_secs(1);

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AttemptLog {
    number: u64,
    ended: String,
    text: String,
}

pub(crate) async fn run(args: LogsArgs) -> CommandResult {
    let client = args.api.client()?;
    let id = ids::one(&client, &args.id).await?;
    let mut printed: Vec<AttemptLog> = Vec::new();
    loop {
        // the status first: a job that is final before the logs are read gets no more of them
        let done =
            !args.follow || is_final(&Fields::of(&client.job(&id, Duration::ZERO).await?).text("status"));
        let mut logs = read(&client, &id).await?;
        if let Some(wanted) = args.attempt {
            logs.retain(|log| log.number == wanted);
            if logs.is_empty() && done {
                return Err(CommandError::new(
                    Exit::NotFound,
                    format!("not found: job {id} has no attempt {wanted}"),
                ));
            }
        } else if !args.all && printed.is_empty() && logs.len() > 1 {
            // following begins at the last attempt
            printed = logs[..logs.len() - 1].to_vec();
        }
        print_new(&printed, &logs, args.all)?;
        if done && logs.iter().all(|log| log.text.is_empty()) {
            eprintln!("jobqueue: job {id} has no log");
        }
        if done {
            return Ok(Exit::Done);
        }
        printed = logs;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(client: &Client, id: &str) -> CommandResult<Vec<AttemptLog>> {
    let answer = client.get(&["v1", "jobs", id, "attempts"], &[]).await?;
    let log = |attempt| {
        let attempt = Fields::of(attempt);
        AttemptLog {
            number: attempt.count("attempt"),
            ended: attempt.text("ended"),
            text: attempt.text("log"),
        }
    };
    Ok(Fields::of(&answer).items("attempts").into_iter().map(log).collect())
}

fn print_new(printed: &[AttemptLog], logs: &[AttemptLog], titled: bool) -> CommandResult<()> {
    for (place, log) in logs.iter().enumerate() {
        let before = printed.get(place);
        if titled && before.is_none() {
            print(&format!("--- attempt {} ({})\n", log.number, log.ended))?;
        }
        let new = after(before.map_or("", |before| &before.text), &log.text);
        if !new.is_empty() {
            // a terminal must not be steered by a log; a file gets the bytes as they are
            let text = if output::is_terminal() { printable_lines(new) } else { new.to_owned() };
            let end = if text.ends_with('\n') || log.ended == "running" { "" } else { "\n" };
            print(&format!("{text}{end}"))?;
        }
    }
    Ok(())
}

/// What is new in a log of which only the end is kept: the part after the longest overlap with what was printed.
fn after<'a>(printed: &str, log: &'a str) -> &'a str {
    if let Some(rest) = log.strip_prefix(printed) {
        return rest;
    }
    let starts = printed.char_indices().map(|(start, _)| start);
    let overlap = starts.filter_map(|start| printed.get(start..)).find(|tail| log.starts_with(tail));
    log.strip_prefix(overlap.unwrap_or_default()).unwrap_or(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_printed() {
        for (printed, log, new) in [
            ("", "a\nb\n", "a\nb\n"),
            ("a\n", "a\nb\n", "b\n"),
            ("a\nb\nc\n", "b\nc\nd\n", "d\n"),
            ("a\n", "a\n", ""),
            ("xyz", "abc", "abc"),
            ("éa", "ab", "b"),
        ] {
            assert_eq!(after(printed, log), new, "{printed:?} {log:?}");
        }
    }
}
