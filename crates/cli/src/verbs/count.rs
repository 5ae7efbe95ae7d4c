//! `count`: how many jobs match.

use clap::Args;

use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{OutputArgs, structured};
use crate::raw::Fields;
use crate::selector::Selector;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue count --queue mail --status queued
  jobqueue count --status failed --error-type timeout --finished-after 2026-01-31T09:00:00Z
  jobqueue count --metadata team=billing -o jsonpath=.count";

#[derive(Args, Debug)]
pub(crate) struct CountArgs {
    #[command(flatten)]
    selector: Selector,

    /// Count up to this many jobs, at most 10000. Beyond that the answer is `more than`.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: CountArgs) -> CommandResult {
    let client = args.api.client()?;
    let mut query = args.selector.query();
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    let answer = client.get(&["v1", "jobs", "count"], &query).await?;
    let fields = Fields::of(&answer);
    let more = if fields.is_true("exact") { "" } else { "more than " };
    structured(&args.output, &answer, || format!("{more}{}\n", fields.count("count")))?;
    Ok(Exit::Done)
}
