//! The demo as a newcomer meets it: it does its work, the printed `curl` lines work, and Ctrl-C ends it well. Once on its own
//! Postgres and once on a named one.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use jobqueue_testkit::{Binary, Process, Signal, TestDb};

/// The limit of broken code; it takes seconds.
const LIMIT: Duration = Duration::from_mins(2);

fn demo() -> Binary {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Binary::at(env!("CARGO_BIN_EXE_jobqueue"))
        .env("PATH", std::env::var("PATH").unwrap())
        .arg("demo")
        .arg("--port")
        .arg(port.to_string())
}

/// Runs a command line that was printed; its output must be JSON.
fn pasted(lines: &str) -> serde_json::Value {
    let said = Command::new("sh").args(["-c", lines]).output().expect("run sh");
    let text = String::from_utf8_lossy(&said.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {lines} said {text}"))
}

async fn is_used(mut demo: Process) -> Vec<String> {
    demo.wait_for_line("the end of its own work", |line| line.starts_with("Ctrl-C stops it"), LIMIT).await;
    let lines = demo.lines();
    let at = lines.iter().position(|line| line.contains("curl -s") && line.ends_with('\\')).unwrap();
    let job = pasted(&format!("{}\n{}", lines[at], lines[at + 1]));
    let show = lines.iter().find(|line| line.contains("<id>?wait=10")).unwrap();
    let job = pasted(&show.replace("<id>", job["id"].as_str().unwrap()));
    assert_eq!((&job["status"], &job["result"]), (&"completed".into(), &3.into()), "{job}");
    demo.signal(Signal::INT);
    assert!(demo.wait_exit(LIMIT).await.success(), "{:#?}", demo.lines());
    demo.lines()
}

#[tokio::test]
async fn it_runs_on_a_postgres_of_its_own_and_again_on_the_same_data() {
    let home = std::env::temp_dir().join(format!("jobqueue-demo-test-{}", std::process::id()));
    let private = || demo().arg("--data-dir").arg(&home);
    is_used(private().spawn()).await;
    let again = is_used(private().spawn()).await;
    assert!(again.iter().any(|line| line.contains("0 applied now")), "{again:#?}");
    std::fs::remove_dir_all(&home).unwrap();
}

#[tokio::test]
async fn it_runs_on_a_database_that_the_user_names() {
    let db = TestDb::empty().await;
    let lines = is_used(demo().env("DATABASE_URL", db.url()).spawn()).await;
    assert!(lines.iter().any(|line| line.contains("from DATABASE_URL")), "{lines:#?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_before_anything_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut demo =
        Binary::at(env!("CARGO_BIN_EXE_jobqueue")).arg("demo").arg("--port").arg(port.to_string()).spawn();
    assert_eq!(demo.wait_exit(LIMIT).await.code(), Some(64));
    demo.wait_for_line("what to do", |line| line.contains("--port"), LIMIT).await;
}
