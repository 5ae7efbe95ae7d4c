//! `stats`: counts and totals of all queues, or with a range what happened in it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;

use crate::client::Client;
use crate::connection::ClientArgs;
use crate::duration;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::{self, OutputArgs};
use crate::raw::{self, Fields};
use crate::resource::{QUEUE_STATS, STATISTIC};
use crate::time::{brief, parse, short};
use crate::verbs::get;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue stats
  jobqueue stats -o wide
  jobqueue stats -o jsonpath=.total.queued
  jobqueue stats --from 1h                                  the last hour, in minutes
  jobqueue stats --from 14d --step 1d --queue mail
  jobqueue stats --from 2027-01-31T00:00:00+01:00 --to 2027-02-01T00:00:00+01:00 --kind email.send -o json";

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Begin of a range: a timestamp with an offset, or how long ago, such as 1h or 14d. Default with one of the
    /// following options: an hour before the end.
    #[arg(long, value_name = "TIME", value_parser = GivenTime::parse)]
    from: Option<GivenTime>,

    /// End of the range, in the same form. Default: now.
    #[arg(long, value_name = "TIME", value_parser = GivenTime::parse)]
    to: Option<GivenTime>,

    /// Length of a step: whole minutes, such as 5m or 1d.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    step: Option<std::time::Duration>,

    /// Only jobs of this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,

    /// Only jobs of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// A point in time, as a user gives it.
#[derive(Clone, Copy, Debug)]
enum GivenTime {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl GivenTime {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(at) = parse(text) {
            return Ok(Self::At(at));
        }
        let ago = duration::parse(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
        let rule = "use a timestamp such as 2027-01-31T09:00:00Z, or how long ago, such as 30m, 2h, 14d";
        ago.map(Self::Ago).ok_or_else(|| rule.to_owned())
    }

    /// The timestamp, by the clock of the API.
    fn resolve(self, now: Option<DateTime<Utc>>) -> Result<String, CommandError> {
        let at = match self {
            Self::At(at) => Some(at),
            Self::Ago(ago) => now.and_then(|now| now.checked_sub_signed(ago)),
        };
        let text = at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        text.ok_or_else(|| CommandError::usage("that is too long ago"))
    }
}

pub(crate) async fn run(args: StatsArgs) -> CommandResult {
    let client = args.api.client()?;
    if args.has_range() { range(&args, &client).await } else { now(&args, &client).await }
}

impl StatsArgs {
    const fn has_range(&self) -> bool {
        self.from.is_some()
            || self.to.is_some()
            || self.step.is_some()
            || self.queue.is_some()
            || self.kind.is_some()
    }

    async fn parameters(&self, client: &Client) -> CommandResult<Vec<(&'static str, String)>> {
        let mut parameters = Vec::new();
        let times = [("from", self.from), ("to", self.to)];
        let is_relative = times.iter().any(|(_, time)| matches!(time, Some(GivenTime::Ago(_))));
        let now = if is_relative { Self::now(client).await? } else { None };
        for (name, time) in times {
            if let Some(time) = time {
                parameters.push((name, time.resolve(now)?));
            }
        }
        if let Some(step) = self.step {
            if step.subsec_nanos() != 0 {
                return Err(CommandError::usage("--step must be whole minutes"));
            }
            parameters.push(("step", step.as_secs().to_string()));
        }
        for (name, value) in [("queue", &self.queue), ("kind", &self.kind)] {
            parameters.extend(value.clone().map(|value| (name, value)));
        }
        Ok(parameters)
    }

    /// The time of the API, because the clock of this machine may be wrong.
    async fn now(client: &Client) -> CommandResult<Option<DateTime<Utc>>> {
        client.get(&["v1", "stats"], &[("limit", "1".to_owned())]).await?;
        Ok(client.view().now)
    }
}

/// What happened in a range.
async fn range(args: &StatsArgs, client: &Client) -> CommandResult {
    let parameters = args.parameters(client).await?;
    let answer = client.get(&["v1", "stats"], &parameters).await?;
    let fields = Fields::of(&answer);
    let points: Vec<_> = fields.items("points").into_iter().map(ToOwned::to_owned).collect();
    if !args.output.is_table() {
        let names = || {
            points
                .iter()
                .flat_map(|point| [Fields::of(point).text("at"), "\n".to_owned()])
                .collect::<String>()
        };
        output::structured(&args.output, &answer, names)?;
        return Ok(Exit::Done);
    }
    get::show(&STATISTIC, &args.output, client, &points, false)?;
    output::print(&summary(&fields))?;
    if fields.is_true("has_others") {
        eprintln!(
            "These numbers may be too low: there are very many queues or kinds, and some were counted together."
        );
    }
    Ok(Exit::Done)
}

fn summary(fields: &Fields<'_>) -> String {
    let total = fields.object("total");
    let quantiles = |of: &str| {
        let durations = total.object(of);
        let one = |name: &str| durations.number(name).map_or_else(|| "-".to_owned(), brief);
        format!("p50 {}, p95 {}, p99 {}", one("p50_seconds"), one("p95_seconds"), one("p99_seconds"))
    };
    format!(
        "\ntotal: {} created, {} completed, {} failed, {} retried, {} cancelled, {} snoozed\nwait: {}\nrun: {}\n",
        total.count("created"),
        total.count("completed"),
        total.count("failed"),
        total.count("retried"),
        total.count("cancelled"),
        total.count("snoozed"),
        quantiles("wait"),
        quantiles("run"),
    )
}

/// Present counts and totals.
async fn now(args: &StatsArgs, client: &Client) -> CommandResult {
    let first = client.get(&["v1", "stats"], &[("limit", "1".to_owned())]).await?;
    let (queues, _) = client.list(&QUEUE_STATS, &[], usize::MAX).await?;
    let fields = Fields::of(&first);
    if args.output.is_table() {
        get::show(&QUEUE_STATS, &args.output, client, &queues, false)?;
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
