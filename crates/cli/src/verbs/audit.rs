//! `audit`: who changed what.

use std::cell::RefCell;

use chrono::{SecondsFormat, TimeDelta};
use clap::Args;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::OutputArgs;
use crate::raw::Fields;
use crate::resource::AUDIT;
use crate::time;
use crate::verbs::get;
use crate::verbs::watch::{self, Watch};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue audit                                     the newest changes
  jobqueue audit --target mail --action queue. -o wide
  jobqueue audit --actor root --since 2026-01-31T09:00:00Z --until 2026-01-31T10:00:00Z
  jobqueue audit --request 7d0c6f5e-0b1c-4f5e-9a63-1b1f0c0f2a55 -o yaml
  jobqueue audit --all -o json
  jobqueue audit -w                                  and every new one";

/// A change whose transaction was open for longer than this may be missed by --watch.
const LATE: TimeDelta = TimeDelta::minutes(5);

#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Only changes of this caller of the API, or of this database user in SQL.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,

    /// Only this action, for example queue.pause. One that ends in a dot, such as `queue.`, means all that begin so.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    /// Only changes of what has this name or id.
    #[arg(long, value_name = "NAME|ID")]
    target: Option<String>,

    /// Only changes of the request with this X-Request-Id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,

    /// Only changes at or after this time (RFC 3339, for example 2026-01-31T09:00:00Z).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only changes before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Most entries to print; with --watch, of those that exist.
    #[arg(long, default_value_t = 100, value_name = "N", conflicts_with = "all")]
    limit: usize,

    /// Print all entries, over as many requests as needed.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    watch: Watch,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

impl AuditArgs {
    /// As query parameters. `since` may be later than that of the command.
    fn query(&self, since: Option<&String>) -> Vec<(&'static str, String)> {
        let parameters = [
            ("actor", self.actor.as_ref()),
            ("action", self.action.as_ref()),
            ("target", self.target.as_ref()),
            ("request_id", self.request.as_ref()),
            ("since", since.or(self.since.as_ref())),
            ("until", self.until.as_ref()),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?.clone()))).collect()
    }

    fn limit(&self) -> usize {
        if self.all { usize::MAX } else { self.limit.max(1) }
    }
}

pub(crate) async fn run(args: AuditArgs) -> CommandResult {
    let client = args.api.client()?;
    if args.watch.is_on() {
        let since = RefCell::new(None);
        let fetch = async || next(&client, &args, &since).await;
        return watch::run((args.watch, None), &AUDIT, &args.output, &client, fetch).await;
    }
    let (entries, more) = client.list(&AUDIT, &args.query(None), args.limit()).await?;
    get::show(&AUDIT, &args.output, &client, &entries, false)?;
    if more && args.output.is_table() {
        eprintln!("More entries match: use --limit N or --all.");
    }
    Ok(Exit::Done)
}

/// The entries of the first request, then those of the last minutes: an entry appears when its transaction commits, which may be after later
/// ones did.
async fn next(
    client: &Client,
    args: &AuditArgs,
    since: &RefCell<Option<String>>,
) -> CommandResult<Vec<Box<RawValue>>> {
    let from = since.borrow().clone();
    let limit = if from.is_some() { usize::MAX } else { args.limit() };
    let (entries, _) = client.list(&AUDIT, &args.query(from.as_ref()), limit).await?;
    let at = |entry: &RawValue| time::parse(&Fields::of(entry).text("at"));
    if let (Some(newest), Some(oldest)) =
        (entries.first().and_then(|entry| at(entry)), entries.last().and_then(|entry| at(entry)))
    {
        let begin = oldest.max(newest - LATE);
        since.replace(Some(begin.to_rfc3339_opts(SecondsFormat::Millis, true)));
    }
    Ok(entries)
}
