//! Tests of the accept loop: limits, backpressure and the order of the shutdown.

use crate::client::{Client, refused, within};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Short for a test, but long enough for a request on a busy machine.
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_hours(1);

/// Limits with long deadlines: each test shortens the one that it checks.
fn long_limits() -> HttpLimits {
    HttpLimits { header_read: LONG, idle: LONG, write_stall: LONG, ..HttpLimits::default() }
}

async fn start(router: Router, limits: HttpLimits) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let served = shutdown.spawn(http::serve(listener, router, limits, shutdown.clone()));
    (addr, shutdown, served)
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// A route that sends a message when it is called, and responds when the gate is opened.
fn gated() -> (Router, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (entered, entries) = mpsc::unbounded_channel();
    let gate = Arc::new(Notify::new());
    let waits = gate.clone();
    let route = get(move || async move {
        entered.send(()).unwrap();
        waits.notified().await;
        "done"
    });
    (Router::new().route("/slow", route).route("/", get(async || "hello")), entries, gate)
}

#[tokio::test]
async fn keeps_the_connection_alive_and_passes_the_peer_address() {
    let router = Router::new()
        .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()));
    let (addr, ..) = start(router, long_limits()).await;
    let mut client = Client::connect(addr).await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "127.0.0.1"));
        assert_eq!(answer.headers.get("connection"), None);
    }
}

#[tokio::test]
async fn a_slow_header_and_a_silent_connection_are_closed() {
    let (addr, ..) = start(hello(), HttpLimits { header_read: SHORT, ..long_limits() }).await;
    let silent = Client::connect(addr).await;
    let mut slow = Client::connect(addr).await;
    slow.send(b"GET / HTTP/1.1\r\nHost: te").await;
    let refusal = slow.closed().await;
    assert!(
        refusal.starts_with("HTTP/1.1 408 ") && refusal.ends_with("\r\n\r\nRequest Timeout\n"),
        "{refusal}"
    );
    assert_eq!(silent.closed().await, "");

    let mut second_request = Client::connect(addr).await;
    assert_eq!(second_request.get("/").await.status, 200);
    second_request.send(b"GET / HT").await;
    let refusal = second_request.closed().await;
    assert!(refusal.starts_with("HTTP/1.1 408 "), "{refusal}");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_deadline_but_not_the_idle_limit() {
    let (addr, ..) = start(hello(), HttpLimits { header_read: SHORT, ..long_limits() }).await;
    let mut client = Client::connect(addr).await;
    assert_eq!(client.get("/").await.status, 200);
    // the test checks that this time changes nothing
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(client.get("/").await.status, 200);

    let (addr, ..) = start(hello(), HttpLimits { idle: SHORT, ..long_limits() }).await;
    let mut client = Client::connect(addr).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn a_slow_handler_is_not_an_idle_connection() {
    let (router, mut entries, gate) = gated();
    let limits = HttpLimits { header_read: SHORT, idle: SHORT, write_stall: SHORT, ..long_limits() };
    let (addr, ..) = start(router, limits).await;
    let mut client = Client::connect(addr).await;
    client.ask("/slow").await;
    entries.recv().await.unwrap();
    // longer than every limit, as a long poll may take
    tokio::time::sleep(SHORT * 2).await;
    gate.notify_one();
    assert_eq!(client.answer().await.body, "done");
}

#[tokio::test]
async fn malformed_http_is_answered_before_any_route() {
    let (addr, ..) = start(hello(), HttpLimits { max_header_bytes: 1_024, ..long_limits() }).await;
    let long = "x".repeat(2_000);
    let many = "a: b\r\n".repeat(150);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: test\r\nx-long: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"), "431"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            "400",
        ),
    ] {
        let mut client = Client::connect(addr).await;
        client.send(request.as_bytes()).await;
        let answer = client.closed().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer}");
        let said = if status == "431" { "Request Header Fields Too Large\n" } else { "Bad Request\n" };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, said, "{request:.60}: {answer}");
        assert!(
            head.contains(&format!("\r\ncontent-length: {}\r\nconnection: close\r\ndate: ", said.len())),
            "{head}"
        );
    }
    let mut pipelined = Client::connect(addr).await;
    pipelined.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(pipelined.answer().await.body, "hello");
    let refusal = pipelined.closed().await;
    assert!(refusal.starts_with("HTTP/1.1 400 ") && refusal.ends_with("\r\n\r\nBad Request\n"), "{refusal}");
    assert_eq!(Client::connect(addr).await.get("/").await.status, 200);
}

