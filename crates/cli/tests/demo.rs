//! Tests of the demo: its jobs end, the printed `curl` lines work, and Ctrl-C ends it with exit code 0, both
//! on a private Postgres and on a given database.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use clap::CommandFactory as _;
use jobqueue_testkit::{Binary, Process, Signal, TestDb};

/// Time limit for a test that fails; it normally takes seconds.
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
fn run_printed(lines: &str) -> serde_json::Value {
    let output = Command::new("sh").args(["-c", lines]).output().expect("run sh");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {lines} printed {text}"))
}

async fn use_demo(mut demo: Process) -> Vec<String> {
    demo.wait_for_line("the end of its own work", |line| line.starts_with("Ctrl-C stops it"), LIMIT).await;
    let lines = demo.lines();
    let at = lines.iter().position(|line| line.contains("curl -s") && line.ends_with('\\')).unwrap();
    let job = run_printed(&format!("{}\n{}", lines[at], lines[at + 1]));
    let show = lines.iter().find(|line| line.contains("<id>?wait=10")).unwrap();
    let job = run_printed(&show.replace("<id>", job["id"].as_str().unwrap()));
    assert_eq!((&job["status"], &job["result"]), (&"completed".into(), &3.into()), "{job}");
    demo.signal(Signal::INT);
    assert!(demo.wait_exit(LIMIT).await.success(), "{:#?}", demo.lines());
    demo.lines()
}

#[tokio::test]
async fn it_runs_on_a_private_postgres_and_again_on_the_same_data() {
    let home = std::env::temp_dir().join(format!("jobqueue-demo-test-{}", std::process::id()));
    let private = || demo().arg("--data-dir").arg(&home);
    use_demo(private().spawn()).await;
    let again = use_demo(private().spawn()).await;
    assert!(again.iter().any(|line| line.contains("0 applied now")), "{again:#?}");
    std::fs::remove_dir_all(&home).unwrap();
}

#[tokio::test]
async fn it_runs_on_a_database_that_the_user_names() {
    let db = TestDb::empty().await;
    let url = db.url().replace("postgres@", "postgres:hunter2@");
    let named = || demo().arg("--database-url").arg(&url).spawn();
    let lines = use_demo(named()).await;
    assert!(lines.iter().any(|line| line.contains("the database of --database-url")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:#?}");
    let mut again = named();
    assert_eq!(again.wait_exit(LIMIT).await.code(), Some(64), "{:#?}", again.lines());
    again.wait_for_line("why", |line| line.contains("--database-url is not empty"), LIMIT).await;
}

#[tokio::test]
async fn a_database_that_is_not_empty_is_rejected_and_not_changed() {
    for content in
        ["CREATE TABLE orders (id int)", "CREATE SCHEMA app", "CREATE FUNCTION f() RETURNS int RETURN 1"]
    {
        let db = TestDb::empty().await;
        db.hold(content).await.commit().await.unwrap();
        let mut refused = demo().arg("--database-url").arg(db.url()).spawn();
        assert_eq!(refused.wait_exit(LIMIT).await.code(), Some(64), "{content}: {:#?}", refused.lines());
        assert_eq!(db.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'jobqueue'").await, 0);
    }
}

#[tokio::test]
async fn it_ignores_every_variable_of_the_services_and_touches_no_database_that_they_name() {
    let other = TestDb::empty().await;
    let home = std::env::temp_dir().join(format!("jobqueue-demo-env-test-{}", std::process::id()));
    let mut private = demo().arg("--data-dir").arg(&home);
    for command in [
        jobqueue_api::args::ApiCli::command(),
        jobqueue_worker::WorkerCli::command(),
        jobqueue_reaper::ReaperCli::command(),
    ] {
        let variables = command.get_arguments().filter_map(|option| option.get_env());
        for variable in variables.filter(|variable| !variable.to_string_lossy().starts_with("LOG_")) {
            private = private.env(variable, "nonsense");
        }
    }
    let url = other.url();
    for (name, value) in [
        ("DATABASE_URL", url),
        ("API_SECRET_KEY", "a-key-of-at-least-thirty-two-characters"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", "ERROR"),
        ("PGHOST", "nowhere.invalid"),
        ("PGSSLMODE", "require"),
        ("PGUSER", "nobody"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
    ] {
        private = private.env(name, value);
    }
    let mut private = private.arg("--exit").spawn();
    assert!(private.wait_exit(LIMIT).await.success(), "{:#?}", private.lines());
    assert_eq!(other.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'jobqueue'").await, 0);
    std::fs::remove_dir_all(&home).unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_reported_before_anything_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut demo =
        Binary::at(env!("CARGO_BIN_EXE_jobqueue")).arg("demo").arg("--port").arg(port.to_string()).spawn();
    assert_eq!(demo.wait_exit(LIMIT).await.code(), Some(64));
    demo.wait_for_line("what to do", |line| line.contains("--port"), LIMIT).await;
}
