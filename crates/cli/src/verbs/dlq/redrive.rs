//! `dlq redrive`, `watch` and `stop`: retries at a rate. The reaper does the work; this only starts, follows and stops it.

use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use super::selector::LetterSelector;
use crate::client::Client;
use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::{OutputArgs, structured};
use crate::progress;
use crate::raw::Fields;
use crate::resource::REDRIVE;
use crate::verbs::get;

/// Pause between two looks at a redrive.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    selector: LetterSelector,

    /// All dead letters.
    #[arg(long)]
    all: bool,

    /// Jobs per second, up to 1000.
    #[arg(long, default_value_t = 10.0, value_name = "JOBS")]
    rate: f64,

    /// Stop when this share of the window failed again: 0.001 to 1.
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    stop_share: f64,

    /// The window: so many of the last results, up to 1000.
    #[arg(long, default_value_t = 20, value_name = "JOBS")]
    stop_window: u32,

    /// Start nothing, and print how many dead letters match.
    #[arg(long)]
    dry_run: bool,

    /// Do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    /// Do not wait for its end. `jobqueue dlq watch` follows it later.
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Id of the redrive.
    id: String,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Ids of redrives.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(super) async fn run(args: &RedriveArgs) -> CommandResult {
    let client = args.api.client()?;
    let filter = args.selector.body(args.all)?;
    let plan = request(&client, args, &filter, true).await?;
    let total = Fields::of(&plan).text("total");
    let count = if total.is_empty() { "very many".to_owned() } else { total };
    if args.dry_run {
        structured(&args.output, &plan, || format!("{count} dead letters match; nothing was started\n"))?;
        return Ok(Exit::Done);
    }
    if count == "0" {
        eprintln!("No dead letters match.");
        return Ok(Exit::Done);
    }
    confirm(&format!("Retry {count} dead letters, {} a second?", args.rate), args.yes)?;
    let filter = args.selector.body_until(&Fields::of(&plan), args.yes)?;
    let redrive = request(&client, args, &filter, false).await?;
    if args.no_wait {
        get::show(&REDRIVE, &args.output, &client, &[redrive], true)?;
        return Ok(Exit::Done);
    }
    follow(&client, &args.output, redrive).await
}

pub(super) async fn watch(args: &WatchArgs) -> CommandResult {
    let client = args.api.client()?;
    let redrive = client.get(&["v1", "dead-letters", "redrives", &args.id], &[]).await?;
    follow(&client, &args.output, redrive).await
}

pub(super) async fn stop(args: &StopArgs) -> CommandResult {
    let client = args.api.client()?;
    let (mut exit, mut redrives) = (Exit::Done, Vec::with_capacity(args.ids.len()));
    for id in &args.ids {
        match client.post(&["v1", "dead-letters", "redrives", id, "stop"], None).await {
            Ok(redrive) => redrives.push(redrive),
            Err(error) => exit = exit.or(error.about(&format!("redrive {id}"))),
        }
    }
    if !redrives.is_empty() {
        get::show(&REDRIVE, &args.output, &client, &redrives, args.ids.len() == 1)?;
    }
    Ok(exit)
}

/// Shows the progress until the redrive ends. It ends badly if its jobs failed again.
async fn follow(client: &Client, output: &OutputArgs, mut redrive: Box<RawValue>) -> CommandResult {
    let id = Fields::of(&redrive).text("id");
    let total = Fields::of(&redrive).count("total");
    let bar = progress::bar(usize::try_from(total.max(2)).unwrap_or(usize::MAX), "redriving");
    if total == 0 {
        bar.unset_length();
    }
    while Fields::of(&redrive).text("state") == "running" {
        let fields = Fields::of(&redrive);
        bar.set_position(fields.count("redriven") + fields.count("refused"));
        tokio::time::sleep(PAUSE).await;
        redrive = client.get(&["v1", "dead-letters", "redrives", &id], &[]).await?;
    }
    bar.finish_and_clear();
    let (state, failed) = (Fields::of(&redrive).text("state"), Fields::of(&redrive).count("failed"));
    get::show(&REDRIVE, output, client, &[redrive], true)?;
    if state == "failing" {
        eprintln!("jobqueue: the redrive stopped, because its jobs fail again");
    }
    Ok(if state == "done" && failed == 0 { Exit::Done } else { Exit::Unmet })
}

async fn request(
    client: &Client,
    args: &RedriveArgs,
    filter: &str,
    dry_run: bool,
) -> CommandResult<Box<RawValue>> {
    let body = format!(
        "{{\"filter\":{filter},\"rate\":{},\"stop_share\":{},\"stop_window\":{},\"dry_run\":{dry_run}}}",
        args.rate, args.stop_share, args.stop_window
    );
    client.post(&["v1", "dead-letters", "redrives"], Some(&body)).await
}
