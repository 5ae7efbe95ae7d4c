//! Acts on all jobs that match a selector: counts them first, asks, and repeats the bulk request until none is left.

use std::collections::HashSet;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::request::{ActArgs, JobAction};
use crate::client::Client;
use crate::confirm::confirm;
use crate::exit::{CommandResult, Exit};
use crate::output::{print_lines, structured};
use crate::progress;
use crate::raw::{self, Fields};

/// Most jobs of one request.
const ROUND: usize = 1000;

pub(super) async fn run(action: JobAction, client: &Client, args: &ActArgs) -> CommandResult {
    let limit = args.limit.unwrap_or(usize::MAX).max(1);
    let preview = request(action, client, args, ROUND.min(limit), true).await?;
    let preview = Fields::of(&preview);
    let (matched, more) = (preview.count("matched"), preview.is_true("more") && limit > ROUND);
    if args.dry_run {
        structured_ids(args, &preview)?;
        let at_least = if more { "More than " } else { "" };
        eprintln!("{at_least}{matched} jobs match; nothing was changed.");
        return Ok(Exit::Done);
    }
    if matched == 0 {
        eprintln!("No jobs match.");
        return Ok(Exit::Done);
    }
    let count = if more { format!("more than {matched}") } else { matched.to_string() };
    confirm(&format!("{} {count} jobs?", capital(action.verb())), args.yes)?;
    let done = rounds(action, client, args, limit).await?;
    let answer =
        raw::object(&[("changed", &done.changed.len().to_string()), ("refused", &done.refused.to_string())]);
    structured(&args.output, &answer, || {
        format!("{} jobs changed, {} refused\n", done.changed.len(), done.refused)
    })?;
    Ok(if done.refused == 0 { Exit::Done } else { Exit::Unmet })
}

#[derive(Default)]
struct Rounds {
    changed: HashSet<Uuid>,
    refused: usize,
}

/// A job can match again after it was changed: a running job that was asked to stop, or a refused one. A round that changes no other job is
/// the last one.
async fn rounds(action: JobAction, client: &Client, args: &ActArgs, limit: usize) -> CommandResult<Rounds> {
    let mut done = Rounds::default();
    let bar = progress::bar(usize::MAX, action.verb());
    bar.unset_length();
    loop {
        let left = limit.saturating_sub(done.changed.len()).min(ROUND);
        let answer = request(action, client, args, left, false).await?;
        let answer = Fields::of(&answer);
        let before = done.changed.len();
        done.changed.extend(answer.texts("ids").iter().filter_map(|id| id.parse::<Uuid>().ok()));
        for failure in answer.items("failures") {
            let failure = Fields::of(failure);
            bar.suspend(|| eprintln!("jobqueue: job {}: {}", failure.text("id"), failure.text("code")));
        }
        done.refused += answer.items("failures").len();
        bar.set_position(u64::try_from(done.changed.len()).unwrap_or(u64::MAX));
        if !answer.is_true("more") || done.changed.len() == before || done.changed.len() >= limit {
            bar.finish_and_clear();
            return Ok(done);
        }
    }
}

async fn request(
    action: JobAction,
    client: &Client,
    args: &ActArgs,
    limit: usize,
    dry_run: bool,
) -> CommandResult<Box<RawValue>> {
    let body = format!("{{\"filter\":{},\"limit\":{limit},\"dry_run\":{dry_run}}}", args.selector.body());
    client.post(&["v1", "jobs", action.verb()], Some(&body)).await
}

/// The ids of a dry run: one on each line, which `-` of another command reads.
fn structured_ids(args: &ActArgs, preview: &Fields<'_>) -> CommandResult<()> {
    if args.output.is_json_or_yaml() {
        let ids = preview.raw("ids").map_or("[]", RawValue::get).to_owned();
        return structured(&args.output, &raw::object(&[("ids", &ids)]), String::new);
    }
    print_lines(&preview.texts("ids"))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), chars.as_str()))
}
