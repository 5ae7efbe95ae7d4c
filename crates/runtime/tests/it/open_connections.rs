//! Tests of a listener that has reached its limit of connections: which connections are closed.

use crate::client::{Client, within};
use axum::Router;
use axum::routing::get;
use jobqueue_runtime::admin::{self, Admin, Readiness};
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use prometheus::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const LONG: Duration = Duration::from_hours(1);

/// Starts a listener for at most this many connections, without time limits. A request to `/slow` sends a
/// message and waits for the gate.
async fn start(max_connections: usize) -> (SocketAddr, Shutdown, UnboundedReceiver<()>, Arc<Notify>) {
    let (entered, entries) = unbounded_channel();
    let gate = Arc::new(Notify::new());
    let waits = gate.clone();
    let slow = get(move || async move {
        entered.send(()).unwrap();
        waits.notified().await;
        "done"
    });
    let router = Router::new().route("/slow", slow).route("/", get(async || "hello"));
    let limits = HttpLimits {
        header_read: LONG,
        idle: LONG,
        write_stall: LONG,
        max_connections,
        ..HttpLimits::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    shutdown.spawn(http::serve(listener, router, limits, shutdown.clone()));
    (addr, shutdown, entries, gate)
}

#[tokio::test]
async fn the_connection_that_is_idle_longest_is_closed_for_a_new_one() {
    let (addr, ..) = start(4).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(addr).await;
        assert_eq!(client.get("/").await.status, 200);
        idle.push(client);
    }
    let mut newcomer = Client::connect(addr).await;
    assert_eq!(newcomer.get("/").await.status, 200);
    assert_eq!(idle.remove(0).closed().await, "", "the oldest one is closed without a word");
    for mut client in idle {
        assert_eq!(client.get("/").await.status, 200, "the others stay");
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_for_a_new_one_and_one_that_serves_a_request_is_not() {
    let (addr, _shutdown, mut entries, gate) = start(2).await;
    let mut served = Client::connect(addr).await;
    served.ask("/slow").await;
    within(entries.recv()).await.unwrap();
    let silent = Client::connect(addr).await;
    let mut newcomer = Client::connect(addr).await;
    newcomer.ask("/slow").await;
    within(entries.recv()).await.unwrap();
    assert_eq!(silent.closed().await, "");
    // both connections are serving a request, so the next client waits until one of them ends
    let mut last = Client::connect(addr).await;
    last.ask("/").await;
    gate.notify_waiters();
    assert_eq!(
        (served.answer().await.body.as_str(), newcomer.answer().await.body.as_str()),
        ("done", "done")
    );
    assert_eq!(last.answer().await.body, "hello");
}

#[tokio::test]
async fn idle_clients_of_the_admin_port_do_not_block_a_probe() {
    let shutdown = Shutdown::new();
    let admin = Admin { registry: Registry::new(), readiness: Readiness::always() };
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let addr = admin::serve(any_port, admin, &shutdown).unwrap();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(addr).await;
        assert_eq!(client.get("/health").await.status, 200);
        idle.push(client);
    }
    assert_eq!(Client::connect(addr).await.get("/ready").await.status, 200);
}
