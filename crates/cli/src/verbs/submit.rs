//! `submit`: submits one job, or one for each line of a file. A payload is sent byte for byte.

pub(crate) mod body;
mod many;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::raw::{Fields, quoted};
use crate::resource::JOB;
use crate::verbs::wait::{Goal, wait};
use crate::{duration, verbs::get};
use body::body;
pub(crate) use body::json;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue submit send_email '{\"to\": \"ada@example.com\"}' --queue mail
  jobqueue submit send_email --payload-file mail.json --delay-seconds 3600
  echo '[1, 2]' | jobqueue submit sum - --wait -o jsonpath=.result
  jobqueue submit sync --unique-key user-7 --on-conflict reject
  jobqueue submit resize --lines payloads.jsonl        each line is a payload of this kind
  jobqueue submit --lines jobs.jsonl --wait            each line is a job as in POST /v1/jobs
  jobqueue submit report.build --on-end https://hooks.example.com/jobs --on-end-secret-file secret
  jobqueue submit report.build -o name                 prints the id only";

/// Largest payload file that is read; the API accepts less.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Args, Debug)]
pub(crate) struct SubmitArgs {
    /// Kind of the job, which selects the handler. Not needed if the lines of --lines have their own.
    #[arg(required_unless_present = "lines")]
    kind: Option<String>,

    /// JSON input, sent as it is; `-` reads it from standard input. Default: {}.
    #[arg(allow_negative_numbers = true)]
    payload: Option<String>,

    /// A file with the JSON input.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    payload_file: Option<PathBuf>,

    /// A file with one JSON value on each line, `-` for standard input. With a kind, each is a payload; without one, each is a
    /// job with the fields of POST /v1/jobs.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["payload", "payload_file"])]
    lines: Option<PathBuf>,

    #[command(flatten)]
    fields: FieldArgs,

    /// Wait until the job ends, print it, and exit with 1 if it failed.
    #[arg(long)]
    wait: bool,

    /// Longest time for --wait, for example 90 or 5m. Default: without a limit.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "wait")]
    timeout: Option<Duration>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// The fields of a submission.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fields of the job")]
pub(crate) struct FieldArgs {
    /// Queue of the job. Default: `default`.
    #[arg(short = 'q', long)]
    queue: Option<String>,

    /// -100 to 100; higher runs first.
    #[arg(long, allow_hyphen_values = true)]
    priority: Option<i16>,

    /// Start no earlier than this many seconds from now.
    #[arg(long, value_name = "SECONDS")]
    delay_seconds: Option<f64>,

    /// Start no earlier than this time (RFC 3339).
    #[arg(long, value_name = "TIME", conflicts_with = "delay_seconds")]
    run_at: Option<String>,

    /// Do not start after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,

    /// Most attempts.
    #[arg(long, value_name = "N")]
    max_attempts: Option<u16>,

    /// Time limit of one attempt, in seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<f64>,

    /// A tag; may be repeated.
    #[arg(short = 't', long, value_name = "TAG")]
    tag: Vec<String>,

    /// A JSON object that is stored with the job.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,

    /// At most one live job has this key.
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,

    /// What happens if another job holds the key.
    #[arg(long, value_name = "ACTION", requires = "unique_key")]
    on_conflict: Option<ConflictArg>,

    /// URL that gets a webhook when the job has ended.
    #[arg(long, value_name = "URL", requires = "on_end_secret_file")]
    on_end: Option<String>,

    /// A file with the secrets that sign the webhook, `whsec_…`; `-` for standard input. A secret on the command line could be read by others.
    #[arg(long, value_name = "FILE", requires = "on_end")]
    on_end_secret_file: Option<PathBuf>,

    /// Queue of the job that delivers the webhook. Default: the queue of the job.
    #[arg(long, value_name = "QUEUE", requires = "on_end")]
    on_end_queue: Option<String>,
}

/// What a taken unique key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConflictArg {
    /// Print the job that holds it.
    Return,
    /// Cancel that job if it has not started.
    Replace,
    /// Fail.
    Reject,
}

