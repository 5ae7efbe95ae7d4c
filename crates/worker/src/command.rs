//! The `command` handler: a configured program, payload on stdin, stdout is the result. Owns the process group from its
//! start to its last member; never a shell, and never an argument that a submitter chose.

mod exit;
mod group;
mod output;

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::Json;
use jobqueue_runtime::Seconds;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::handler::{Handler, HandlerError, HandlerFuture, HandlerResult, JobContext};
use exit::ExitCodes;
use group::Group;
use output::{Captured, Tail};

/// PATH and HOME of a program whose worker has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const DEFAULT_HOME: &str = "/";
/// Largest stdout by default; it becomes the result, which has a limit of its own.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
/// What a process that left the group but keeps our pipes open may delay the end.
const PIPE_WAIT: Duration = Duration::from_secs(1);

/// `type = "command"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandConfig {
    /// Program and arguments, exactly as they are; the program by its absolute path.
    argv: Vec<String>,
    /// Limit of one attempt; the job's own may be shorter.
    timeout_seconds: Option<f64>,
    /// Variables beside PATH, HOME and JOBQUEUE_*; nothing else is inherited.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Names of variables to hand on from the worker's own environment, for secrets that do not belong in a file.
    #[serde(default)]
    pass_env: Vec<String>,
    /// Directory to start in; default `/`.
    dir: Option<std::path::PathBuf>,
    /// Most bytes of stdout; more is a failure.
    max_output_bytes: Option<usize>,
    /// What exit codes mean: `retry`, `discard` or `snooze:<seconds>`. Any other code but 0 means `retry`.
    #[serde(default)]
    exit_codes: BTreeMap<String, String>,
}

/// See the module.
pub(crate) struct Command(Arc<Program>);

struct Program {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    dir: std::path::PathBuf,
    limit: Option<Duration>,
    max_output: usize,
    exit_codes: ExitCodes,
}

impl Command {
    /// Checks the configuration.
    pub(crate) fn new(config: CommandConfig) -> Result<Self, String> {
        let program = config.argv.first().ok_or("argv must name a program")?;
        if !program.starts_with('/') {
            return Err(format!(
                "argv: `{program}` must be an absolute path: write out which program is meant"
            ));
        }
        if config.argv.iter().any(|word| word.contains('\0')) {
            return Err("argv must not hold a NUL".to_owned());
        }
        let limit = config.timeout_seconds.map(limit).transpose()?;
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned())),
            ("HOME".to_owned(), std::env::var("HOME").unwrap_or_else(|_| DEFAULT_HOME.to_owned())),
        ]);
        for name in &config.pass_env {
            let value = std::env::var(name)
                .map_err(|_| format!("pass_env: {name} is not set: set it or leave it out"))?;
            env.insert(name.clone(), value);
        }
        env.extend(config.env);
        if let Some(name) = env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("env: `{name}` is no name of a variable"));
        }
        Ok(Self(Arc::new(Program {
            argv: config.argv,
            env,
            dir: config.dir.unwrap_or_else(|| "/".into()),
            limit,
            max_output: config.max_output_bytes.unwrap_or(MAX_OUTPUT_BYTES),
            exit_codes: ExitCodes::parse(&config.exit_codes)?,
        })))
    }
}

/// A span in seconds from the configuration.
pub(crate) fn limit(seconds: f64) -> Result<Duration, String> {
    Seconds::parse(&seconds.to_string())
        .map(Seconds::get)
        .map_err(|error| format!("timeout_seconds {seconds}: {error}"))
}

impl Handler for Command {
    fn call(&self, context: JobContext) -> HandlerFuture {
        let program = self.0.clone();
        Box::pin(async move { program.run(context).await })
    }

    fn time_limit(&self) -> Option<Duration> {
        self.0.limit
    }
}

