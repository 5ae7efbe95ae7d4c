//! Tests of the binary: start, signals, and an unreachable database.

use std::net::SocketAddr;

use jobqueue_testkit::{Binary, Process, Signal, TestDb, TestServer, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bench::KEY;
use crate::client::{Answer, HANG, exchange};
use crate::long_poll::has_executed;

pub(crate) fn binary(url: &str) -> Binary {
    with_settings(Binary::at(env!("CARGO_BIN_EXE_jobqueue-api")), url)
}

fn with_settings(binary: Binary, url: &str) -> Binary {
    binary
        .env("DATABASE_URL", url)
        .env("API_SECRET_KEY", KEY)
        .env("API_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", "127.0.0.1:0")
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    exchange(addr, head.as_bytes()).await
}

pub(crate) async fn post(addr: SocketAddr, path: &str, body: &str) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(addr, head.as_bytes()).await
}

pub(crate) async fn address(process: &Process) -> SocketAddr {
    process.listening("API requests", HANG).await
}

#[tokio::test]
async fn a_signal_ends_it_with_0_after_waiting_requests_are_answered() {
    let db = TestDb::new().await;
    let mut process = binary(db.url()).spawn();
    let addr = address(&process).await;
    let job = post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await.expect(201);
    let wait = format!("/v1/jobs/{}?wait=60", job["id"].as_str().unwrap());
    let down = async {
        has_executed(&db, "store.not_live").await;
        process.signal(Signal::TERM);
    };
    let (waiting, ()) = tokio::join!(get(addr, &wait), down);
    assert_eq!(waiting.expect(200)["status"], "queued");
    assert_eq!(process.wait_exit(HANG).await.code(), Some(0));
    assert!(!process.lines().iter().any(|line| line.contains(KEY)), "the key is in the log");
}

/// Sends a request on a connection that stays open.
async fn ask(stream: &mut TcpStream) -> Answer {
    let body = r#"{"kind":"k"}"#;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // the response body is one object
    while !bytes.ends_with(b"}") {
        let read = stream.read_buf(&mut bytes);
        assert_ne!(tokio::time::timeout(HANG, read).await.unwrap().unwrap(), 0, "it was closed unanswered");
    }
    crate::client::read(&bytes)
}

