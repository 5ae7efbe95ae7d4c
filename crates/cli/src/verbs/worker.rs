//! `worker`: workers, what they run, and commands to them.

mod send;

use clap::{Args, Subcommand};

use crate::connection::ClientArgs;
use crate::exit::CommandResult;
use crate::output::OutputArgs;
use crate::raw::quoted;
use crate::resource::WORKER;
use crate::verbs::get::{self, GetArgs};
use send::CommandArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue worker list -o wide
  jobqueue worker ping worker-7f9c
  jobqueue worker pause 'worker-*'                 leases nothing until it is resumed
  jobqueue worker resume --all
  jobqueue worker drain worker-7f9c                finishes what runs, then ends
  jobqueue worker drain --version 0.1.0 --dry-run
  jobqueue worker resize 20 worker-7f9c            runs up to 20 jobs at once
  jobqueue worker queues worker-7f9c --subscribe mail --unsubscribe reports
  jobqueue worker shutdown worker-7f9c --yes";

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerAction {
    /// Lists the workers that count as alive.
    List(ListWorkersArgs),
    /// Asks workers for an answer.
    Ping(CommandArgs),
    /// Workers lease nothing more until they are resumed. Running jobs continue.
    Pause(CommandArgs),
    /// Ends the pause of workers.
    Resume(CommandArgs),
    /// Workers lease nothing more, let running jobs finish without a time limit, and end.
    Drain(CommandArgs),
    /// Workers end as after SIGTERM.
    Shutdown(CommandArgs),
    /// Sets how many jobs workers run at once.
    Resize(ResizeArgs),
    /// Changes the queues that workers lease from.
    Queues(SubscribeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListWorkersArgs {
    /// Only workers with these names or ids.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResizeArgs {
    /// Jobs that run at once.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,

    #[command(flatten)]
    command: CommandArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SubscribeArgs {
    /// Queues to lease from as well.
    #[arg(long, value_name = "QUEUE", value_delimiter = ',', required_unless_present = "unsubscribe")]
    subscribe: Vec<String>,

    /// Queues to lease from no more.
    #[arg(long, value_name = "QUEUE", value_delimiter = ',')]
    unsubscribe: Vec<String>,

    #[command(flatten)]
    command: CommandArgs,
}

pub(crate) async fn run(action: WorkerAction) -> CommandResult {
    match action {
        WorkerAction::List(args) => get::run(GetArgs::of(&WORKER, args.names, args.output, args.api)).await,
        WorkerAction::Ping(args) => send::run("ping", "", &args).await,
        WorkerAction::Pause(args) => send::run("pause", "", &args).await,
        WorkerAction::Resume(args) => send::run("resume", "", &args).await,
        WorkerAction::Drain(args) => send::run("drain", "", &args).await,
        WorkerAction::Shutdown(args) => send::run("shutdown", "", &args).await,
        WorkerAction::Resize(args) => {
            send::run("resize", &format!(",\"slots\":{}", args.slots), &args.command).await
        }
        WorkerAction::Queues(args) => {
            let list =
                |queues: &[String]| queues.iter().map(|queue| quoted(queue)).collect::<Vec<_>>().join(",");
            let more = format!(
                ",\"subscribe\":[{}],\"unsubscribe\":[{}]",
                list(&args.subscribe),
                list(&args.unsubscribe)
            );
            send::run("queues", &more, &args.command).await
        }
    }
}
