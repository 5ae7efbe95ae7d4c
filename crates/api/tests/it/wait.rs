//! Tests of `jobqueue-api wait` and `probe`: before the database and its schema exist, and when they are stopped.

use jobqueue_testkit::{Binary, Fault, FaultProxy, Signal, TestDb, eventually};

use crate::client::HANG;
use crate::process::binary;

#[tokio::test]
async fn it_ends_with_0_when_the_database_is_ready() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    proxy.set(Fault::Cut);
    let url = proxy.through(db.url());
    let build = binary(&url).env("DATABASE_CONNECT_TIMEOUT_SECONDS", "1").arg("wait");
    let mut waiting = build.spawn();
    waiting.wait_for_line("what it waits for", |line| line.contains("waiting for the database"), HANG).await;
    assert!(waiting.is_running());
    proxy.set(Fault::Pass);
    assert_eq!(waiting.wait_exit(HANG).await.code(), Some(0), "{:?}", waiting.lines());
    assert_eq!(build.spawn().wait_exit(HANG).await.code(), Some(0), "again, without a pause");
}

#[tokio::test]
async fn it_waits_for_the_schema_unless_database_only_is_set() {
    let db = TestDb::empty().await;
    let build = binary(db.url()).arg("wait");
    let mut content = build.clone().arg("--database-only").spawn();
    assert_eq!(content.wait_exit(HANG).await.code(), Some(0), "{:?}", content.lines());

    let mut waiting = build.spawn();
    waiting.wait_for_line("what it waits for", |line| line.contains("this binary needs"), HANG).await;
    let mut migrate = binary(db.url()).arg("migrate").spawn();
    assert_eq!(migrate.wait_exit(HANG).await.code(), Some(0), "{:?}", migrate.lines());
    assert_eq!(waiting.wait_exit(HANG).await.code(), Some(0), "{:?}", waiting.lines());
}

#[tokio::test]
async fn it_gives_up_in_time_with_a_reason() {
    let db = TestDb::empty().await;
    let build = binary(db.url()).arg("wait").arg("--timeout-seconds").arg("0.5");
    let mut behind = build.spawn();
    assert_eq!(behind.wait_exit(HANG).await.code(), Some(1));
    behind
        .wait_for_line(
            "the reason",
            |line| line.contains("the database is not ready after 0.5 s: the database has"),
            HANG,
        )
        .await;

    // a server that accepts connections and sends nothing
    let proxy = FaultProxy::before(db.url()).await;
    proxy.set(Fault::Blackhole);
    let silent = binary(&proxy.through(db.url())).arg("wait").arg("--timeout-seconds").arg("0.5");
    let mut silent = silent.spawn();
    assert_eq!(silent.wait_exit(HANG).await.code(), Some(1));
    silent.wait_for_line("the reason", |line| line.contains("has not answered yet"), HANG).await;
}

#[tokio::test]
async fn a_signal_ends_it() {
    let db = TestDb::empty().await;
    let mut waiting = binary(db.url()).arg("wait").spawn();
    waiting.wait_for_line("what it waits for", |line| line.contains("waiting for the database"), HANG).await;
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.wait_exit(HANG).await.code(), Some(1));
    waiting.wait_for_line("the reason", |line| line.contains("asked to stop"), HANG).await;
}

#[tokio::test]
async fn a_probe_returns_whether_the_api_is_ready() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let build = binary(&proxy.through(db.url())).env("DATABASE_CONNECT_TIMEOUT_SECONDS", "1");
    let mut api = build.spawn();
    let addr = api.listening("API requests", HANG).await;
    // like a health check in the same container: the same address, without a key and a database
    let probe = Binary::at(env!("CARGO_BIN_EXE_jobqueue-api")).env("API_ADDR", addr.to_string()).arg("probe");
    let look = async |wanted: i32| {
        let mut probe = probe.spawn();
        let code = probe.wait_exit(HANG).await.code();
        if code == Some(wanted) { Ok(()) } else { Err(format!("{code:?} {:?}", probe.lines())) }
    };
    eventually(HANG, "ready", async || look(0).await).await;
    proxy.set(Fault::Cut);
    eventually(HANG, "not ready without its database", async || look(1).await).await;
    api.kill();
    eventually(HANG, "nothing answers", async || look(1).await).await;
}
