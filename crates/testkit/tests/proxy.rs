//! Tests of every fault of the proxy in front of an echo server, and of one fault in front of a real
//! Postgres.
#![expect(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use jobqueue_testkit::{Fault, FaultProxy, TestDb};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// A proxy in front of an echo server, which runs until the returned set is dropped.
async fn echo() -> (FaultProxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut echo = JoinSet::new();
    echo.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = copy(&mut from, &mut to).await;
            });
        }
    });
    (FaultProxy::start(address).await, echo)
}

async fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Reads to the end of the connection; a reset also counts as its end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    if let Err(error) = timeout(LIMIT, stream.read_to_end(&mut seen)).await.unwrap() {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    seen
}

#[tokio::test]
async fn a_cut_closes_open_and_new_connections_until_it_ends() {
    let (proxy, _echo) = echo().await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut old, "ping").await.unwrap(), "ping");
    proxy.set(Fault::Cut);
    assert!(rest(&mut old).await.is_empty());
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(rest(&mut new).await.is_empty());
    proxy.set(Fault::Pass);
    let mut newer = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut newer, "pong").await.unwrap(), "pong");
}

#[tokio::test]
async fn a_black_hole_holds_bytes_and_passes_them_on_when_it_ends() {
    let (proxy, _echo) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "before").await.unwrap(), "before");
    proxy.set(Fault::Blackhole);
    stream.write_all(b"inside").await.unwrap();
    let mut answer = [0; 6];
    let silence = timeout(Duration::from_millis(100), stream.read_exact(&mut answer)).await;
    assert!(silence.is_err(), "nothing may pass");
    proxy.set(Fault::Pass);
    timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"inside");
}

#[tokio::test]
async fn a_delay_has_at_least_the_given_length_in_each_direction() {
    let (proxy, _echo) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let begin = Instant::now();
    assert_eq!(ask(&mut stream, "late").await.unwrap(), "late");
    assert!(begin.elapsed() >= Duration::from_millis(100), "a delay can only be too long by accident");
}

#[tokio::test]
async fn responses_are_lost_after_the_given_number_of_bytes() {
    let (proxy, _echo) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "not counted").await.unwrap(), "not counted");
    proxy.set(Fault::LoseAnswersAfter(6));
    assert_eq!(ask(&mut stream, "four").await.unwrap(), "four");
    stream.write_all(b"more").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"mo");
}

#[tokio::test]
async fn lost_connections_stay_open_and_new_ones_pass() {
    let (proxy, _echo) = echo().await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut old, "before").await.unwrap(), "before");
    proxy.lose_connections();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    for _ in 0..2 {
        old.write_all(b"lost").await.unwrap();
        assert_eq!(ask(&mut new, "passes").await.unwrap(), "passes");
    }
    let mut answer = [0; 4];
    let silence = timeout(Duration::from_millis(100), old.read(&mut answer)).await;
    assert!(silence.is_err(), "neither bytes nor an end: {silence:?}");
}

#[tokio::test]
async fn after_a_lost_response_of_postgres_the_transaction_is_committed() {
    let db = TestDb::empty().await;
    let proxy = FaultProxy::before(db.url()).await;
    let mut line = PgConnection::connect(&proxy.through(db.url())).await.unwrap();
    proxy.set(Fault::LoseAnswersAfter(0));
    let lost = sqlx::raw_sql("create table committed (id int)").execute(&mut line).await;
    assert!(lost.is_err(), "the client must not get the answer");
    let there: i64 = sqlx::query_scalar("select count(*) from pg_class where relname = 'committed'")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(there, 1, "the server did it");
}
