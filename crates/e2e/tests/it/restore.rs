//! Backup and restore as in docs/operations.md: a dump while jobs run, the loss of the database, a restore into a new
//! database, and the jobs continue from their state in the dump.

use std::path::PathBuf;
use std::process::Command;

use jobqueue_testkit::{Binary, TestDb};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::client::Client;
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::ledger::{GATE, QUICK, job};

const KEY: &str = "sent-before-the-dump";

#[tokio::test]
async fn jobs_continue_from_a_restored_dump() {
    let Some(tools) = tools() else {
        eprintln!("SKIPPED: no pg_dump and pg_restore (Debian: apt-get install postgresql-client)");
        return;
    };
    let before = TestDb::new().await;
    let cluster = Cluster::quick(before.url()).await;
    let (mut api, mut reaper, mut worker) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("of-before", 1));
    let done = api.client.submit(&job(QUICK, "done")).await;
    api.client.completed(&done).await;
    let running = api.client.submit(&job(GATE, "running")).await;
    cluster.work.started("running", 1).await;
    let waiting = api.client.submit(&job(QUICK, "waiting")).await;
    let delayed = api.client.submit(&delayed("delayed")).await;
    let keyed = keyed(&api.client).await;

    let dump = cluster.work.path().join("jobqueue.dump");
    run(tools.join("pg_dump"), before.url(), &["--format=custom", "--file", dump.to_str().unwrap()]).await;
    let too_late = api.client.submit(&job(QUICK, "too-late")).await;
    for node in [&mut api.node, &mut reaper, &mut worker] {
        node.process.kill();
    }

    let after = TestDb::empty().await;
    run(tools.join("pg_restore"), after.url(), &["--no-owner", "--exit-on-error", dump.to_str().unwrap()])
        .await;
    for (words, output) in [("wait", "the database is ready"), ("migrate", "0 applied now")] {
        let binary = Binary::named("jobqueue-api").env("DATABASE_URL", after.url()).arg(words);
        let mut process = binary.spawn();
        assert_eq!(process.wait_exit(LIMIT).await.code(), Some(0), "{words}: {:?}", process.lines());
        process.wait_for_line(output, |line| line.contains(output), LIMIT).await;
    }
    let cluster = cluster.through(after.url());
    let (api, _reaper, _worker) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("of-after", 2));
    let client = &api.client;
    assert_eq!(client.job(&done).await["result"], "done by attempt 1", "the past is there");
    assert_eq!(
        client.get(&format!("/v1/jobs/{too_late}")).await.status,
        404,
        "what came after the dump is not"
    );

    // jobs that ran during the dump count as lost with their worker, and run again
    cluster.work.started("running", 2).await;
    cluster.work.open("running", 2);
    client.completed(&running).await;
    assert_eq!(client.endings(&running).await, ["lost", "completed"]);
    client.completed(&waiting).await;
    assert_eq!(client.job(&delayed).await["status"], "scheduled");
    assert_eq!(client.post(&format!("/v1/jobs/{delayed}/promote"), &json!({})).await.status, 200);
    client.completed(&delayed).await;
    assert_eq!(self::keyed(client).await, keyed, "an idempotency key is remembered");
    // new jobs run as well, so every sequence and default was restored
    client.completed(&client.submit(&job(QUICK, "new")).await).await;
    all_final(after.pool()).await;
}

fn delayed(word: &str) -> Value {
    let mut job = job(QUICK, word);
    job["delay_seconds"] = json!(3600);
    job
}

/// Submits always with the same idempotency key, and returns the job's id.
async fn keyed(client: &Client) -> String {
    let answer = client.try_post("/v1/jobs", job(QUICK, "keyed").to_string(), Some(KEY)).await.unwrap();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Runs a client program of Postgres on a database.
async fn run(program: PathBuf, url: &str, arguments: &[&str]) {
    let mut command = Command::new(&program);
    command.arg(format!("--dbname={url}")).args(arguments);
    let outcome = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let output = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{}: {output}", program.display());
}

/// The directory of `pg_dump` and `pg_restore`: that of the server under test, or of the newest installed version.
pub(crate) fn tools() -> Option<PathBuf> {
    let named = std::env::var_os("JOBQUEUE_TEST_PG_BIN").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let has_both = |dir: &PathBuf| ["pg_dump", "pg_restore"].iter().all(|name| dir.join(name).is_file());
    named.into_iter().chain(debian.into_iter().rev()).chain(std::env::split_paths(&path)).find(has_both)
}
