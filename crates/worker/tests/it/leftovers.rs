//! Processes that programs leave behind, and what programs can read of the worker. The worker runs as a separate
//! process.

use std::fs;

use jobqueue_core::{JobDraft, JobId, Status};
use jobqueue_testkit::{Binary, Process, Signal, eventually};
use jobqueue_worker::Failure;
use rustix::process::geteuid;

use crate::bench::{Bench, SOON, draft, written};
use crate::command::{logged_pids, script, state, wait_until_ended};
use crate::process::{binary, get, ready};

/// Starts three processes and waits until they have printed their pids: one in another session, one that has also
/// cleared its environment, and a child of that one.
const ESCAPES: &str = "d=$(mktemp -d); setsid sh -c \"echo pid \\$\\$ >&2; touch $d/1; exec sleep 1000\" & \
     env -i setsid sh -c \"echo pid \\$\\$ >&2; sleep 1000 & echo pid \\$! >&2; touch $d/2; wait\" & \
     until [ -e $d/1 ] && [ -e $d/2 ]; do sleep 0.01; done; rm -r $d; ";
/// Starts only the first of them.
const LEAVES_THE_SESSION: &str = "d=$(mktemp -d); setsid sh -c \"echo pid \\$\\$ >&2; touch $d/1; exec sleep 1000\" & \
     until [ -e $d/1 ]; do sleep 0.01; done; rm -r $d; ";

/// The states of the worker's children, as letters.
fn children(process: &Process) -> Vec<char> {
    let parent = process.pid().to_string();
    let mut states = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        if fields[1] == parent {
            states.push(fields[0].chars().next().unwrap());
        }
    }
    states
}

async fn no_children(process: &Process) {
    eventually(SOON, "the worker has no children", async || match children(process) {
        none if none.is_empty() => Ok(()),
        left => Err(left),
    })
    .await;
}

async fn cancel(bench: &Bench, id: JobId) {
    bench.store.jobs().cancel(&[id], &Failure::new("cancelled", "")).await.unwrap();
}

#[tokio::test]
async fn orphans_leave_no_zombies() {
    let bench = Bench::new().await;
    let orphans =
        "for i in $(seq 300); do (sleep 0.01 &); done; (sleep 1000 &); echo pid $$ >&2; exec sleep 1000";
    let process = binary(bench.db.url(), &script("orphans", orphans, "")).spawn();
    ready(&process).await;
    let id = bench.enqueue("orphans", "{}").await;
    logged_pids(&bench, id, 1).await;
    eventually(SOON, "the program and one orphan are left", async || match children(&process) {
        two if two == ['S', 'S'] => Ok(()),
        left => Err(left),
    })
    .await;
    cancel(&bench, id).await;
    bench.reaches(id, Status::Cancelled).await;
    no_children(&process).await;
}

#[tokio::test]
async fn processes_in_another_session_are_killed_with_their_job() {
    let bench = Bench::new().await;
    let config = [
        script("returns", &format!("{ESCAPES} echo 7"), ""),
        script("fails", &format!("{ESCAPES} exit 3"), ""),
        script("stays", &format!("{ESCAPES} wait"), ""),
        script("limited", &format!("{ESCAPES} wait"), "timeout_seconds = 2"),
    ]
    .concat();
    let process = binary(bench.db.url(), &config).spawn();
    ready(&process).await;
    for (kind, status) in [
        ("returns", Status::Completed),
        ("fails", Status::Failed),
        ("stays", Status::Cancelled),
        ("limited", Status::Failed),
    ] {
        let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft(kind, "{}") }).await;
        let pids = logged_pids(&bench, id, 3).await;
        if kind == "stays" {
            assert!(pids.iter().all(|pid| state(pid).is_some()), "they live while their job runs");
            cancel(&bench, id).await;
        }
        bench.reaches(id, status).await;
        wait_until_ended(&pids).await;
        no_children(&process).await;
    }
}

