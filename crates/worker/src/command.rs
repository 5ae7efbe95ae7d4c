//! The `command` handler: runs a configured program with the payload on stdin; its stdout is the result. Owns
//! the program and every process that it starts. It never uses a shell or an argument that a submitter chose.

mod exit;
mod output;
mod processes;
mod run;

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::Json;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::durations::time_limit;
use crate::handler::{Handler, HandlerError, HandlerFuture, HandlerResult, JobContext};
use exit::ExitCodes;
use output::{Captured, Tail};
pub(crate) use processes::Processes;
use run::Run;

/// PATH and HOME of a program if the worker has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const DEFAULT_HOME: &str = "/";
/// LANG of every program: without it many programs treat text as ASCII.
const DEFAULT_LANG: &str = "C.UTF-8";
/// Default of the largest stdout. It becomes the result, which has its own limit.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
/// How long the end of the attempt may be delayed by a process that survives the end of the run and keeps the
/// pipes open.
const PIPE_WAIT: Duration = Duration::from_secs(1);

/// The settings of a handler with `type = "command"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandConfig {
    /// Program and arguments, passed on unchanged. The program must be an absolute path.
    argv: Vec<String>,
    /// Time limit of one attempt, up to a week; the job's limit applies if it is shorter.
    timeout_seconds: Option<f64>,
    /// Environment variables in addition to PATH, HOME, LANG and JOBQUEUE_*. Nothing else is inherited.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Names of variables to copy from the worker's environment, for secrets that do not belong in a file.
    #[serde(default)]
    pass_env: Vec<String>,
    /// Working directory; default `/`.
    dir: Option<std::path::PathBuf>,
    /// The largest stdout in bytes; more is a failure.
    max_output_bytes: Option<usize>,
    /// What exit codes mean: `retry`, `discard` or `snooze:<seconds>`. Any other code except 0 means `retry`.
    #[serde(default)]
    exit_codes: BTreeMap<String, String>,
}

/// See the module.
pub(crate) struct CommandHandler(Arc<Program>);

struct Program {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    dir: std::path::PathBuf,
    limit: Option<Duration>,
    max_output: usize,
    exit_codes: ExitCodes,
    processes: Processes,
}

impl CommandHandler {
    /// Checks the configuration. `processes` owns the programs that the handler starts.
    pub(crate) fn new(config: CommandConfig, processes: Processes) -> Result<Self, String> {
        let program = config.argv.first().ok_or("argv must name a program")?;
        if !program.starts_with('/') {
            return Err(format!(
                "argv: `{program}` must be an absolute path: write the full path of the program"
            ));
        }
        if config.argv.iter().any(|word| word.contains('\0')) {
            return Err("argv must not contain a NUL character".to_owned());
        }
        let limit = config.timeout_seconds.map(time_limit).transpose()?;
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned())),
            ("LANG".to_owned(), DEFAULT_LANG.to_owned()),
            ("HOME".to_owned(), std::env::var("HOME").unwrap_or_else(|_| DEFAULT_HOME.to_owned())),
        ]);
        for name in &config.pass_env {
            let value = std::env::var(name)
                .map_err(|_| format!("pass_env: {name} is not set: set it or leave it out"))?;
            env.insert(name.clone(), value);
        }
        env.extend(config.env);
        if let Some(name) = env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("env: `{name}` is not a valid variable name"));
        }
        Ok(Self(Arc::new(Program {
            argv: config.argv,
            env,
            dir: config.dir.unwrap_or_else(|| "/".into()),
            limit,
            max_output: config.max_output_bytes.unwrap_or(MAX_OUTPUT_BYTES),
            exit_codes: ExitCodes::parse(&config.exit_codes)?,
            processes,
        })))
    }
}

impl Handler for CommandHandler {
    fn call(&self, context: JobContext) -> HandlerFuture {
        let program = self.0.clone();
        Box::pin(async move { program.run(context).await })
    }

    fn time_limit(&self) -> Option<Duration> {
        self.0.limit
    }
}

impl Program {
    /// Runs the program once. If dropped, it kills the program and the processes that it started.
    async fn run(&self, context: JobContext) -> HandlerResult {
        let (run, mut child) = self.start(&context)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut captured = Captured::new(self.max_output);
        let mut tail = Tail::default();
        let status = {
            let pipes = async {
                let fed = feed(stdin, context.payload());
                let read = async {
                    captured.read(stdout).await;
                    if captured.is_too_large() {
                        run.signal(Signal::KILL);
                    }
                };
                tokio::join!(fed, read, tail.read(stderr, &context));
            };
            tokio::pin!(pipes);
            let exited = exit(&mut child, &run, &context);
            tokio::pin!(exited);
            let (status, all_read) = tokio::select! {
                status = &mut exited => (status, false),
                () = &mut pipes => (exited.await, true),
            };
            // kills what the program left behind, which also closes the pipes
            run.end().await;
            if !all_read && timeout(PIPE_WAIT, pipes).await.is_err() {
                context.log("(another process keeps the output open; the rest of it is not read)");
            }
            status
        };
        let status = status.map_err(|error| HandlerError::retry("wait_failed", error.to_string()))?;
        self.outcome(status, captured, &tail)
    }

    fn start(&self, context: &JobContext) -> Result<(Run, Child), HandlerError> {
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
        Run::start(&mut command, &self.processes)
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

/// The result: stdout as JSON if it parses, else `{"stdout": text}`; none for an empty stdout.
fn result(stdout: &str) -> Option<Json> {
    if stdout.is_empty() {
        return None;
    }
    match Json::parse(stdout.to_owned()) {
        Ok(json) => Some(json),
        Err(_) => Json::of(&serde_json::json!({ "stdout": stdout.replace('\0', "\u{fffd}") })).ok(),
    }
}

/// Waits until the program exits. When asked to stop, even by the soft timeout, it sends SIGTERM. At the time
/// limit the executor drops this future and the run, which kills the program.
async fn exit(child: &mut Child, run: &Run, context: &JobContext) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        reason = context.cancelled() => {
            context.log(format!("(asked to stop: {reason:?}; SIGTERM sent)"));
            run.signal(Signal::TERM);
        }
    }
    child.wait().await
}

/// Writes the payload and closes stdin. A program may ignore its stdin.
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
    fn stdout_becomes_json_or_a_text_member() {
        let text = |stdout: &str| result(stdout).map(|json| json.as_str().to_owned());
        assert_eq!(text(""), None);
        assert_eq!(text("42").as_deref(), Some("42"));
        assert_eq!(text("{\"a\": 18446744073709551616}").as_deref(), Some("{\"a\": 18446744073709551616}"));
        assert_eq!(text("two words").as_deref(), Some("{\"stdout\":\"two words\"}"));
        assert_eq!(text("a\0b").as_deref(), Some("{\"stdout\":\"a\u{fffd}b\"}"));
        assert_eq!(text("\"\\u0000\"").as_deref(), Some("{\"stdout\":\"\\\"\\\\u0000\\\"\"}"));
    }
}
