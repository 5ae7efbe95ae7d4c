//! Tests of the binary: readiness, metrics, signals, and startup errors.

use std::time::Duration;

use jobqueue_core::RedriveRules;
use jobqueue_store::{DeadLetterFilter, Pooler, Store, StoreOptions};
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
        let all = ["reclaim", "promote", "expire", "census", "prune", "dead_letters", "redrive"];
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

/// A reaper that is killed in the middle of a redrive neither loses a job nor retries it twice.
#[tokio::test]
async fn a_redrive_survives_kills_of_the_reaper() {
    const JOBS: i64 = 400;
    let db = TestDb::new().await;
    db.execute(&format!(
        r#"SELECT jobqueue.lane_id('default', 0::smallint), jobqueue.kind_id('noop');
        CREATE TABLE fill AS SELECT jobqueue.new_id() AS id FROM generate_series(1, {JOBS});
        INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload) SELECT id, 1, 1, 10, '{{}}' FROM fill;
        INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at, detail)
          SELECT id, 6, 1, now() - interval '1 min', '{{"type": "boom", "message": "it broke"}}' FROM fill"#
    ))
    .await;
    let store = Store::connect_lazy(&StoreOptions {
        url: db.url().into(),
        application_name: "test".to_owned(),
        max_connections: 2,
        connect_timeout: SOON,
        pooler: Pooler::None,
    })
    .unwrap();
    while store.upkeep().compare_dead_letters().await.unwrap().1 {}
    let rules = RedriveRules { rate: 50.0, stop_share: 1.0, stop_window: 1000 };
    let all = DeadLetterFilter::default();
    let redrive = store.dead_letters().begin_redrive(&all, rules, None).await.unwrap();
    let redriven = async || store.dead_letters().redrive(redrive.id).await.unwrap().unwrap().redriven;
    let mut kills = 0;
    while redriven().await < 400 {
        let before = redriven().await;
        let mut process = reaper(db.url()).env("REAPER_REDRIVE_INTERVAL_SECONDS", "0.02").spawn();
        jobqueue_testkit::eventually(SOON, "it makes a step", async || match redriven().await {
            now if now > before => Ok(()),
            now => Err(now),
        })
        .await;
        process.signal(jobqueue_testkit::Signal::KILL);
        process.wait_exit(SOON).await;
        kills += 1;
    }
    assert!(kills >= 3, "{kills}");
    assert_eq!(redriven().await, 400);
    assert_eq!(db.number("SELECT count(*) FROM jobqueue.ready").await, JOBS);
    assert_eq!(db.number("SELECT count(*) FROM jobqueue.outcome").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM jobqueue.dead_letter").await, 0);
    let retried = "SELECT coalesce((SELECT sum(retried) FROM jobqueue.tally), 0)::bigint + coalesce((SELECT sum(retried) FROM jobqueue.counter), 0)::bigint";
    assert_eq!(db.number(retried).await, JOBS);
}
