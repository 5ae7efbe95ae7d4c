//! `wait`: waits until jobs are final, or in a given status.

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::client::{Client, OUTAGE};
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::raw::Fields;
use crate::resource::{JOB, is_final, succeeded};
use crate::verbs::get;
use crate::{duration, ids, progress};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue wait 0198c1a2-3b4c-7d5e                     exits with 0 when it is completed, with 1 when it failed
  jobqueue wait 0198c1a2-3b4c-7d5e --timeout 5m        exits with 6 after five minutes
  jobqueue wait 0198c1a2-3b4c-7d5e --for running
  jobqueue submit report.build -o name | jobqueue wait -
  jobqueue get jobs --tag nightly --all -o name | jobqueue wait - --for final";

/// Longest wait of one request.
const LONGEST: Duration = Duration::from_secs(30);
/// Pause between two reads while it waits for a status that is not final, if the API has no stream for it.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests that wait at the same time.
const AT_ONCE: usize = 8;

#[derive(Args, Debug)]
pub(crate) struct WaitJobsArgs {
    /// Ids of jobs, or their beginnings. `-` reads ids from standard input.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    /// What to wait for. A job that ends in any other status fails the command.
    #[arg(long = "for", value_name = "CONDITION", default_value = "completed")]
    goal: Goal,

    /// Longest time to wait, for example 90 or 5m. Default: without a limit.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// The condition of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// The job succeeded.
    Completed,
    /// The job ended in any way.
    Final,
    /// The job has no attempts left.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// A worker runs it.
    Running,
    /// It can start.
    Queued,
    /// It waits for its time.
    Scheduled,
}

impl Goal {
    fn is_met(self, status: &str) -> bool {
        match self {
            Self::Completed => succeeded(status),
            Self::Final => is_final(status),
            other => other.to_possible_value().is_some_and(|value| value.get_name() == status),
        }
    }

    /// Whether the API can wait for it: it responds early only for a final job.
    const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Final | Self::Failed | Self::Cancelled)
    }
}

pub(crate) async fn run(args: WaitJobsArgs) -> CommandResult {
    let client = args.api.client()?;
    let ids = ids::resolve(&client, &args.ids).await?;
    wait(&client, &ids, args.goal, args.timeout, &args.output).await
}

/// Waits for all of them and prints them, in their order. Fails if one of them ended otherwise.
pub(crate) async fn wait(
    client: &Client,
    ids: &[String],
    goal: Goal,
    timeout: Option<Duration>,
    output: &OutputArgs,
) -> CommandResult {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let bar = progress::bar(ids.len(), "waiting");
    let waits = ids.iter().map(|id| async {
        let ended = one(client, id, goal, deadline).await;
        bar.inc(1);
        ended
    });
    let ended: Vec<CommandResult<Waited>> = stream::iter(waits).buffered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    let mut jobs = Vec::with_capacity(ended.len());
    let mut exit = Exit::Done;
    for one in ended {
        match one {
            Ok(Waited { job, exit: its }) => {
                jobs.push(job);
                exit = exit.or(its);
            }
            Err(error) => {
                error.report();
                exit = exit.or(error.exit);
            }
        }
    }
    if !jobs.is_empty() {
        get::show(&JOB, output, client, &jobs, ids.len() == 1)?;
    }
    Ok(exit)
}

struct Waited {
    job: Box<RawValue>,
    exit: Exit,
}

async fn one(client: &Client, id: &str, goal: Goal, deadline: Option<Instant>) -> CommandResult<Waited> {
    let mut reached: Option<Instant> = None;
    let stream = ["v1", "jobs", id, "stream"];
    let mut changes = Changes::of(client, (!goal.is_final()).then_some(&stream[..]));
    loop {
        let left = deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = if goal.is_final() { left.min(LONGEST) } else { Duration::ZERO };
        let job = match client.job(id, wait).await {
            Ok(job) => job,
            Err(error) if error.exit == Exit::Unreachable && may_come_back(reached, deadline) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        reached = Some(Instant::now());
        let status = Fields::of(&job).text("status");
        if goal.is_met(&status) {
            return Ok(Waited { job, exit: Exit::Done });
        }
        if is_final(&status) {
            eprintln!("jobqueue: job {id} is {status}; `jobqueue describe job {id}` shows why");
            return Ok(Waited { job, exit: Exit::Unmet });
        }
        if left.is_zero() {
            return Err(CommandError::new(
                Exit::TimedOut,
                format!("job {id} is still {status} at the end of --timeout"),
            ));
        }
        // the status of an event counts, even if it is another one when the job is read again
        if !goal.is_final()
            && let Some(event) = changes.next(left, PAUSE).await
            && goal.is_met(&Fields::of(&event.json).text("status"))
        {
            return Ok(Waited { job: client.job(id, Duration::ZERO).await?, exit: Exit::Done });
        }
    }
}

/// Whether to try again: the API was reachable a short time ago, and the time limit has not passed.
fn may_come_back(reached: Option<Instant>, deadline: Option<Instant>) -> bool {
    reached.is_some_and(|at| at.elapsed() < OUTAGE)
        && deadline.is_none_or(|deadline| Instant::now() < deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_names_statuses() {
        assert!(Goal::Completed.is_met("completed") && !Goal::Completed.is_met("failed"));
        assert!(Goal::Final.is_met("failed") && !Goal::Final.is_met("queued"));
        assert!(Goal::Running.is_met("running") && !Goal::Running.is_met("completed"));
        assert!(Goal::Cancelled.is_met("cancelled") && !Goal::Cancelled.is_met("cancelling"));
    }
}
