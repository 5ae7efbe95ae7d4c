//! Tests of the binary: signals, admin port, startup errors, signatures.

use std::net::SocketAddr;

use jobqueue_core::Status;
use jobqueue_testkit::{Binary, Fault, FaultProxy, Process, Signal, TestDb, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bench::{Bench, SLOTS_IN_USE, SOON, written};

const SLEEPER: &str = "[handlers.sleep]\ntype = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"sleep 1; echo 1\"]\n\
    [handlers.forever]\ntype = \"command\"\nargv = [\"/bin/sleep\", \"1000\"]\n";

/// The worker's binary with a configuration file, on a free admin port.
pub(crate) fn binary(url: &str, config: &str) -> Binary {
    Binary::at(env!("CARGO_BIN_EXE_jobqueue-worker"))
        .env("DATABASE_URL", url)
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("WORKER_CONFIG", written(config))
        .env("WORKER_POLL_INTERVAL_SECONDS", "0.05")
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Waits until it is ready; returns the address of its admin port.
pub(crate) async fn ready(process: &Process) -> SocketAddr {
    let admin = process.listening("admin port", SOON).await;
    eventually(SOON, "it is ready", async || match get(admin, "/ready").await {
        (200, _) => Ok(()),
        not_yet => Err(not_yet),
    })
    .await;
    admin
}

/// Waits until this many jobs have a slot.
async fn runs(admin: SocketAddr, jobs: u32) {
    let line = format!("{SLOTS_IN_USE} {jobs}\n");
    eventually(SOON, &line, async || match get(admin, "/metrics").await.1 {
        metrics if metrics.contains(&line) => Ok(()),
        metrics => Err(metrics),
    })
    .await;
}

#[tokio::test]
async fn sigterm_lets_running_programs_finish_and_releases_the_rest() {
    let bench = Bench::new().await;
    let mut process = binary(bench.db.url(), SLEEPER).env("WORKER_SHUTDOWN_GRACE_SECONDS", "3").spawn();
    let admin = ready(&process).await;
    let (short, long) = (bench.enqueue("sleep", "{}").await, bench.enqueue("forever", "{}").await);
    runs(admin, 2).await;
    process.signal(Signal::TERM);
    process.wait_for_line("the drain", |line| line.contains("draining"), SOON).await;
    let late = bench.enqueue("sleep", "{}").await;
    assert_eq!(get(admin, "/ready").await.0, 503, "not ready while it drains");
    assert_eq!(get(admin, "/health").await.0, 200);
    assert!(process.wait_exit(SOON).await.success(), "{:#?}", process.lines());
    assert_eq!(bench.status(short).await, Status::Completed);
    assert_eq!((bench.status(long).await, bench.job(long).await.attempt), (Status::Queued, 0));
    assert_eq!(bench.status(late).await, Status::Queued, "nothing new was leased");
}

#[tokio::test]
async fn a_second_signal_releases_at_once() {
    let bench = Bench::new().await;
    let mut process = binary(bench.db.url(), SLEEPER).spawn();
    let admin = ready(&process).await;
    let long = bench.enqueue("forever", "{}").await;
    runs(admin, 1).await;
    process.signal(Signal::TERM);
    process.wait_for_line("the drain", |line| line.contains("draining"), SOON).await;
    process.signal(Signal::TERM);
    let status = process.wait_exit(SOON).await;
    assert_eq!(status.code(), Some(1), "forced: {:#?}", process.lines());
    assert_eq!((bench.status(long).await, bench.job(long).await.attempt), (Status::Queued, 0));
}

#[tokio::test]
async fn metrics_count_and_lines_name_the_job() {
    let bench = Bench::new().await;
    let config = "[handlers.ok]\ntype = \"command\"\nargv = [\"/bin/true\"]\n\
        [handlers.\"*\"]\ntype = \"command\"\nargv = [\"/bin/false\"]\n";
    let process = binary(bench.db.url(), config).spawn();
    let admin = ready(&process).await;
    let (ok, surprise) = (bench.enqueue("ok", "{}").await, bench.enqueue("surprise", "{}").await);
    bench.reaches(ok, Status::Completed).await;
    bench.reaches(surprise, Status::Scheduled).await;
    let metrics = eventually(SOON, "both are counted", async || {
        let (_, metrics) = get(admin, "/metrics").await;
        let both = [
            "kind=\"ok\",queue=\"default\",status=\"completed\"",
            "kind=\"other\",queue=\"default\",status=\"scheduled\"",
        ];
        if both.iter().all(|labels| metrics.contains(&format!("worker_attempts_total{{{labels}}} 1"))) {
            Ok(metrics)
        } else {
            Err(metrics)
        }
    })
    .await;
    for name in [
        "job_wait_seconds_bucket",
        "job_duration_seconds_count",
        "worker_slots 10",
        "worker_slots_in_use 0",
        "worker_lease_seconds_sum",
        "worker_heartbeat_failures_total 0",
        "worker_settle_stale_total 0",
        "process_cpu",
    ] {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    let line =
        process.wait_for_line("the failed attempt", |line| line.contains(&surprise.to_string()), SOON).await;
    for field in ["\"attempt\":1", "\"kind\":\"surprise\"", "\"error.type\":\"exit_1\"", "\"level\":\"WARN\""]
    {
        assert!(line.contains(field), "{field} is missing: {line}");
    }
}

#[tokio::test]
async fn starts_without_a_database_and_works_when_it_is_reachable() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::before(bench.db.url()).await;
    proxy.set(Fault::Cut);
    let process = binary(&proxy.through(bench.db.url()), SLEEPER).spawn();
    let admin = process.listening("admin port", SOON).await;
    process.wait_for_line("the failed schema check", |line| line.contains("the schema check"), SOON).await;
    let (status, body) = get(admin, "/ready").await;
    assert!(status == 503 && body.contains("has not succeeded since the start"), "{status} {body}");
    assert_eq!(get(admin, "/health").await.0, 200, "no reason to restart it");
    let id = bench.enqueue("sleep", "{}").await;
    proxy.set(Fault::Pass);
    bench.reaches(id, Status::Completed).await;
    assert_eq!(get(admin, "/ready").await.0, 200);
}

#[tokio::test]
async fn invalid_settings_are_rejected_at_the_start_with_a_sentence() {
    let db = TestDb::new().await;
    let empty = TestDb::empty().await;
    for (process, sentence) in [
        (binary(db.url(), SLEEPER).env("WORKER_LEASE_DURATION_SECONDS", "10"), "at least two heartbeats"),
        (
            binary(db.url(), SLEEPER).env("WORKER_SHUTDOWN_GRACE_SECONDS", "52"),
            "terminationGracePeriodSeconds",
        ),
        (binary(db.url(), SLEEPER).env("WORKER_BATCH_SIZE", "0"), "WORKER_BATCH_SIZE"),
        (binary(db.url(), "[handlers.x]\ntype = \"magic\""), "magic"),
        (binary(db.url(), "[handlers.x]\ntype = \"http\"\nurl = \"file:///etc/passwd\""), "http or https"),
        (binary(db.url(), "[handlers]"), "WORKER_CONFIG"),
        (binary(empty.url(), SLEEPER), "jobqueue migrate"),
    ] {
        let mut process = process.spawn();
        assert_eq!(process.wait_exit(SOON).await.code(), Some(64), "{sentence}: {:#?}", process.lines());
        assert!(
            process.lines().iter().any(|line| line.contains(sentence)),
            "{sentence}: {:#?}",
            process.lines()
        );
    }
}

#[tokio::test]
async fn requests_are_signed_with_the_secret_of_the_environment() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = format!(
        "[handlers.hook]\ntype = \"http\"\nurl = \"http://{address}/\"\nallow = [\"{address}\"]\nsecret_env = \"HOOK_SECRET\"\n"
    );
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let process = binary(bench.db.url(), &config).env("HOOK_SECRET", secret).spawn();
    ready(&process).await;
    let id = bench.enqueue("hook", r#"{"test": 2432232314}"#).await;
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut request = String::new();
    while !request.ends_with("2432232314}") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "{request}");
        request.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
    bench.reaches(id, Status::Completed).await;
    let header = |name: &str| {
        let line = request.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    };
    let signed =
        format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), r#"{"test": 2432232314}"#);
    assert_eq!(header("webhook-signature"), format!("v1,{}", hmac(secret, &signed)));
    assert!(process.lines().iter().all(|line| !line.contains("MfKQ9r8")), "the secret shows");
}

/// The signature, computed independently of the worker: HMAC by its definition.
fn hmac(secret: &str, text: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};
    let mut key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    key.resize(64, 0);
    let pad = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    STANDARD.encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}
