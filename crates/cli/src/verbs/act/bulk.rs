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
    let filter = format!("\"filter\":{}", args.selector.body());
    let preview = preview(action, client, &filter, ROUND.min(limit)).await?;
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
    let until = args.selector.until(&preview, action.is_of_ended(), args.yes);
    let filter = format!("\"filter\":{}", until.body());
    let done = rounds(action, client, &filter, limit).await?;
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

/// What a dry run says about the first jobs that match. A search that has looked at many jobs without a match continues.
async fn preview(
    action: JobAction,
    client: &Client,
    filter: &str,
    limit: usize,
) -> CommandResult<Box<RawValue>> {
    let mut cursor = None;
    loop {
        let answer = request((client, action), filter, (limit, cursor.as_deref()), true).await?;
        let fields = Fields::of(&answer);
        cursor = Some(fields.text("next_cursor")).filter(|cursor| !cursor.is_empty());
        if cursor.is_none() || fields.count("matched") > 0 {
            return Ok(answer);
        }
    }
}

/// Each round continues after the jobs of the round before, so none is met twice.
async fn rounds(action: JobAction, client: &Client, filter: &str, limit: usize) -> CommandResult<Rounds> {
    let mut done = Rounds::default();
    let mut cursor: Option<String> = None;
    let bar = progress::bar(usize::MAX, action.verb());
    bar.unset_length();
    loop {
        let left = limit.saturating_sub(done.changed.len()).min(ROUND);
        let answer = request((client, action), filter, (left, cursor.as_deref()), false).await?;
        let answer = Fields::of(&answer);
        done.changed.extend(answer.texts("ids").iter().filter_map(|id| id.parse::<Uuid>().ok()));
        bar.suspend(|| report(&answer));
        done.refused += answer.items("failures").len();
        bar.set_position(u64::try_from(done.changed.len()).unwrap_or(u64::MAX));
        cursor = Some(answer.text("next_cursor")).filter(|cursor| !cursor.is_empty());
        if cursor.is_none() || done.changed.len() >= limit {
            bar.finish_and_clear();
            return Ok(done);
        }
    }
}

/// Says which jobs were not changed.
fn report(answer: &Fields<'_>) {
    for failure in answer.items("failures") {
        let failure = Fields::of(failure);
        eprintln!("jobqueue: job {}: {}", failure.text("id"), failure.text("code"));
    }
}

/// Says which of the jobs with these ids would be changed.
pub(super) async fn dry(action: JobAction, client: &Client, args: &ActArgs, ids: &[String]) -> CommandResult {
    let (mut matching, mut refused) = (Vec::new(), 0);
    for ids in ids.chunks(ROUND) {
        let ids: Vec<String> = ids.iter().map(|id| raw::quoted(id)).collect();
        let body = format!("{{\"ids\":[{}],\"dry_run\":true}}", ids.join(","));
        let answer = client.post(&["v1", "jobs", action.verb()], Some(&body)).await?;
        let answer = Fields::of(&answer);
        report(&answer);
        refused += answer.items("failures").len();
        matching.extend(answer.texts("ids"));
    }
    if args.output.is_json_or_yaml() {
        let list: Vec<String> = matching.iter().map(|id| raw::quoted(id)).collect();
        structured(&args.output, &raw::object(&[("ids", &format!("[{}]", list.join(",")))]), String::new)?;
    } else {
        print_lines(&matching)?;
    }
    eprintln!("{} of {} jobs would be changed; nothing was changed.", matching.len(), ids.len());
    Ok(if refused == 0 { Exit::Done } else { Exit::Unmet })
}

/// One call of at most `limit` jobs, which begins after the cursor.
async fn request(
    (client, action): (&Client, JobAction),
    filter: &str,
    (limit, cursor): (usize, Option<&str>),
    dry_run: bool,
) -> CommandResult<Box<RawValue>> {
    let cursor = cursor.map_or_else(String::new, |cursor| format!(",\"cursor\":{}", raw::quoted(cursor)));
    let body = format!("{{{filter},\"limit\":{limit},\"dry_run\":{dry_run}{cursor}}}");
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