impl Program {
    /// One run. Dropped at any point it takes the whole process group along.
    async fn run(&self, context: JobContext) -> HandlerResult {
        let mut child = self.spawn(&context)?;
        let group = Group::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut captured = Captured::new(self.max_output);
        let mut tail = Tail::default();
        let status = {
            let pipes = async {
                let fed = feed(stdin, context.payload());
                let read = async {
                    captured.read(stdout).await;
                    if captured.is_too_large() {
                        group.signal(Signal::KILL);
                    }
                };
                tokio::join!(fed, read, tail.read(stderr, &context));
            };
            tokio::pin!(pipes);
            let exited = exit(&mut child, &group, &context);
            tokio::pin!(exited);
            let (status, all_read) = tokio::select! {
                status = &mut exited => (status, false),
                () = &mut pipes => (exited.await, true),
            };
            // what the program left behind ends with it, and with that our pipes do
            group.signal(Signal::KILL);
            if !all_read && timeout(PIPE_WAIT, pipes).await.is_err() {
                context
                    .log("(a process that left the group keeps the output open; the rest of it is not read)");
            }
            status
        };
        group.disarm();
        let status = status.map_err(|error| HandlerError::retry("wait_failed", error.to_string()))?;
        self.outcome(status, captured, &tail)
    }

    fn spawn(&self, context: &JobContext) -> Result<Child, HandlerError> {
        let mut command = tokio::process::Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).current_dir(&self.dir).env_clear().envs(&self.env);
        command.env("JOBQUEUE_JOB_ID", context.id().to_string());
        command.env("JOBQUEUE_ATTEMPT", context.attempt().to_string());
        command.env("JOBQUEUE_KIND", context.kind().as_str());
        command.env("JOBQUEUE_QUEUE", context.queue().as_str());
        if let Some(traceparent) = context.traceparent() {
            command.env("TRACEPARENT", traceparent);
            command.env("JOBQUEUE_TRACEPARENT", traceparent);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // a group of its own, so that it can be ended with everything that it started
        command.process_group(0).kill_on_drop(true);
        command
            .spawn()
            .map_err(|error| HandlerError::retry("spawn_failed", format!("{}: {error}", self.argv[0])))
    }

    fn outcome(&self, status: ExitStatus, captured: Captured, tail: &Tail) -> HandlerResult {
        if captured.is_too_large() {
            let most = self.max_output;
            return Err(HandlerError::discard(
                "output_too_large",
                format!("more than {most} bytes on stdout"),
            ));
        }
        if !status.success() {
            return Err(self.exit_codes.error(status, tail.as_str()));
        }
        Ok(result(captured.into_text().trim()))
    }
}

/// JSON if it parses, else the text as `stdout`; nothing for no output.
fn result(stdout: &str) -> Option<Json> {
    if stdout.is_empty() {
        return None;
    }
    match Json::parse(stdout.to_owned()) {
        Ok(json) => Some(json),
        Err(_) => Json::of(&serde_json::json!({ "stdout": stdout.replace('\0', "\u{fffd}") })).ok(),
    }
}

/// Waits for the program's own end. Asked to stop, even by the soft limit alone, it gets a SIGTERM; when time is up the
/// executor drops us, and the group's guard kills.
async fn exit(child: &mut Child, group: &Group, context: &JobContext) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        reason = context.cancelled() => {
            context.log(format!("(asked to stop: {reason:?}; SIGTERM sent)"));
            group.signal(Signal::TERM);
        }
    }
    child.wait().await
}

/// Writes the payload and closes stdin. A program that does not read it is no error.
async fn feed(stdin: Option<ChildStdin>, payload: &Json) {
    if let Some(mut stdin) = stdin {
        let _not_read = stdin.write_all(payload.as_str().as_bytes()).await;
        let _not_read = stdin.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdout_becomes_json_one_way_or_the_other() {
        let text = |stdout: &str| result(stdout).map(|json| json.as_str().to_owned());
        assert_eq!(text(""), None);
        assert_eq!(text("42").as_deref(), Some("42"));
        assert_eq!(text("{\"a\": 18446744073709551616}").as_deref(), Some("{\"a\": 18446744073709551616}"));
        assert_eq!(text("two words").as_deref(), Some("{\"stdout\":\"two words\"}"));
        assert_eq!(text("a\0b").as_deref(), Some("{\"stdout\":\"a\u{fffd}b\"}"));
        assert_eq!(text("\"\\u0000\"").as_deref(), Some("{\"stdout\":\"\\\"\\\\u0000\\\"\"}"));
    }
}
