//! The command line of `jobqueue`. The arguments of a client command are in the command's file.

use clap::{Parser, Subcommand};
use jobqueue_runtime::{DatabaseArgs, LogOutput, TelemetryArgs};

#[cfg(feature = "demo")]
use crate::demo::DemoArgs;
use crate::exit;
use crate::verbs::act::{self, ActArgs};
use crate::verbs::api_key::{self, ApiKeyCommand};
use crate::verbs::audit::{self, AuditArgs};
use crate::verbs::completion::{self, CompletionArgs};
use crate::verbs::context::{self, ContextCommand};
use crate::verbs::count::{self, CountArgs};
use crate::verbs::delete::{self, DeleteArgs};
use crate::verbs::describe::{self, DescribeArgs};
use crate::verbs::dlq::{self, DlqCommand};
use crate::verbs::doctor::{self, DoctorArgs};
use crate::verbs::edit::{self, EditArgs};
use crate::verbs::explain::{self, ExplainArgs};
use crate::verbs::get::{self, GetArgs};
use crate::verbs::kind::{self, KindCommand};
use crate::verbs::logs::{self, LogsArgs};
use crate::verbs::queue::{self, QueueCommand};
use crate::verbs::route::{self, RouteCommand};
use crate::verbs::schedule::{self, ScheduleCommand};
use crate::verbs::stats::{self, StatsArgs};
use crate::verbs::submit::{self, SubmitArgs};
use crate::verbs::top::{self, TopArgs};
use crate::verbs::wait::{self, WaitJobsArgs};
use crate::verbs::worker::{self, WorkerAction};

/// jobqueue: background jobs on Postgres.
///
#[cfg_attr(feature = "demo", doc = "`jobqueue demo` runs all parts and real jobs.")]
/// The client commands call the API at JOBQUEUE_URL, or at the URL of a context. Each has
/// examples in its --help.
#[derive(Debug, Parser)]
#[command(
    name = "jobqueue",
    version,
    arg_required_else_help = true,
    after_help = exit::TABLE,
    mut_arg("log_level", |arg| arg.default_value("WARN").hide_short_help(true)),
    mut_arg("log_format", |arg| arg.default_value("console").hide_short_help(true)),
    mut_arg("log_output", |arg| arg.hide(true)),
    mut_arg("otlp_endpoint", |arg| arg.hide(true)),
    mut_arg("otel_service_name", |arg| arg.hide(true))
)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

