//! Calls that are dropped, and connections whose server has vanished: they are closed, and the next call works.

use std::time::Duration;

use jobqueue_store::{Pooler, Store};
use jobqueue_testkit::{FaultProxy, TestDb, eventually};
use tokio::time::{Instant, timeout};

use crate::bench::{draft, production_at, submission};

const LIMIT: Duration = Duration::from_secs(30);

/// A store with a single connection.
fn single(url: &str) -> Store {
    production_at(url, Pooler::None, 1)
}

/// Waits until a statement of the store waits for a lock.
async fn is_blocked(db: &TestDb) {
    eventually(LIMIT, "the call waits", async || match db.sessions("wait_event_type = 'Lock'").await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_closes_its_connection() {
    let db = TestDb::new().await;
    let store = single(db.url());
    store.ping().await.unwrap();
    let held = db.hold("LOCK TABLE jobqueue.body IN SHARE MODE").await;
    let submissions = [submission(vec![draft()])];
    tokio::select! {
        stored = store.enqueue(&submissions) => panic!("{stored:?}"),
        () = is_blocked(&db) => {}
    }
    // the dropped statement still waits in the server; the pool has a new connection
    store.ping().await.unwrap();
    is_blocked(&db).await;
    held.rollback().await.unwrap();
    eventually(LIMIT, "the old session ends", async || {
        match db.sessions("application_name = 'jobqueue-test'").await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_statement_without_an_answer_ends_and_its_connection_is_closed() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let store = single(&proxy.through(db.url()));
    store.ping().await.unwrap();
    let held = db.hold("LOCK TABLE jobqueue.body IN SHARE MODE").await;
    let submissions = [submission(vec![draft()])];
    let call = store.enqueue(&submissions);
    let lost = async {
        is_blocked(&db).await;
        proxy.lose_connections();
        held.rollback().await.unwrap();
        // from here on the clock jumps to the next time limit
        tokio::time::pause();
        Instant::now()
    };
    let (outcome, lost_at) = tokio::join!(call, lost);
    let waited = lost_at.elapsed();
    tokio::time::resume();
    let error = outcome.unwrap_err();
    assert!(error.concerns_everyone() && error.to_string().contains("no answer within 35 s"), "{error}");
    assert!(
        waited >= Duration::from_secs(30),
        "the server must have ended a slow statement before: {waited:?}"
    );
    store.ping().await.unwrap();
}

#[tokio::test]
async fn idle_connections_whose_server_has_vanished_are_replaced() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let store = single(&proxy.through(db.url()));
    store.ping().await.unwrap();
    proxy.lose_connections();
    // The time is the condition: a connection is checked after one second without use. sqlx measures that with a clock that a test
    // cannot move.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    timeout(LIMIT, store.ping()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_listener_whose_server_has_vanished_fails() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let store = single(&proxy.through(db.url()));
    let mut listener = store.listen().await.unwrap();
    let quiet = timeout(Duration::from_secs(17), listener.heard()).await;
    assert!(quiet.is_err(), "it was checked once and works: {quiet:?}");
    proxy.lose_connections();
    timeout(LIMIT, listener.heard()).await.expect("it is checked").unwrap_err();
}
