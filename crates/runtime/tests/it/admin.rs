//! Tests of the admin port over HTTP.

use crate::client::Client;
use jobqueue_runtime::Shutdown;
use jobqueue_runtime::admin::{self, Admin, Check, Readiness};
use prometheus::{IntCounter, Registry};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[expect(clippy::unused_async, reason = "it needs the runtime of its caller")]
async fn start(registry: Registry, readiness: Readiness) -> (SocketAddr, Shutdown) {
    let shutdown = Shutdown::new();
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let addr = admin::serve(any_port, Admin { registry, readiness }, &shutdown).unwrap();
    (addr, shutdown)
}

#[tokio::test]
async fn metrics_are_prometheus_text_that_promtool_accepts() {
    let registry = Registry::new();
    admin::register_process_metrics(&registry).unwrap();
    admin::register_process_metrics(&registry).expect("three services in one process register once");
    let counter = IntCounter::new("jobqueue_test_jobs_total", "Jobs of this test").unwrap();
    counter.inc_by(3);
    registry.register(Box::new(counter)).unwrap();

    let (addr, _shutdown) = start(registry, Readiness::always()).await;
    let answer = Client::connect(addr).await.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["content-type"].starts_with("text/plain; version=0.0.4"), "{:?}", answer.headers);
    assert!(answer.body.contains("jobqueue_test_jobs_total 3"), "{}", answer.body);
    let build = answer.body.lines().find(|line| line.starts_with("jobqueue_build_info{")).unwrap();
    assert!(
        build.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")) && build.ends_with(" 1"),
        "{build}"
    );
    if cfg!(target_os = "linux") {
        assert!(answer.body.contains("\nprocess_resident_memory_bytes "), "{}", answer.body);
    }
    promtool_accepts(&answer.body);
}

fn promtool_accepts(metrics: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: promtool is not installed, the metrics were not checked by it");
        return;
    };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
}

#[tokio::test]
async fn readiness_follows_the_checks_and_liveness_does_not() {
    let database = Arc::new(AtomicBool::new(false));
    let seen = database.clone();
    let readiness = Readiness::new(move || {
        let check = if seen.load(Ordering::SeqCst) {
            Check::pass("database")
        } else {
            Check::fail("database", "connection refused")
        };
        std::future::ready(vec![check])
    });
    let (addr, shutdown) = start(Registry::new(), readiness).await;
    let mut client = Client::connect(addr).await;

    let not_ready = client.get("/ready").await;
    assert_eq!(not_ready.status, 503);
    assert_eq!(
        not_ready.body,
        r#"{"status":"not_ready","checks":[{"name":"database","ok":false,"reason":"connection refused"}]}"#
    );
    assert_eq!(client.get("/health").await.status, 200);

    database.store(true, Ordering::SeqCst);
    let back = client.get("/ready").await;
    assert_eq!((back.status, back.headers["cache-control"].as_str()), (200, "no-store"));
    assert!(back.body.starts_with(r#"{"status":"ready""#), "{}", back.body);

    shutdown.begin();
    // during the drain, the open connection and new ones are still served
    for mut client in [client, Client::connect(addr).await] {
        assert_eq!(client.get("/ready").await.status, 503);
        assert_eq!(client.get("/health").await.status, 200);
        assert_eq!(client.get("/metrics").await.status, 200);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_other_paths_are_not_found() {
    let (addr, shutdown) = start(Registry::new(), Readiness::always()).await;
    let admin = Admin { registry: Registry::new(), readiness: Readiness::always() };
    let taken = admin::serve(addr, admin, &shutdown).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(Client::connect(addr).await.get("/debug").await.status, 404);
}
