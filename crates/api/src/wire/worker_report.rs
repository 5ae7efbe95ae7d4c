//! What a remote worker reports of itself with a heartbeat, and the commands that it gets in return.

use jobqueue_core::limits::{MAX_PROGRESS_BYTES, MAX_SLOTS};
use jobqueue_core::{FieldError, Json, WorkerName};
use jobqueue_store::{CommandAnswer, RemoteReport, SentCommand, WorkerReport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::worker_command::CommandWord;

/// Maximum length of a text, in bytes.
const MAX_TEXT: usize = 253;
/// Maximum number of answers: more commands never wait for one worker.
const MAX_ANSWERS: usize = 100;
/// Maximum length of the error of a command, in bytes.
const MAX_ERROR: usize = 1024;

/// What a remote worker reports of itself. All but the name is only shown.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkerReport)]
pub(crate) struct WorkerReportBody {
    /// The name of the worker, as in `POST /v1/leases`.
    #[schema(value_type = String, min_length = 1, max_length = 253, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    name: WorkerName,
    /// Host that it runs on.
    #[schema(min_length = 1, max_length = 253, pattern = r"^[^\u0000]*$")]
    host: Option<String>,
    /// Version of its program.
    #[schema(min_length = 1, max_length = 253, pattern = r"^[^\u0000]*$")]
    version: Option<String>,
    /// Programming language of its handlers.
    #[schema(min_length = 1, max_length = 253, pattern = r"^[^\u0000]*$")]
    language: Option<String>,
    /// Jobs that it runs at the same time, 1 to 10000.
    #[schema(minimum = 1, maximum = 10_000)]
    slots: Option<i64>,
    /// Memory of its process that is in RAM, in bytes.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    rss_bytes: Option<i64>,
    /// Number of attempts that ended in the last minute.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    jobs_per_minute: Option<i64>,
    /// Whether it shuts down and leases nothing more. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    draining: bool,
    /// Whether it leases nothing because of the command `pause`. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    paused: bool,
    /// Up to 100 answers to commands. Send an answer again until a response to it has arrived.
    #[serde(default)]
    #[schema(required = false, max_items = 100)]
    answers: Vec<AnswerBody>,
}

/// The answer to a command: `result` if it was carried out, `error` if not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CommandAnswer)]
pub(crate) struct AnswerBody {
    /// Id of the command.
    #[schema(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    id: i64,
    /// What an operator may want to know: any JSON up to 4 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Json>,
    /// Why it was not carried out, up to 1024 bytes.
    #[schema(min_length = 1, max_length = 1024, pattern = r"^[^\u0000]*$")]
    error: Option<String>,
}

impl WorkerReportBody {
    /// The checked report, or every error.
    pub(crate) fn check(self) -> Result<RemoteReport, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (field, text) in [("host", &self.host), ("version", &self.version), ("language", &self.language)]
        {
            if text.as_ref().is_some_and(|text| !is_text(text, MAX_TEXT)) {
                errors.push(invalid_text(&format!("/worker/{field}"), MAX_TEXT));
            }
        }
        let mut number = |field: &str, value: Option<i64>, (least, most): (i64, i64)| {
            let value = value?;
            if !(least..=most).contains(&value) {
                let message = format!("must be between {least} and {most}");
                errors.push(FieldError::new(format!("/worker/{field}"), "out_of_range", message));
            }
            Some(value)
        };
        let slots = number("slots", self.slots, (1, MAX_SLOTS.into()));
        let rss_bytes = number("rss_bytes", self.rss_bytes, (0, (1 << 53) - 1));
        let jobs_per_minute = number("jobs_per_minute", self.jobs_per_minute, (0, i32::MAX.into()));
        if self.answers.len() > MAX_ANSWERS {
            let message = format!("must have at most {MAX_ANSWERS} entries");
            errors.push(FieldError::new("/worker/answers", "too_long", message));
        }
        let mut answers = Vec::new();
        for (at, answer) in self.answers.into_iter().enumerate() {
            match answer.check(&format!("/worker/answers/{at}")) {
                Ok(answer) => answers.push(answer),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(RemoteReport {
            name: self.name,
            slots: slots.and_then(|slots| u32::try_from(slots).ok()),
            version: self.version,
            draining: self.draining,
            report: WorkerReport {
                host: self.host,
                language: self.language,
                paused: self.paused,
                rss_bytes: rss_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
                jobs_per_minute: jobs_per_minute.and_then(|jobs| u32::try_from(jobs).ok()),
            },
            answers,
        })
    }
}

impl AnswerBody {
    fn check(self, pointer: &str) -> Result<CommandAnswer, FieldError> {
        let Self { id, result, error } = self;
        let outcome = match (result, error) {
            (Some(_), Some(_)) => {
                let message = "must have a result or an error, not both";
                return Err(FieldError::new(pointer, "conflict", message));
            }
            (None, Some(error)) if is_text(&error, MAX_ERROR) => Err(error),
            (None, Some(_)) => return Err(invalid_text(&format!("{pointer}/error"), MAX_ERROR)),
            (Some(result), None) if result.len() > MAX_PROGRESS_BYTES => {
                let message = format!("must have at most {MAX_PROGRESS_BYTES} bytes of JSON");
                return Err(FieldError::new(format!("{pointer}/result"), "too_long", message));
            }
            (result, None) => Ok(result.unwrap_or_default()),
        };
        Ok(CommandAnswer { id, outcome })
    }
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.contains('\0')
}

fn invalid_text(pointer: &str, most: usize) -> FieldError {
    FieldError::new(pointer, "invalid", format!("must have 1 to {most} bytes and no U+0000"))
}

/// A command for the worker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveredCommand)]
pub(crate) struct DeliveredView {
    /// Id of the command, for its answer.
    id: i64,
    /// Name of the command. Later versions may have others: answer those that the worker does not know with an error.
    #[schema(value_type = CommandWord)]
    command: String,
    /// Its arguments: `slots` of `resize`; `subscribe` and `unsubscribe` of `queues`, each left out if it is empty.
    #[schema(value_type = serde_json::Value)]
    arguments: Json,
}

impl From<SentCommand> for DeliveredView {
    fn from(sent: SentCommand) -> Self {
        let SentCommand { id, command, arguments } = sent;
        // stored as JSON, so it is valid
        Self { id, command, arguments: Json::from_stored(arguments).unwrap_or_default() }
    }
}
