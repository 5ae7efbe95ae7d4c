//! Commands to workers.

use chrono::{DateTime, Utc};
use jobqueue_core::{
    CommandArguments, CommandDraft, ControlCommand, FieldError, Json, KindName, QueueName, WorkerId,
};
use jobqueue_store::{CommandRecord, CommandedWorker, WorkerFilter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::name::{KindText, QueueText};
use crate::extract::Wire;

/// Maximum length of a version and of a pattern of names, in bytes.
const MAX_TEXT: usize = 253;

/// What a worker is asked to do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CommandName)]
#[expect(dead_code, reason = "describes names that the core checks")]
pub(crate) enum CommandWord {
    Ping,
    Drain,
    Pause,
    Resume,
    Resize,
    Queues,
    Shutdown,
}

/// A command and its arguments.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandBody {
    /// `ping`: answer. `pause`: lease nothing until `resume`. `resize`: run at most `slots` jobs at once. `queues`: change the queues.
    /// `drain`: lease nothing more, let running jobs finish without a time limit, then end. `shutdown`: end as after SIGTERM.
    #[schema(value_type = CommandWord)]
    command: String,
    /// Of `resize`: jobs that the worker runs at once, 1 to 10000. Running jobs continue.
    #[schema(minimum = 1, maximum = 10_000)]
    slots: Option<i64>,
    /// Of `queues`: up to 100 queues to lease from as well, after those that it has.
    #[serde(default)]
    #[schema(value_type = Vec<QueueText>, required = false, max_items = 100)]
    subscribe: Vec<QueueName>,
    /// Of `queues`: up to 100 queues to lease from no more. One must be left.
    #[serde(default)]
    #[schema(value_type = Vec<QueueText>, required = false, max_items = 100)]
    unsubscribe: Vec<QueueName>,
}

impl Wire for CommandBody {}

impl CommandBody {
    /// The checked command, or every error.
    pub(crate) fn check(self) -> Result<ControlCommand, Vec<FieldError>> {
        let Self { command, slots, subscribe, unsubscribe } = self;
        check(command, CommandArguments { slots, subscribe, unsubscribe })
    }
}

/// A command for all workers that match.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkCommandBody {
    /// The workers that get it.
    filter: WorkerFilterBody,
    /// As for one worker.
    #[schema(value_type = CommandWord)]
    command: String,
    /// Of `resize`, as for one worker.
    #[schema(minimum = 1, maximum = 10_000)]
    slots: Option<i64>,
    /// Of `queues`, as for one worker.
    #[serde(default)]
    #[schema(value_type = Vec<QueueText>, required = false, max_items = 100)]
    subscribe: Vec<QueueName>,
    /// Of `queues`, as for one worker.
    #[serde(default)]
    #[schema(value_type = Vec<QueueText>, required = false, max_items = 100)]
    unsubscribe: Vec<QueueName>,
    /// `true`: send nothing, only return the workers that match. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

impl Wire for BulkCommandBody {}

/// At least one criterion, or `all`. A worker matches if every field that is given matches.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkerFilterBody {
    /// Workers that lease from this queue.
    #[schema(value_type = Option<QueueText>)]
    queue: Option<QueueName>,
    /// Workers that lease this kind.
    #[schema(value_type = Option<KindText>)]
    kind: Option<KindName>,
    /// Workers of this version.
    #[schema(min_length = 1, max_length = 253, pattern = r"^[^\u0000]*$")]
    version: Option<String>,
    /// Workers with a name like this: `*` stands for any text, `?` for one character.
    #[schema(min_length = 1, max_length = 253, pattern = r"^[^\u0000]*$")]
    name: Option<String>,
    /// `true`: all workers, instead of the other criteria.
    #[schema(required = false)]
    all: bool,
}

impl BulkCommandBody {
    /// The filter, the command, and whether this is a dry run; or every error.
    pub(crate) fn check(self) -> Result<(WorkerFilter, ControlCommand, bool), Vec<FieldError>> {
        let Self { filter, command, slots, subscribe, unsubscribe, dry_run } = self;
        let command = check(command, CommandArguments { slots, subscribe, unsubscribe });
        match (filter.check(), command) {
            (Ok(filter), Ok(command)) => Ok((filter, command, dry_run)),
            (filter, command) => {
                let errors = [filter.err(), command.err()];
                Err(errors.into_iter().flatten().flatten().collect())
            }
        }
    }
}

