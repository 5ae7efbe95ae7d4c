//! Tests of the binary: readiness, metrics, signals, and startup errors.

use std::time::Duration;

use jobqueue_testkit::{Binary, TestDb};

const SOON: Duration = Duration::from_secs(20);

fn reaper(url: &str) -> Binary {
    Binary::at(env!("CARGO_BIN_EXE_jobqueue-reaper"))
        .env("DATABASE_URL", url)
        .env("ADMIN_ADDR", "127.0.0.1:0")
}

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: reaper\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn runs_reports_its_state_and_stops_on_sigterm() {
    let db = TestDb::new().await;
    let mut process = reaper(db.url()).spawn();
    let admin = process.listening("admin port", SOON).await;
    jobqueue_testkit::eventually(SOON, "it is ready", async || match get(admin, "/ready").await {
        (200, _) => Ok(()),
        not_yet => Err(not_yet),
    })
    .await;
    jobqueue_testkit::eventually(SOON, "every duty has run", async || {
        let (_, metrics) = get(admin, "/metrics").await;
        let ran =
            |duty: &str| !metrics.contains(&format!("reaper_runs_total{{duty=\"{duty}\",outcome=\"ok\"}} 0"));
        let all = ["reclaim", "promote", "expire", "census", "prune"];
        if all.into_iter().all(ran) { Ok(()) } else { Err(metrics) }
    })
    .await;
    process.signal(jobqueue_testkit::Signal::TERM);
    assert!(process.wait_exit(SOON).await.success(), "{:?}", process.lines());
}

#[tokio::test]
async fn refuses_a_database_without_the_schema() {
    let db = TestDb::empty().await;
    let mut process = reaper(db.url()).spawn();
    assert_eq!(process.wait_exit(SOON).await.code(), Some(64));
    assert!(process.lines().iter().any(|line| line.contains("jobqueue migrate")), "{:?}", process.lines());
}

#[tokio::test]
async fn starts_without_a_database_and_is_not_ready() {
    let process = reaper("postgresql://nobody@127.0.0.1:1/none").spawn();
    let admin = process.listening("admin port", SOON).await;
    let (status, body) = get(admin, "/ready").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("\"database\""), "{body}");
    assert_eq!(get(admin, "/health").await.0, 200);
}
