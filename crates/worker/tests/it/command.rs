//! Tests of the command handler with real programs.

use std::path::Path;
use std::time::Duration;

use jobqueue_core::{JobDraft, Status};
use jobqueue_testkit::eventually;

use crate::bench::{AtWork, Bench, SOON, configured, draft};

/// The configuration of a handler that runs a shell script. The shell is the program of the test; the handler itself
/// uses none.
pub(crate) fn script(kind: &str, script: &str, more: &str) -> String {
    format!("[handlers.{kind}]\ntype = \"command\"\nargv = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}\n")
}

fn run_worker(bench: &Bench, config: &str) -> AtWork {
    AtWork::start(configured(bench.db.url(), config).cancel_grace(Duration::from_millis(200)))
}

#[tokio::test]
async fn stdin_is_the_payload_and_stdout_the_result() {
    let bench = Bench::new().await;
    let config = [
        "[handlers.count]\ntype = \"command\"\nargv = [\"/usr/bin/wc\", \"-c\"]\n",
        "[handlers.literal]\ntype = \"command\"\nargv = [\"/bin/echo\", \"; $(id) `id` *\"]\n",
        &script("silent", "cat > /dev/null", ""),
        &script("deaf", "echo '{\"ignored\": true}'", ""),
        &script("environment", "env", "env = { LANG = \"C.UTF-8\" }"),
    ]
    .concat();
    let worker = run_worker(&bench, &config);
    let result = async |kind: &str, payload: &str| {
        let id = bench.enqueue(kind, payload).await;
        bench.reaches(id, Status::Completed).await.result.map(|json| json.as_str().to_owned())
    };
    assert_eq!(result("count", r#"{"a": 1}"#).await.as_deref(), Some("8"));
    assert_eq!(
        result("literal", "{}").await.as_deref(),
        Some(r#"{"stdout":"; $(id) `id` *"}"#),
        "no shell reads it"
    );
    assert_eq!(result("silent", "{}").await, None);
    let large = format!("\"{}\"", "x".repeat(500_000));
    assert_eq!(result("deaf", &large).await.as_deref(), Some("{\"ignored\": true}"), "stdin is not read");
    let environment = result("environment", "{}").await.unwrap();
    let mut names: Vec<&str> = environment
        .trim_matches(['{', '}', '"'])
        .split("\\n")
        .filter_map(|line| line.split('=').next())
        .collect();
    names.sort_unstable();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD", "stdout\":\"PWD"].contains(name));
    let shown = names.join(" ").replace("stdout\":\"", "");
    for ours in
        ["HOME", "JOBQUEUE_ATTEMPT", "JOBQUEUE_JOB_ID", "JOBQUEUE_KIND", "JOBQUEUE_QUEUE", "LANG", "PATH"]
    {
        assert!(shown.contains(ours), "{ours} is missing in {shown}");
    }
    assert!(!shown.contains("CARGO"), "the worker's own environment leaks: {shown}");
    worker.drain().await;
}

#[tokio::test]
async fn exit_codes_decide_and_stderr_is_the_message() {
    let bench = Bench::new().await;
    let codes = r#"exit_codes = { "75" = "retry", "65" = "discard", "80" = "snooze:3600" }"#;
    let config = [
        &script("temporary", "echo busy >&2; exit 75", codes),
        &script("hopeless", "echo first >&2; echo wrong file >&2; exit 65", codes),
        &script("later", "exit 80", codes),
        &script("killed", "kill -9 $$", codes),
        "[handlers.missing]\ntype = \"command\"\nargv = [\"/nowhere/program\"]\n",
    ]
    .map(ToString::to_string)
    .concat();
    let worker = run_worker(&bench, &config);
    let temporary = bench.enqueue("temporary", "{}").await;
    assert_eq!(bench.reaches(temporary, Status::Scheduled).await.job.attempt, 1);
    assert_eq!(bench.attempts(temporary).await[0].error.as_ref().unwrap().message, "exit code 75: busy");
    let later = bench.enqueue("later", "{}").await;
    assert_eq!(bench.reaches(later, Status::Scheduled).await.job.attempt, 0);
    for (kind, error) in [("hopeless", "exit_65"), ("killed", "signal_9"), ("missing", "spawn_failed")] {
        let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft(kind, "{}") }).await;
        assert_eq!(bench.reaches(id, Status::Failed).await.error.unwrap().kind, error);
        if kind == "hopeless" {
            assert_eq!(bench.attempts(id).await[0].log, "first\nwrong file\n");
        }
    }
    worker.drain().await;
}

