//! A worker in another language: it needs only HTTP.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_testkit::{Clock, eventually};
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::HANG;

#[tokio::test]
async fn outcomes_lead_where_the_core_says() {
    let api = Api::start().await;
    for (item, status, attempt) in [
        (json!({ "outcome": "completed" }), "completed", 1),
        (
            json!({ "outcome": "failed", "error": { "type": "x", "message": "m", "details": { "a": [1] } } }),
            "scheduled",
            1,
        ),
        (json!({ "outcome": "failed", "error": { "type": "x" }, "retry_after_seconds": 7 }), "scheduled", 1),
        (json!({ "outcome": "discarded", "error": { "type": "x" } }), "failed", 1),
        (json!({ "outcome": "snoozed", "delay_seconds": 5 }), "scheduled", 0),
        (json!({ "outcome": "released" }), "queued", 0),
        (json!({ "outcome": "cancelled" }), "cancelled", 1),
    ] {
        let queue = format!("q{}", rand_name(&item));
        let id = api.enqueue_in(&queue).await;
        let lease = api.lease(&queue).await.unwrap();
        let settled = api.settle(item.clone(), &lease).await.expect(200);
        assert_eq!(settled["items"][0], json!({ "code": 200, "status": status }), "{item}");
        let job = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
        assert_eq!((&job["status"], &job["attempt"]), (&json!(status), &json!(attempt)), "{item}");
        if item["outcome"] == "discarded" {
            assert_eq!(job["error"]["type"], "x");
        }
    }
}

/// One queue a case.
fn rand_name(item: &Value) -> String {
    item.to_string().chars().filter(char::is_ascii_alphanumeric).take(50).collect()
}

#[tokio::test]
async fn leases_come_by_queue_kind_and_priority_and_no_more_than_asked_for() {
    let api = Api::start().await;
    let low = api.enqueue(json!({ "kind": "k", "queue": "a", "priority": -1 })).await;
    let high = api.enqueue(json!({ "kind": "k", "queue": "a", "priority": 1 })).await;
    let other = api.enqueue(json!({ "kind": "other", "queue": "b" })).await;
    let take = |body: Value| {
        let api = &api;
        async move {
            let view = api.post("/v1/leases", &body).await.expect(200);
            let leases = view["leases"].as_array().unwrap();
            leases.iter().map(|lease| lease["job"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    assert_eq!(take(json!({ "queues": ["b", "a"], "kinds": ["k"], "limit": 1 })).await, [high]);
    assert_eq!(take(json!({ "queues": ["b", "a"], "limit": 100 })).await, [other, low]);
}

#[tokio::test]
async fn a_heartbeat_renews_and_reports() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    assert_eq!(lease["expires_in_seconds"], 30);
    let before = api.get(&format!("/v1/jobs/{id}")).await.expect(200)["lease_expires_at"].clone();
    let beat = json!({ "leases": [{ "lease": lease["lease"], "progress": { "done": 0.5 }, "log": "half\n" }], "lease_seconds": 600 });
    let renewed = api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    assert_eq!(renewed["leases"][0]["status"], "ok");
    let after = api.get(&format!("/v1/jobs/{id}")).await.expect(200)["lease_expires_at"].clone();
    assert_eq!(renewed["leases"][0]["expires_at"], after);
    assert!(after.as_str() > before.as_str(), "{before} → {after}");
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await.expect(200);
    let attempt = &attempts["attempts"][0];
    assert_eq!(
        (&attempt["ended"], &attempt["progress"], &attempt["log"]),
        (&json!("running"), &json!({ "done": 0.5 }), &json!("half\n"))
    );
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_is_told_so_and_changes_nothing() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let id = api.enqueue_in("q").await;
    let lost = api.lease("q").await.unwrap();
    clock.advance(Duration::from_secs(31));
    let reclaimed = api.store.reclaim(Duration::ZERO, 100).await.unwrap();
    assert_eq!(reclaimed.jobs.len(), 1);
    let held = api.lease("q").await.unwrap();
    assert_eq!((&held["job"]["id"], &held["job"]["attempt"]), (&json!(id), &json!(2)));

    let late = api.settle(json!({ "outcome": "completed", "result": "late" }), &lost).await;
    assert_eq!(late.problem(409), "stale-lease");
    let beat = json!({ "leases": [{ "lease": lost["lease"], "progress": 1, "log": "late" }] });
    assert_eq!(api.post("/v1/leases/heartbeat", &beat).await.problem(409), "stale-lease");
    let both = json!({ "leases": [lost["lease"], held["lease"]] });
    let beats = api.post("/v1/leases/heartbeat", &both).await.expect(200);
    assert_eq!(
        (&beats["leases"][0]["status"], &beats["leases"][1]["status"]),
        (&json!("stale"), &json!("ok"))
    );
    let items = json!({ "items": [
        { "lease": lost["lease"], "outcome": "completed", "result": "late" },
        { "lease": held["lease"], "outcome": "completed", "result": "right" },
        { "lease": held["lease"], "outcome": "released" },
    ] });
    let settled = api.post("/v1/leases/settle", &items).await.expect(200);
    let codes: Vec<&Value> = settled["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, [409, 200, 409]);
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200)["result"], "right");
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await;
    assert!(!attempts.text.contains("late"), "{attempts:?}");
}

/// Waits until so many requests wait for a call under way to end.
async fn pending(api: &Api, what: &str, count: usize) {
    eventually(HANG, what, async || {
        let detailed = api.get("/health/detailed").await.expect(200);
        if detailed[what] == json!(count) { Ok(()) } else { Err(detailed) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_at_once_share_transactions_and_nothing_else() {
    let api = Api::start().await;
    for _ in 0..30 {
        api.enqueue_in("q").await;
    }
    let holder = api.db.hold("LOCK TABLE jobqueue.ready").await;
    let many = async {
        pending(&api, "pending_leases", 38).await;
        holder.commit().await.unwrap();
    };
    let (leases, ()) = tokio::join!(join_all((0..40).map(|_| api.lease("q"))), many);
    let leases: Vec<Value> = leases.into_iter().flatten().collect();
    assert_eq!(leases.len(), 30);
    let jobs: HashSet<String> = leases.iter().map(|lease| lease["job"]["id"].to_string()).collect();
    assert_eq!(jobs.len(), 30, "each job went to one of them");
    let calls = api.db.number("SELECT last_value / 1000 + 1 FROM jobqueue.lease_epoch").await;
    assert_eq!(calls, 3, "two were under way, and the rest came together");

    // one of them has a row that makes no sense, and one sends its settle twice
    let broken = leases[7]["job"]["id"].as_str().unwrap();
    let breaking = format!("UPDATE jobqueue.body SET max_attempts = -1 WHERE id = '{broken}'");
    api.db.hold(&breaking).await.commit().await.unwrap();
    let holder = api.db.hold("LOCK TABLE jobqueue.lease").await;
    let many = async {
        pending(&api, "pending_settles", 29).await;
        holder.commit().await.unwrap();
    };
    let twice = leases.iter().chain(&leases[20..21]);
    let ends = twice.map(|lease| api.settle(json!({ "outcome": "completed" }), lease));
    let (answers, ()) = tokio::join!(join_all(ends), many);
    let codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let count = |code: u16| codes.iter().filter(|c| **c == code).count();
    assert_eq!((count(200), count(409), codes[7]), (29, 1, 500), "{codes:?}");
    assert_eq!(codes[20].min(codes[30]), 200, "{codes:?}");
}