impl Cli {
    /// The log settings of this command. It always logs to stderr, because stdout is for its output.
    pub fn telemetry(&self) -> TelemetryArgs {
        TelemetryArgs { log_output: LogOutput::Stderr, ..self.telemetry.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs API, worker and reaper in this process on a private Postgres, and runs real jobs with them.
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Migrates the schema of DATABASE_URL to the newest version. Running it again, or twice at the same
    /// time, is safe.
    Migrate(DatabaseArgs),
    /// Lists jobs, queues or workers, or shows single ones.
    #[command(after_help = get::EXAMPLES)]
    Get(Box<GetArgs>),
    /// Shows everything about one job, queue or worker.
    #[command(after_help = describe::EXAMPLES)]
    Describe(DescribeArgs),
    /// Submits a job, or one for each line of a file.
    #[command(after_help = submit::EXAMPLES)]
    Submit(Box<SubmitArgs>),
    /// Waits until jobs are completed. Exits with 1 if one of them failed.
    #[command(after_help = wait::EXAMPLES)]
    Wait(WaitJobsArgs),
    /// Says why a job does not run, and what would resolve it.
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Prints the log of a job.
    #[command(after_help = logs::EXAMPLES)]
    Logs(LogsArgs),
    /// Cancels jobs. The worker of a running job is asked to stop it.
    #[command(after_help = act::CANCEL_EXAMPLES)]
    Cancel(Box<ActArgs>),
    /// Runs failed or cancelled jobs again.
    #[command(after_help = act::RETRY_EXAMPLES)]
    Retry(Box<ActArgs>),
    /// Starts scheduled jobs now.
    #[command(after_help = act::PROMOTE_EXAMPLES)]
    Promote(Box<ActArgs>),
    /// Deletes jobs that are final, or queues.
    #[command(after_help = delete::EXAMPLES)]
    Delete(Box<DeleteArgs>),
    /// Changes jobs that wait: by fields, by a patch, or in an editor.
    #[command(after_help = edit::EXAMPLES)]
    Edit(EditArgs),
    /// Counts jobs.
    #[command(after_help = count::EXAMPLES)]
    Count(Box<CountArgs>),
    /// Pauses, resumes, configures, purges, deletes and lists queues.
    #[command(subcommand, after_help = queue::EXAMPLES)]
    Queue(QueueCommand),
    /// Pauses, resumes, configures and lists kinds.
    #[command(subcommand, after_help = kind::EXAMPLES)]
    Kind(KindCommand),
    /// Lists, pauses, drains and resizes workers.
    #[command(subcommand, after_help = worker::EXAMPLES)]
    Worker(WorkerAction),
    /// Applies files of schedules; lists, pauses, runs, previews and deletes schedules.
    #[command(subcommand, after_help = schedule::EXAMPLES)]
    Schedule(ScheduleCommand),
    /// Applies files of routes; lists, tests and deletes routes.
    #[command(subcommand, after_help = route::EXAMPLES)]
    Route(RouteCommand),
    /// Creates, lists, rotates and revokes API keys; applies files of them.
    #[command(subcommand, after_help = api_key::EXAMPLES)]
    ApiKey(ApiKeyCommand),
    /// Searches, groups, retries, redrives and purges dead letters: jobs that are `failed`.
    #[command(subcommand, after_help = dlq::EXAMPLES)]
    Dlq(DlqCommand),
    /// Shows who changed what: queues, jobs, schedules, routes, workers.
    #[command(after_help = audit::EXAMPLES)]
    Audit(AuditArgs),
    /// Prints counts and totals of all queues.
    #[command(after_help = stats::EXAMPLES)]
    Stats(StatsArgs),
    /// Shows queues and workers, refreshed.
    #[command(after_help = top::EXAMPLES)]
    Top(TopArgs),
    /// Checks the database and the queue, and says what to do about each finding.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Box<DoctorArgs>),
    /// Names servers, so that JOBQUEUE_URL is not needed.
    #[command(subcommand, after_help = context::EXAMPLES)]
    Context(ContextCommand),
    /// Prints the completion script of a shell.
    #[command(after_help = completion::EXAMPLES)]
    Completion(CompletionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["jobqueue", "submit", "k", "--priority", "-5"]).unwrap();
        assert!(matches!(cli.command, Command::Submit(_)));
    }

    /// The words of a command line, as a shell would split it.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quoted, mut open) = (vec![String::new()], None, false);
        for char in line.chars() {
            match (char, quoted) {
                ('\'', None) => (quoted, open) = (Some('\''), true),
                ('\'', Some('\'')) => quoted = None,
                (' ', None) if words.last().unwrap().is_empty() && !open => {}
                (' ', None) => {
                    words.push(String::new());
                    open = false;
                }
                (char, _) => words.last_mut().unwrap().push(char),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_command_has_examples_and_each_can_be_parsed() {
        let without = ["demo", "migrate", "help"];
        let all = Cli::command();
        for command in all.get_subcommands().filter(|command| !without.contains(&command.get_name())) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut count = 0;
            for line in examples.lines().filter(|line| line.starts_with("  ")) {
                let pipeline = line.split("    ").find(|part| !part.trim().is_empty()).unwrap();
                for part in pipeline.split(" | ").filter(|part| part.trim().starts_with("jobqueue ")) {
                    let part = part.split(" > ").next().unwrap().trim();
                    let mut words = words(part);
                    if command.get_name() == "doctor" {
                        words.extend(["--database-url".to_owned(), "postgres://x".to_owned()]);
                    }
                    let parsed = Cli::try_parse_from(words);
                    if let Err(error) = parsed {
                        assert!(!error.use_stderr(), "{part}: {error}");
                    }
                    count += 1;
                }
            }
            assert!(count > 0, "{} has no examples", command.get_name());
        }
    }
}