#[tokio::test]
async fn after_the_signal_it_accepts_jobs_with_connection_close_before_it_closes_connections() {
    let db = TestDb::new().await;
    let mut process = binary(db.url())
        .env("API_PRE_STOP_DELAY_SECONDS", "3600")
        .env("API_SHUTDOWN_GRACE_SECONDS", "7200")
        .spawn();
    let addr = address(&process).await;
    let admin = process.listening("admin port", HANG).await;
    let mut kept = TcpStream::connect(addr).await.unwrap();
    let answer = ask(&mut kept).await;
    assert_eq!((answer.status, answer.header("connection")), (201, None));
    process.signal(Signal::TERM);
    let look = async || match get(admin, "/ready").await.status {
        503 => Ok(()),
        status => Err(status),
    };
    eventually(HANG, "the load balancer sees 503", look).await;
    for mut stream in [kept, TcpStream::connect(addr).await.unwrap()] {
        let answer = ask(&mut stream).await;
        assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
        let mut rest = Vec::new();
        let end = tokio::time::timeout(HANG, stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!((end.unwrap(), rest.len()), (0, 0), "closed in order");
    }
    process.signal(Signal::TERM);
    process.wait_exit(HANG).await;
}

/// A keep-alive connection that has sent one request.
async fn idle(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    let mut status = [0; b"HTTP/1.1 200".len()];
    timeout(HANG, stream.read_exact(&mut status)).await.expect("an answer").unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn idle_clients_do_not_block_new_ones() {
    let db = TestDb::new().await;
    // more clients than the limit of open files of the process
    let command = format!("ulimit -n 256; exec {}", env!("CARGO_BIN_EXE_jobqueue-api"));
    let process = with_settings(Binary::at("/bin/sh"), db.url()).arg("-c").arg(command).spawn();
    let (addr, admin) = (address(&process).await, process.listening("admin port", HANG).await);
    process
        .wait_for_line("the reduced limit", |line| line.contains("API_MAX_CONNECTIONS is reduced"), HANG)
        .await;
    let mut clients = Vec::new();
    for _ in 0..400 {
        clients.push(idle(addr).await);
    }
    assert_eq!(get(addr, "/ready").await.status, 200);
    for path in ["/health", "/ready", "/metrics", "/metrics/cluster"] {
        assert_eq!(get(admin, path).await.status, 200, "{path}");
    }
    post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await.expect(201);
}

#[tokio::test]
async fn it_starts_without_its_database_and_recovers_without_a_restart() {
    let server = TestServer::durable().await;
    server.stop_immediate().await;
    let mut process = binary(server.url()).env("DATABASE_CONNECT_TIMEOUT_SECONDS", "1").spawn();
    let addr = address(&process).await;
    assert_eq!(get(addr, "/health").await.status, 200);
    let ready = get(addr, "/ready").await;
    assert_eq!((ready.status, &ready.json()["checks"][0]["name"]), (503, &json!("database")), "{ready:?}");
    assert_eq!(post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await.problem(503), "unavailable");
    for path in ["/v1/jobs", "/metrics", "/v1/stats"] {
        assert_eq!(get(addr, path).await.problem(503), "unavailable", "{path}");
    }
    server.start().await;
    ready_again(addr).await;
    assert_eq!(post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await.status, 201);
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(HANG).await.code(), Some(0));
}

async fn ready_again(addr: SocketAddr) {
    let look = async || {
        let answer = get(addr, "/ready").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    };
    eventually(HANG, "ready again", look).await;
}

/// On a server that writes to the disk only at commits.
#[tokio::test]
async fn acknowledged_jobs_survive_a_crash_of_the_database() {
    let server = TestServer::with_settings(&[("wal_writer_delay", "10s"), ("autovacuum", "off")]).await;
    let process = binary(server.url()).env("DATABASE_CONNECT_TIMEOUT_SECONDS", "1").spawn();
    let addr = address(&process).await;
    for _ in 0..2 {
        // a connection from before the crash fails once, with 503
        let submit = async || match post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await {
            answer if answer.status == 201 => Ok(answer.json()["id"].as_str().unwrap().to_owned()),
            answer => Err(answer.text),
        };
        let id = eventually(HANG, "a job is taken", submit).await;
        server.stop_immediate().await;
        server.start().await;
        ready_again(addr).await;
        let look = async || match get(addr, &format!("/v1/jobs/{id}")).await {
            answer if answer.status == 503 => Err(answer.text),
            answer => Ok(answer),
        };
        let found = eventually(HANG, "the database is asked", look).await;
        assert_eq!(found.expect(200)["status"], "queued");
    }
}

#[tokio::test]
async fn an_unknown_schema_is_rejected_with_a_sentence_and_migrate_fixes_it() {
    let db = TestDb::empty().await;
    let mut refused = binary(db.url()).spawn();
    assert_eq!(refused.wait_exit(HANG).await.code(), Some(1));
    assert!(
        refused.lines().iter().any(|line| line.contains("run `jobqueue migrate`")),
        "{:?}",
        refused.lines()
    );
    for now in ["applied jobs", "0 applied now"] {
        let mut migrate = binary(db.url()).arg("migrate").spawn();
        assert_eq!(migrate.wait_exit(HANG).await.code(), Some(0), "{:?}", migrate.lines());
        migrate.wait_for_line(now, |line| line.contains(now), HANG).await;
    }
    let process = binary(db.url()).spawn();
    assert_eq!(get(address(&process).await, "/ready").await.status, 200);
}

#[tokio::test]
async fn it_refuses_to_start_without_a_key() {
    let build = binary("postgres://nobody@127.0.0.1:1/x");
    for (name, value) in [("API_SECRET_KEY", ""), ("API_SECRET_KEY", "short")] {
        let mut process = build.clone().env(name, value).spawn();
        assert_eq!(process.wait_exit(HANG).await.code(), Some(64));
        process.wait_for_line("what to set", |line| line.contains("API_SECRET_KEY"), HANG).await;
    }
    let mut open = build.env("API_SECRET_KEY", "").env("API_ADDR", "0.0.0.0:0").arg("--insecure").spawn();
    assert_eq!(open.wait_exit(HANG).await.code(), Some(64));
    open.wait_for_line("what to set", |line| line.contains("loopback"), HANG).await;
}