#[tokio::test]
async fn the_soft_shutdown_finishes_requests_in_flight_and_accepts_no_new_ones() {
    let (router, mut entries, gate) = gated();
    let (addr, shutdown, served) = start(router, long_limits()).await;
    let silent = Client::connect(addr).await;
    let mut idle = Client::connect(addr).await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut busy = Client::connect(addr).await;
    busy.ask("/slow").await;
    entries.recv().await.unwrap();

    shutdown.begin();
    refused(addr).await;
    assert_eq!(idle.closed().await, "");
    assert_eq!(silent.closed().await, "");
    assert!(!served.is_finished(), "the request in flight is awaited");
    gate.notify_one();
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(busy.closed().await, "");
    within(served).await.unwrap();
    shutdown.wait().await;
    assert_eq!(shutdown.failure(), None);
}

#[tokio::test]
async fn the_hard_shutdown_aborts_requests_in_flight() {
    let (router, mut entries, _gate) = gated();
    let (addr, shutdown, served) = start(router, HttpLimits { pre_stop_delay: LONG, ..long_limits() }).await;
    let mut busy = Client::connect(addr).await;
    busy.ask("/slow").await;
    entries.recv().await.unwrap();
    shutdown.force();
    assert_eq!(busy.closed().await, "");
    within(served).await.unwrap();
}

#[tokio::test]
async fn during_the_pre_stop_delay_requests_are_served_with_connection_close() {
    let (addr, shutdown, served) = start(hello(), HttpLimits { pre_stop_delay: LONG, ..long_limits() }).await;
    let mut before = Client::connect(addr).await;
    assert_eq!(before.get("/").await.headers.get("connection"), None);
    shutdown.begin();
    for mut client in [before, Client::connect(addr).await] {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
        assert_eq!(client.closed().await, "");
    }
    assert!(!served.is_finished());
    shutdown.force();
    within(served).await.unwrap();
}

#[tokio::test]
async fn above_the_limit_connections_wait_and_none_is_refused() {
    let (seen, mut paths) = mpsc::unbounded_channel();
    let router = Router::new().fallback(async move |uri: axum::http::Uri| {
        seen.send(uri.path().to_owned()).unwrap();
        "ok"
    });
    let (addr, ..) = start(router, HttpLimits { max_connections: 1, ..long_limits() }).await;
    let mut first = Client::connect(addr).await;
    assert_eq!(first.get("/first").await.status, 200);
    let mut second = Client::connect(addr).await;
    second.ask("/second").await;
    assert_eq!(first.get("/first-again").await.status, 200);
    drop(first);
    assert_eq!(second.answer().await.status, 200);
    let order = [paths.recv().await.unwrap(), paths.recv().await.unwrap(), paths.recv().await.unwrap()];
    assert_eq!(order, ["/first", "/first-again", "/second"]);
}

#[tokio::test]
async fn a_client_that_reads_no_bytes_is_disconnected() {
    let router = Router::new().route("/", get(async || Body::from(vec![0_u8; 64 << 20])));
    let (addr, shutdown, served) = start(router, HttpLimits { write_stall: SHORT, ..long_limits() }).await;
    let mut stalled = Client::connect(addr).await;
    stalled.ask("/").await;
    shutdown.begin();
    // a soft shutdown alone would wait for this response forever; `serve` returns only because the connection
    // was closed
    within(served).await.unwrap();
    drop(stalled);
}

#[tokio::test]
async fn a_panicking_handler_closes_only_its_own_connection() {
    let panics = get(async || -> &'static str { panic!("expected by this test") });
    let (addr, shutdown, _) = start(hello().route("/panic", panics), long_limits()).await;
    let mut victim = Client::connect(addr).await;
    victim.ask("/panic").await;
    assert_eq!(victim.closed().await, "");
    assert_eq!(Client::connect(addr).await.get("/").await.status, 200);
    assert_eq!(shutdown.failure(), None);
}