pub(crate) async fn run(args: SubmitArgs) -> CommandResult {
    let client = args.api.client()?;
    let fields = args.fields.members()?;
    if let Some(path) = &args.lines {
        let lines = many::Lines { kind: args.kind.as_deref(), fields: &fields, path };
        let waiting = if args.wait { many::Waiting::UpTo(args.timeout) } else { many::Waiting::No };
        return many::run(&client, &lines, &args.output, waiting).await;
    }
    let payload = json("the payload", &args.payload_text()?)?;
    let body = body(args.kind.as_deref(), &fields, Some(&payload));
    let job = client.post(&["v1", "jobs"], Some(&body)).await?;
    if args.wait {
        let id = Fields::of(&job).text("id");
        return wait(&client, &[id], Goal::Completed, args.timeout, &args.output).await;
    }
    get::show(&JOB, &args.output, &client, &[job], true)?;
    Ok(Exit::Done)
}

impl SubmitArgs {
    fn payload_text(&self) -> CommandResult<String> {
        match (&self.payload_file, self.payload.as_deref()) {
            (Some(path), _) => read_text(path),
            (None, Some("-")) => read_text(Path::new("-")),
            (None, Some(text)) => Ok(text.to_owned()),
            (None, None) => Ok("{}".to_owned()),
        }
    }
}

impl FieldArgs {
    /// The fields that were given, each as a name and JSON.
    pub(crate) fn members(&self) -> CommandResult<Vec<(&'static str, String)>> {
        let text = |value: &Option<String>| value.as_deref().map(quoted);
        let number = |value: Option<f64>| value.map(|value| serde_json::Value::from(value).to_string());
        let tags = self.tag.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(",");
        let metadata = self.metadata.as_deref().map(|text| json("the metadata", text)).transpose()?;
        let unique = self.unique_key.as_deref().map(|key| {
            let action = self.on_conflict.and_then(|action| action.to_possible_value());
            let action = action.map(|value| format!(",\"on_conflict\":{}", quoted(value.get_name())));
            format!("{{\"key\":{}{}}}", quoted(key), action.unwrap_or_default())
        });
        let members = [
            ("queue", text(&self.queue)),
            ("priority", self.priority.map(|priority| priority.to_string())),
            ("delay_seconds", number(self.delay_seconds)),
            ("run_at", text(&self.run_at)),
            ("expires_at", text(&self.expires_at)),
            ("max_attempts", self.max_attempts.map(|attempts| attempts.to_string())),
            ("timeout_seconds", number(self.timeout_seconds)),
            ("tags", (!tags.is_empty()).then(|| format!("[{tags}]"))),
            ("metadata", metadata.map(|metadata| metadata.get().to_owned())),
            ("unique", unique),
            ("on_end", self.webhook()?),
        ];
        Ok(members.into_iter().filter_map(|(name, json)| Some((name, json?))).collect())
    }
}

impl FieldArgs {
    /// The member `on_end`. Line breaks around the secrets in the file do not count.
    fn webhook(&self) -> CommandResult<Option<String>> {
        let Some(url) = &self.on_end else { return Ok(None) };
        let secret = self.on_end_secret_file.as_deref().map(read_text).transpose()?.unwrap_or_default();
        let secret = secret.split_whitespace().collect::<Vec<_>>().join(" ");
        let queue = self.on_end_queue.as_deref().map(|queue| format!(",\"queue\":{}", quoted(queue)));
        let (url, secret) = (quoted(url), quoted(&secret));
        Ok(Some(format!("{{\"url\":{url},\"secret\":{secret}{}}}", queue.unwrap_or_default())))
    }
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> CommandResult<String> {
    let mut text = String::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
    };
    match outcome {
        Ok(_) => Ok(text),
        Err(error) => Err(CommandError::usage(format!("{} cannot be read: {error}", path.display()))),
    }
}
