//! `dlq purge`: deletes what matches, a thousand at a time.

use clap::Args;
use serde_json::value::RawValue;

use super::selector::LetterSelector;
use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{OutputArgs, print_lines, structured};
use crate::progress;
use crate::raw::{self, Fields};

/// Most dead letters of one request.
const ROUND: u64 = 1000;

#[derive(Args, Debug)]
pub(crate) struct PurgeLettersArgs {
    #[command(flatten)]
    selector: LetterSelector,

    /// All dead letters.
    #[arg(long)]
    all: bool,

    /// Delete nothing, and print the ids of up to a thousand that match.
    #[arg(long)]
    dry_run: bool,

    /// Do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    /// Delete at most this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(super) async fn run(args: &PurgeLettersArgs) -> CommandResult {
    let client = args.api.client()?;
    let filter = args.selector.body(args.all)?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let preview = request(&client, &filter, limit.min(ROUND), true).await?;
    let preview = Fields::of(&preview);
    let matched = preview.count("matched");
    let more = preview.is_true("more") && limit > ROUND;
    if args.dry_run {
        let ids = preview.texts("ids");
        let listed = preview.raw("ids").map_or("[]", RawValue::get);
        if args.output.is_json_or_yaml() {
            structured(&args.output, &raw::object(&[("ids", listed)]), String::new)?;
        } else {
            print_lines(&ids)?;
        }
        eprintln!(
            "{}{matched} dead letters match; nothing was deleted.",
            if more { "More than " } else { "" }
        );
        return Ok(Exit::Done);
    }
    if matched == 0 {
        eprintln!("No dead letters match.");
        return Ok(Exit::Done);
    }
    let count = if more { format!("more than {matched}") } else { matched.to_string() };
    confirm(&format!("Delete {count} dead letters with their jobs?"), args.yes)?;
    let filter = args.selector.body_until(&preview, args.yes)?;
    let deleted = rounds(&client, &filter, limit).await?;
    let answer = raw::object(&[("deleted", &deleted.to_string())]);
    structured(&args.output, &answer, || format!("{deleted} dead letters deleted\n"))?;
    Ok(Exit::Done)
}

async fn rounds(client: &Client, filter: &str, limit: u64) -> CommandResult<u64> {
    let bar = progress::bar(usize::MAX, "deleting");
    bar.unset_length();
    let mut deleted = 0;
    loop {
        let answer = request(client, filter, (limit - deleted).min(ROUND), false).await?;
        let answer = Fields::of(&answer);
        let now = answer.count("deleted");
        deleted += now;
        bar.set_position(deleted);
        if !answer.is_true("more") || now == 0 || deleted >= limit {
            bar.finish_and_clear();
            return Ok(deleted);
        }
    }
}

async fn request(client: &Client, filter: &str, limit: u64, dry_run: bool) -> CommandResult<Box<RawValue>> {
    let body = format!("{{\"filter\":{filter},\"limit\":{limit},\"dry_run\":{dry_run}}}");
    client.post(&["v1", "dead-letters", "purge"], Some(&body)).await
}