#[tokio::test]
async fn endless_output_is_truncated_and_memory_is_bounded() {
    let bench = Bench::new().await;
    let config = [
        "[handlers.flood]\ntype = \"command\"\nargv = [\"/bin/cat\", \"/dev/zero\"]\nmax_output_bytes = 100000\n",
        &script("noise", "yes noise | head -n 800000 >&2; echo 1", ""),
    ]
    .concat();
    let worker = run_worker(&bench, &config);
    let flood = bench.enqueue("flood", "{}").await;
    assert_eq!(bench.reaches(flood, Status::Failed).await.error.unwrap().kind, "output_too_large");
    let noise = bench.enqueue("noise", "{}").await;
    bench.reaches(noise, Status::Completed).await;
    let log = bench.attempts(noise).await.pop().unwrap().log;
    assert!(log.len() <= 16 * 1024 && log.ends_with("noise\n"), "{} bytes", log.len());
    worker.drain().await;
}

/// The state of a process, from /proc; `None` if it does not exist.
pub(crate) fn state(pid: &str) -> Option<String> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:")).map(|state| state.trim().to_owned())
}

/// Waits until the script has logged this many pids, and returns them.
pub(crate) async fn logged_pids(bench: &Bench, id: jobqueue_core::JobId, many: usize) -> Vec<String> {
    eventually(SOON, "the pids are logged", async || {
        let log = bench.attempts(id).await.pop().map(|attempt| attempt.log).unwrap_or_default();
        let pids: Vec<String> =
            log.lines().filter_map(|line| line.strip_prefix("pid ")).map(str::to_owned).collect();
        if pids.len() == many { Ok(pids) } else { Err(log) }
    })
    .await
}

pub(crate) async fn wait_until_ended(pids: &[String]) {
    eventually(SOON, "every process has ended, and no zombie is left", async || {
        let left: Vec<_> = pids.iter().filter_map(|pid| state(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn the_hard_limit_kills_the_whole_group() {
    let bench = Bench::new().await;
    // a child and a grandchild, which ignore SIGTERM
    let family = "trap '' TERM; echo pid $$ >&2; sh -c 'trap \"\" TERM; echo pid $$ >&2; sleep 1000 & echo pid $! >&2; wait' & wait";
    let worker = run_worker(&bench, &script("family", family, "timeout_seconds = 2"));
    let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft("family", "{}") }).await;
    let pids = logged_pids(&bench, id, 3).await;
    assert!(pids.iter().all(|pid| state(pid).is_some()));
    assert_eq!(bench.reaches(id, Status::Failed).await.error.unwrap().kind, "timeout");
    wait_until_ended(&pids).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_first_sends_sigterm() {
    let bench = Bench::new().await;
    let polite = "trap 'echo saved >&2; kill $!; exit 1' TERM; echo pid $$ >&2; sleep 1000 & wait";
    let rude = "trap '' TERM; echo pid $$ >&2; sleep 1000 & echo pid $! >&2; while :; do wait; done";
    let config = [script("polite", polite, ""), script("rude", rude, "")].concat();
    let worker = run_worker(&bench, &config);
    let (polite, rude) = (bench.enqueue("polite", "{}").await, bench.enqueue("rude", "{}").await);
    let pids = [logged_pids(&bench, polite, 1).await, logged_pids(&bench, rude, 2).await].concat();
    bench
        .store
        .jobs()
        .cancel(&[polite, rude], &jobqueue_worker::Failure::new("cancelled", ""))
        .await
        .unwrap();
    for id in [polite, rude] {
        bench.reaches(id, Status::Cancelled).await;
    }
    assert!(bench.attempts(polite).await[0].log.contains("saved\n"), "it had the time to save");
    wait_until_ended(&pids).await;
    worker.drain().await;
}

#[tokio::test]
async fn processes_that_a_program_leaves_behind_are_killed() {
    let bench = Bench::new().await;
    // the process that sleeps keeps our pipes open
    let worker = run_worker(&bench, &script("leaves", "sleep 1000 & echo pid $! >&2; echo 7", ""));
    let id = bench.enqueue("leaves", "{}").await;
    assert_eq!(bench.reaches(id, Status::Completed).await.result.unwrap().as_str(), "7");
    let pids = logged_pids(&bench, id, 1).await;
    wait_until_ended(&pids).await;
    worker.drain().await;
}