#[tokio::test]
async fn the_end_of_a_job_does_not_kill_processes_of_others() {
    let bench = Bench::new().await;
    let config = [
        script("stays", &format!("{ESCAPES} wait"), ""),
        script("returns", &format!("{LEAVES_THE_SESSION} echo 7"), ""),
        script("hides", &format!("{LEAVES_THE_SESSION} echo 7").replace("setsid", "env -i setsid"), ""),
    ]
    .concat();
    let process = binary(bench.db.url(), &config).spawn();
    ready(&process).await;
    let stays = bench.enqueue("stays", "{}").await;
    let spared = logged_pids(&bench, stays, 3).await;
    let returns = bench.enqueue("returns", "{}").await;
    let own = logged_pids(&bench, returns, 1).await;
    bench.reaches(returns, Status::Completed).await;
    wait_until_ended(&own).await;
    // a process that has cleared its environment may belong to any of the jobs, so it is killed when the last of them
    // ends
    let hides = bench.enqueue("hides", "{}").await;
    let hidden = logged_pids(&bench, hides, 1).await;
    bench.reaches(hides, Status::Completed).await;
    assert!(spared.iter().chain(&hidden).all(|pid| state(pid).is_some()));
    cancel(&bench, stays).await;
    wait_until_ended(&[hidden, spared].concat()).await;
    no_children(&process).await;
}

#[tokio::test]
async fn no_process_outlives_the_worker() {
    let bench = Bench::new().await;
    let config = script("stays", &format!("{ESCAPES} wait"), "");
    let mut process = binary(bench.db.url(), &config).env("WORKER_SHUTDOWN_GRACE_SECONDS", "1").spawn();
    ready(&process).await;
    let id = bench.enqueue("stays", "{}").await;
    let pids = logged_pids(&bench, id, 3).await;
    process.signal(Signal::TERM);
    assert!(process.wait_exit(SOON).await.success(), "{:#?}", process.lines());
    wait_until_ended(&pids).await;
    assert_eq!(bench.status(id).await, Status::Queued);
}

#[tokio::test]
async fn a_process_that_existed_before_the_worker_is_not_killed() {
    let bench = Bench::new().await;
    let config = script("returns", "(sleep 1000 &); echo 7", "");
    let process = Binary::at("/bin/sh")
        .arg("-c")
        .arg("sleep 1000 & echo earlier $!; exec \"$0\"")
        .arg(env!("CARGO_BIN_EXE_jobqueue-worker"))
        .env("DATABASE_URL", bench.db.url())
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("WORKER_CONFIG", written(&config))
        .spawn();
    let line = process.wait_for_line("the earlier process", |line| line.starts_with("earlier"), SOON).await;
    let earlier = line.split(' ').nth(1).unwrap();
    ready(&process).await;
    let id = bench.enqueue("returns", "{}").await;
    bench.reaches(id, Status::Completed).await;
    eventually(SOON, "only the earlier process is left", async || match children(&process).len() {
        1 => Ok(()),
        left => Err(left),
    })
    .await;
    assert_eq!(state(earlier).as_deref(), Some("S (sleeping)"));
    let earlier = rustix::process::Pid::from_raw(earlier.parse().unwrap()).unwrap();
    rustix::process::kill_process(earlier, Signal::KILL).unwrap();
}

/// Prints what the program can read of its worker, whether a secret is in its environment, and its user.
const READ_WORKER: &str = "for file in environ mem; do head -c 1 /proc/$PPID/$file >/dev/null 2>&1 && echo \"read $file\"; done; \
     env | grep -E 'DATABASE_URL|HOOK_SECRET'; id -u";

#[tokio::test]
async fn programs_cannot_read_the_secrets_of_the_worker() {
    let bench = Bench::new().await;
    let config = script("spy", READ_WORKER, "");
    let root = geteuid().is_root();
    let users: &[Option<&str>] = if root { &[None, Some("65534")] } else { &[None] };
    for user in users {
        let process = match user {
            None => binary(bench.db.url(), &config),
            Some(user) => Binary::at("/usr/bin/setpriv")
                .arg(format!("--reuid={user}"))
                .arg("--clear-groups")
                .arg(env!("CARGO_BIN_EXE_jobqueue-worker"))
                .env("DATABASE_URL", bench.db.url())
                .env("ADMIN_ADDR", "127.0.0.1:0")
                .env("WORKER_CONFIG", written(&config)),
        };
        let process = process.env("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").spawn();
        let admin = ready(&process).await;
        assert!(
            get(admin, "/metrics").await.1.contains("\nprocess_open_fds "),
            "it can still look at itself"
        );
        let id = bench.enqueue("spy", "{}").await;
        let seen = bench.reaches(id, Status::Completed).await.result.unwrap();
        let expected = user.map_or_else(|| geteuid().as_raw().to_string(), ToString::to_string);
        assert_eq!(seen.as_str(), expected, "nothing but the user's number");
        assert!(process.lines().iter().all(|line| !line.contains("can read")), "{:#?}", process.lines());
        drop(process);
    }
}
