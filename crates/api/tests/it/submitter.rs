//! Single submissions share transactions, but none waits for the unique key of another one.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;

use crate::bench::Api;
use crate::client::HANG;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_submission_does_not_wait_for_a_locked_key() {
    // six requests with the key share two connections until the key is free
    let api = Api::with_long_pool_waits().await;
    // the names exist already, so only the key can block
    api.enqueue(json!({ "kind": "k", "queue": "q" })).await;
    let holder = api.db.hold("SELECT jobqueue.enqueue('k', queue := 'q', unique_key := 'held')").await;
    let body = json!({ "kind": "k", "queue": "q", "unique": { "key": "held" } });
    let locked = async |least| {
        let look = async || waiting(&api.db, "wait_event_type = 'Lock'", least).await;
        eventually(HANG, "submissions wait for the key", look).await;
    };
    let second = async {
        locked(1).await;
        api.post("/v1/jobs", &body).await
    };
    let batch = json!({ "jobs": [body] });
    let batches = join_all((0..4).map(|_| api.post("/v1/jobs/batch", &batch)));
    let neighbours = async {
        locked(2).await;
        let plain = json!({ "kind": "k", "queue": "q" });
        for answer in join_all((0..50).map(|_| api.post("/v1/jobs", &plain))).await {
            answer.expect(201);
        }
        assert_eq!(waiting(&api.db, "wait_event_type = 'Lock'", 2).await, Ok(()), "the key is still held");
        holder.commit().await.unwrap();
    };
    let (first, second, batches, ()) = tokio::join!(api.post("/v1/jobs", &body), second, batches, neighbours);
    assert_eq!(first.expect(200)["id"], second.expect(200)["id"]);
    assert!(batches.iter().all(|answer| answer.status == 200), "{batches:?}");
    assert_eq!(api.count().await, 1 + 1 + 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_scans_do_not_block_submissions_and_are_limited() {
    let api = Api::start().await;
    api.enqueue(json!({ "kind": "k", "queue": "q" })).await;
    let holder = api.db.hold("LOCK TABLE jobqueue.outcome").await;
    let enough = AtomicBool::new(false);
    let reader = async || {
        let mut refused = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            refused.push(api.get("/v1/jobs?status=failed").await);
        }
        refused
    };
    // as many as the process has connections
    let readers = join_all((0..8).map(|_| reader()));
    let submitters = async {
        let stuck = async || waiting(&api.db, "wait_event_type = 'Lock'", 4).await;
        eventually(HANG, "readers hold all that they may", stuck).await;
        let body = json!({ "kind": "k" });
        for answer in join_all((0..10).map(|_| api.post("/v1/jobs", &body))).await {
            answer.expect(201);
        }
        api.post("/v1/jobs/batch", &json!({ "jobs": [{ "kind": "k" }] })).await.expect(201);
        eventually(HANG, "and still do", stuck).await;
        enough.store(true, Ordering::Relaxed);
    };
    let (refused, ()) = tokio::join!(readers, submitters);
    holder.commit().await.unwrap();
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert!(refused.len() >= 4, "those that got a connection were stopped");
    for answer in refused {
        assert_eq!(answer.problem(503), "unavailable", "a lock is not the fault of the filter");
    }
}

/// Whether at least `least` sessions of this database are in a state.
pub(crate) async fn waiting(db: &TestDb, state: &str, least: i64) -> Result<(), i64> {
    let count = db.sessions(state).await;
    if count >= least { Ok(()) } else { Err(count) }
}