impl WorkerFilterBody {
    fn check(self) -> Result<WorkerFilter, Vec<FieldError>> {
        let Self { queue, kind, version, name, all } = self;
        let mut errors = Vec::new();
        for (pointer, text) in [("/filter/version", &version), ("/filter/name", &name)] {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > MAX_TEXT || text.contains('\0') {
                let message = format!("must have 1 to {MAX_TEXT} bytes and no U+0000");
                errors.push(FieldError::new(pointer, "invalid", message));
            }
        }
        let has_criterion = queue.is_some() || kind.is_some() || version.is_some() || name.is_some();
        if !has_criterion && !all {
            let message = "must contain a criterion, or `all` for all workers";
            errors.push(FieldError::new("/filter", "required", message));
        }
        if has_criterion && all {
            errors.push(FieldError::new("/filter/all", "conflict", "must not be combined with a criterion"));
        }
        if errors.is_empty() { Ok(WorkerFilter { queue, kind, version, name }) } else { Err(errors) }
    }
}

fn check(command: String, arguments: CommandArguments) -> Result<ControlCommand, Vec<FieldError>> {
    ControlCommand::check(CommandDraft { command, arguments })
}

/// A command that was stored for a worker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SentCommand)]
pub(crate) struct SentCommandView {
    /// Id of the command.
    pub(crate) id: i64,
    /// The worker that it is for.
    #[schema(value_type = Uuid)]
    pub(crate) worker_id: WorkerId,
    /// Name of the command.
    #[schema(value_type = CommandWord)]
    pub(crate) command: &'static str,
    /// Its arguments.
    #[schema(value_type = serde_json::Value)]
    pub(crate) arguments: Json,
    /// `pending`: the next heartbeat of the worker returns it.
    pub(crate) status: &'static str,
    /// When it was stored.
    pub(crate) created_at: DateTime<Utc>,
}

/// The workers that a command is for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkCommandView {
    /// Whether this was a dry run, which sends nothing.
    pub(crate) dry_run: bool,
    /// Number of workers that match.
    pub(crate) matched: usize,
    /// Number of workers that the command was stored for.
    pub(crate) sent: usize,
    /// The workers that match, by name.
    pub(crate) workers: Vec<CommandedView>,
}

/// A worker that a command is for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandedWorker)]
pub(crate) struct CommandedView {
    /// Id of the worker.
    #[schema(value_type = Uuid)]
    id: WorkerId,
    /// Name of the worker.
    name: String,
    /// Id of the command; `null` in a dry run, and if 100 commands of the worker wait for its acknowledgement.
    command_id: Option<i64>,
}

impl BulkCommandView {
    /// What was sent, or would be.
    pub(crate) fn new(dry_run: bool, workers: Vec<CommandedWorker>) -> Self {
        Self {
            dry_run,
            matched: workers.len(),
            sent: workers.iter().filter(|worker| worker.sent.is_some()).count(),
            workers: workers
                .into_iter()
                .map(|CommandedWorker { id, name, sent }| {
                    let command_id = sent.map(|(command, _)| command);
                    CommandedView { id, name, command_id }
                })
                .collect(),
        }
    }
}

/// The commands of a worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandsView {
    /// Newest first, at most 100. Commands are kept for a day.
    pub(crate) commands: Vec<CommandView>,
}

/// A command and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkerCommand)]
pub(crate) struct CommandView {
    /// Id of the command.
    id: i64,
    /// Name of the command.
    command: String,
    /// Its arguments.
    #[schema(value_type = serde_json::Value)]
    arguments: Json,
    /// `pending`: not sent to the worker yet. `delivered`: sent, and not acknowledged yet. `acknowledged`: carried out. `refused`: not
    /// carried out, see `error`.
    status: &'static str,
    /// When it was stored.
    created_at: DateTime<Utc>,
    /// When it was first sent to the worker.
    delivered_at: Option<DateTime<Utc>>,
    /// When the worker's answer arrived.
    acknowledged_at: Option<DateTime<Utc>>,
    /// What the worker answered.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Json>,
    /// Why the worker did not carry it out.
    error: Option<String>,
}

impl From<CommandRecord> for CommandView {
    fn from(record: CommandRecord) -> Self {
        let status = match (record.delivered_at, record.acknowledged_at, &record.error) {
            (_, Some(_), Some(_)) => "refused",
            (_, Some(_), None) => "acknowledged",
            (Some(_), None, _) => "delivered",
            (None, None, _) => "pending",
        };
        let CommandRecord {
            id,
            command,
            arguments,
            created_at,
            delivered_at,
            acknowledged_at,
            result,
            error,
        } = record;
        Self { id, command, arguments, status, created_at, delivered_at, acknowledged_at, result, error }
    }
}
