//! `cancel`, `retry`, `promote` and `delete`: jobs by id, or all jobs that match a selector.

mod bulk;
mod request;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::{OutputArgs, print};
use crate::raw::Fields;
use crate::resource::JOB;
use crate::verbs::get;
use crate::{ids, progress};

pub(crate) use request::{ActArgs, JobAction};

pub(crate) const CANCEL_EXAMPLES: &str = "\
Examples:
  jobqueue cancel 0198c1a2-3b4c-7d5e
  jobqueue cancel --queue mail --status queued --dry-run     shows what would be cancelled
  jobqueue cancel --queue mail --status queued --yes
  jobqueue get jobs --tag old --all -o name | jobqueue cancel -";

pub(crate) const RETRY_EXAMPLES: &str = "\
Examples:
  jobqueue retry 0198c1a2-3b4c-7d5e
  jobqueue retry --kind send_email --status failed --dry-run
  jobqueue retry --kind send_email --status failed --created-after 2026-01-31T09:00:00Z --yes";

pub(crate) const PROMOTE_EXAMPLES: &str = "\
Examples:
  jobqueue promote 0198c1a2-3b4c-7d5e          starts a scheduled job now
  jobqueue promote --queue mail --tag reminder --yes";

/// Requests at the same time.
const AT_ONCE: usize = 4;

pub(crate) async fn run(action: JobAction, args: ActArgs) -> CommandResult {
    let client = args.api.client()?;
    match (args.ids.is_empty(), args.selector.is_empty()) {
        (false, true) => {
            let ids = ids::resolve(&client, &args.ids).await?;
            if args.dry_run {
                return bulk::dry(action, &client, &args, &ids).await;
            }
            each(action, &client, &ids, &args.output).await
        }
        (true, false) => bulk::run(action, &client, &args).await,
        (true, true) => Err(CommandError::usage(format!(
            "say which jobs: an id, or a selector such as --queue NAME; see jobqueue {} --help",
            action.verb()
        ))),
        (false, false) => Err(CommandError::usage("give ids or selectors, not both")),
    }
}

/// Acts on each job. A refused one is reported, and the others are still done.
async fn each(action: JobAction, client: &Client, ids: &[String], output: &OutputArgs) -> CommandResult {
    let bar = progress::bar(ids.len(), action.verb());
    let requests = ids.iter().map(|id| async {
        let answer = one(action, client, id).await;
        bar.inc(1);
        answer
    });
    let answers: Vec<CommandResult<Option<Box<RawValue>>>> =
        stream::iter(requests).buffered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    let mut exit = Exit::Done;
    let mut jobs = Vec::with_capacity(answers.len());
    for (id, answer) in ids.iter().zip(answers) {
        match answer {
            Ok(Some(job)) => jobs.push(job),
            Ok(None) => print(&format!("job {id} deleted\n"))?,
            Err(error) => exit = exit.or(error.about(&format!("job {id}"))),
        }
    }
    if !jobs.is_empty() {
        get::show(&JOB, output, client, &jobs, ids.len() == 1)?;
    }
    Ok(exit)
}

/// Acts on one job, and returns it, unless it is deleted.
async fn one(action: JobAction, client: &Client, id: &str) -> CommandResult<Option<Box<RawValue>>> {
    if !matches!(action, JobAction::Delete) {
        return client.post(&["v1", "jobs", id, action.verb()], None).await.map(Some);
    }
    let answer = client.send(&Method::DELETE, &["v1", "jobs", id], None).await?;
    if Fields::of(&answer).is_true("deleted") {
        return Ok(None);
    }
    Err(CommandError::new(Exit::NotFound, "not found: no job has this id"))
}
