//! `stats`: counts and totals of all queues.

use clap::Args;

use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{self, OutputArgs};
use crate::raw::{self, Fields};
use crate::resource::QUEUE_STATS;
use crate::time::short;
use crate::verbs::get;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue stats
  jobqueue stats -o wide
  jobqueue stats -o jsonpath=.total.queued";

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: StatsArgs) -> CommandResult {
    let client = args.api.client()?;
    let first = client.get(&["v1", "stats"], &[("limit", "1".to_owned())]).await?;
    let (queues, _) = client.list(&QUEUE_STATS, &[], usize::MAX).await?;
    let fields = Fields::of(&first);
    if args.output.is_table() {
        get::show(&QUEUE_STATS, &args.output, &client, &queues, false)?;
        let total = fields.object("total");
        output::print(&format!(
            "\ntotal: {} scheduled, {} queued, {} running; the oldest has waited {}; {} workers\n",
            total.count("scheduled"),
            total.count("queued"),
            total.count("running"),
            short(total.number("oldest_age_seconds").unwrap_or(0.0)),
            fields.count("workers"),
        ))?;
        return Ok(Exit::Done);
    }
    let list = queues.iter().map(|queue| queue.get()).collect::<Vec<_>>().join(",");
    let text = |name: &str| fields.raw(name).map_or("null", |value| value.get()).to_owned();
    let all = raw::object(&[
        ("total", &text("total")),
        ("workers", &text("workers")),
        ("queues", &format!("[{list}]")),
    ]);
    let names =
        || queues.iter().flat_map(|queue| [Fields::of(queue).text("queue"), "\n".to_owned()]).collect();
    output::structured(&args.output, &all, names)?;
    Ok(Exit::Done)
}
