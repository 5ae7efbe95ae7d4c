//! `top`: queues and workers at a glance, refreshed.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{coloured, is_terminal, print};
use crate::raw::Fields;
use crate::resource::{QUEUE_STATS, WORKER};
use crate::table::{Cell, Table, Tone};
use crate::time::short;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue top                  refreshes until Ctrl-C
  jobqueue top --once           prints it once, with the rates of one interval
  jobqueue top --interval 10";

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Seconds between two refreshes. Rates are those of the last interval.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,

    /// Print it once and exit. This is what happens without a terminal.
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    api: ClientArgs,
}

/// Totals of each queue at one time.
struct Totals {
    at: Instant,
    created: HashMap<String, u64>,
    ended: HashMap<String, u64>,
}

pub(crate) async fn run(args: TopArgs) -> CommandResult {
    let client = args.api.client()?;
    let pause = Duration::from_secs(args.interval.into());
    let refreshes = is_terminal() && !args.once;
    let (mut page, mut totals) = page(&client, None).await?;
    loop {
        if refreshes {
            // clears the screen and moves to its first line
            print(&format!("\u{1b}[2J\u{1b}[H{page}"))?;
        }
        tokio::time::sleep(pause).await;
        (page, totals) = self::page(&client, Some(&totals)).await?;
        if !refreshes {
            print(&page)?;
            return Ok(Exit::Done);
        }
    }
}

async fn page(client: &Client, before: Option<&Totals>) -> CommandResult<(String, Totals)> {
    let (queues, _) = client.list(&QUEUE_STATS, &[], usize::MAX).await?;
    let (workers, _) = client.list(&WORKER, &[], usize::MAX).await?;
    let mut totals = Totals { at: Instant::now(), created: HashMap::new(), ended: HashMap::new() };
    let mut table =
        Table::new(["QUEUE", "QUEUED", "RUNNING", "SCHEDULED", "OLDEST", "IN/S", "OUT/S", "FAILED"]);
    for queue in &queues {
        let queue = Fields::of(queue);
        let name = queue.text("queue");
        let ended = queue.count("completed") + queue.count("failed") + queue.count("cancelled");
        totals.created.insert(name.clone(), queue.count("created"));
        totals.ended.insert(name.clone(), ended);
        let rate = |now: u64, known: fn(&Totals) -> &HashMap<String, u64>| {
            before.map_or_else(String::new, |before| {
                let past = known(before).get(&name).copied().unwrap_or(now);
                per_second(now.saturating_sub(past), totals.at.duration_since(before.at))
            })
        };
        let (created, done) =
            (rate(queue.count("created"), |totals| &totals.created), rate(ended, |totals| &totals.ended));
        let failed = queue.text("failed");
        let tone = if failed == "0" { Tone::Plain } else { Tone::Bad };
        table.row(vec![
            Cell::new(name),
            queue.text("queued").into(),
            queue.text("running").into(),
            queue.text("scheduled").into(),
            short(queue.number("oldest_age_seconds").unwrap_or(0.0)).into(),
            created.into(),
            done.into(),
            Cell::new(failed).tone(tone),
        ]);
    }
    let mut shown = Table::new(WORKER.titles(false));
    for worker in &workers {
        shown.row(WORKER.cells(&Fields::of(worker), &client.view(), false));
    }
    let lines = [table.lines(true, coloured()), vec![String::new()], shown.lines(true, coloured())].concat();
    Ok((format!("{}\n", lines.join("\n")), totals))
}

fn per_second(count: u64, over: Duration) -> String {
    let count = u32::try_from(count).map_or(f64::MAX, f64::from);
    let rate = count / over.as_secs_f64().max(0.001);
    if rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}
