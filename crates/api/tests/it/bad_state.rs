//! Valid requests for jobs in the wrong status, and invalid input to the routes of workers.

use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;

#[tokio::test]
async fn actions_that_do_not_fit_the_status_are_rejected() {
    let api = Api::start().await;
    let completed = api.ended(Outcome::Completed(None)).await;
    let failed = api.ended(Outcome::Discarded(Failure::new("x", "y"))).await;
    let running = api.enqueue_in("r").await;
    let lease = api.lease("r").await.unwrap();
    for (id, verb, status) in [
        (&completed, "cancel", "completed"),
        (&completed, "retry", "completed"),
        (&completed, "promote", "completed"),
        (&failed, "cancel", "failed"),
        (&failed, "promote", "failed"),
        (&running, "retry", "running"),
        (&running, "promote", "running"),
    ] {
        let answer = api.act(&format!("/v1/jobs/{id}/{verb}")).await;
        assert_eq!(answer.problem(409), "wrong-status", "{verb} on {status}");
        assert_eq!(answer.json()["job_status"], status);
    }
    assert_eq!(
        api.settle(json!({ "outcome": "released" }), &lease).await.expect(200)["items"][0]["status"],
        "queued"
    );
}

#[tokio::test]
async fn a_lease_can_be_settled_once() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    api.settle(json!({ "outcome": "completed", "result": 1 }), &lease).await.expect(200);
    for outcome in ["completed", "released", "cancelled"] {
        let again = api.settle(json!({ "outcome": outcome }), &lease).await;
        assert_eq!(again.problem(409), "stale-lease", "{outcome}");
    }
    let beat = api.post("/v1/leases/heartbeat", &json!({ "leases": [lease["lease"]] })).await;
    assert_eq!(beat.problem(409), "stale-lease");
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200)["result"], 1);
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_runs_is_not_retried() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    assert_eq!(api.act(&format!("/v1/jobs/{id}/cancel")).await.expect(202)["cancel_requested"], true);
    let beat = api.post("/v1/leases/heartbeat", &json!({ "leases": [lease["lease"]] })).await.expect(200);
    assert_eq!(beat["leases"][0]["status"], "cancel_requested");
    let settled =
        api.settle(json!({ "outcome": "failed", "error": { "type": "x" } }), &lease).await.expect(200);
    assert_eq!(settled["items"][0]["status"], "cancelled");
    assert_eq!(api.status(&id).await, "cancelled");
}

#[tokio::test]
async fn errors_of_worker_requests_have_pointers() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap()["lease"].clone();
    let settle = |item: Value| json!({ "items": [item] });
    for (path, body, pointers) in wrong_worker_requests(&lease) {
        let answer = api.post(&format!("/v1/leases{path}"), &body).await;
        let shown: String = body.to_string().chars().take(100).collect();
        assert_eq!(answer.problem(422), "invalid-body", "{path} {shown}");
        assert_eq!(answer.pointers(), pointers, "{path} {shown}");
    }
    let fine = settle(
        json!({ "lease": lease, "outcome": "failed", "error": { "type": "a\u{0}b", "message": "c\u{0}" } }),
    );
    assert_eq!(api.post("/v1/leases/settle", &fine).await.expect(200)["items"][0]["status"], "scheduled");
}

/// Path, body, pointers of the errors.
fn wrong_worker_requests(lease: &Value) -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let settle = |item: Value| json!({ "items": [item] });
    let big = "x".repeat(2 * 1024 * 1024);
    vec![
        ("", json!({ "queues": [] }), vec!["/queues"]),
        ("", json!({ "queues": ["a/b"] }), vec!["/queues/0"]),
        ("", json!({ "queues": ["q"], "limit": 0 }), vec!["/limit"]),
        (
            "",
            json!({ "queues": ["q"], "limit": 101, "lease_seconds": 4, "wait": 31 }),
            vec!["/limit", "/lease_seconds", "/wait"],
        ),
        ("", json!({ "queues": ["q"], "lease_seconds": 3601, "wait": -1 }), vec!["/lease_seconds", "/wait"]),
        ("", json!({ "queue": "q" }), vec!["/queue"]),
        ("/heartbeat", json!({ "leases": [] }), vec!["/leases"]),
        ("/heartbeat", json!({ "leases": ["x", 1] }), vec!["/leases/1"]),
        ("/heartbeat", json!({ "leases": [lease], "lease_seconds": 20, "wait": 10.5 }), vec!["/wait"]),
        ("/heartbeat", json!({ "leases": [lease], "wait": 16 }), vec!["/wait"]),
        ("/heartbeat", json!({ "leases": ["x", ""] }), vec!["/leases/0", "/leases/1"]),
        (
            "/heartbeat",
            json!({ "leases": [{ "lease": lease, "progress": "x".repeat(5000) }] }),
            vec!["/leases/0/progress"],
        ),
        (
            "/heartbeat",
            json!({ "leases": [{ "lease": lease, "progress": "a\u{0}" }] }),
            vec!["/leases/0/progress"],
        ),
        ("/settle", json!({ "items": [] }), vec!["/items"]),
        ("/settle", json!({ "items": [["x", "completed"]] }), vec!["/items/0"]),
        ("/settle", settle(json!({ "lease": "x", "outcome": "completed" })), vec!["/items/0/lease"]),
        ("/settle", settle(json!({ "lease": lease, "outcome": "done" })), vec!["/items/0/outcome"]),
        ("/settle", settle(json!({ "lease": lease, "outcome": "failed" })), vec!["/items/0/error"]),
        (
            "/settle",
            settle(json!({ "lease": lease, "outcome": "failed", "error": {} })),
            vec!["/items/0/error/type"],
        ),
        ("/settle", settle(json!({ "lease": lease, "outcome": "snoozed" })), vec!["/items/0/delay_seconds"]),
        (
            "/settle",
            settle(json!({ "lease": lease, "outcome": "snoozed", "delay_seconds": 1e9 })),
            vec!["/items/0/delay_seconds"],
        ),
        (
            "/settle",
            settle(json!({ "lease": lease, "outcome": "released", "result": 1 })),
            vec!["/items/0/result"],
        ),
        (
            "/settle",
            settle(json!({ "lease": lease, "outcome": "completed", "result": "a\u{0}" })),
            vec!["/items/0/result"],
        ),
        (
            "/settle",
            settle(json!({ "lease": lease, "outcome": "completed", "result": big })),
            vec!["/items/0/result"],
        ),
    ]
}

#[tokio::test]
async fn bulk_actions_and_queue_settings_check_their_bodies() {
    let api = Api::start().await;
    for (path, body, pointer) in [
        ("cancel", json!({ "filter": {} }), "/filter"),
        ("cancel", json!({}), "/filter"),
        ("retry", json!({ "filter": { "status": ["done"] } }), "/filter/status/0"),
        ("retry", json!({ "filter": { "queue": "q" } }), "/filter/queue"),
        ("promote", json!({ "filter": { "tag": ["a"] }, "limit": 1001 }), "/limit"),
        ("promote", json!({ "filter": { "tags": ["a"] } }), "/filter/tags"),
        ("cancel", json!({ "filter": { "created_after": "soon" } }), "/filter/created_after"),
        ("cancel", json!({ "filter": { "tag": ["a\u{0}"] } }), "/filter/tag/0"),
    ] {
        let answer = api.post(&format!("/v1/jobs/{path}"), &body).await;
        assert_eq!(
            (answer.problem(422).as_str(), answer.pointers()),
            ("invalid-body", vec![pointer.to_owned()]),
            "{body}"
        );
    }
    let patch = |body: &'static str| {
        let api = &api;
        async move {
            api.send("PATCH", "/v1/queues/q", &["Content-Type: application/json"], body.as_bytes()).await
        }
    };
    for body in
        [r#"{"failed_retention_seconds":-1}"#, r#"{"failed_retention_seconds":1e300}"#, r#"{"retention":1}"#]
    {
        assert_eq!(patch(body).await.problem(422), "invalid-body", "{body}");
    }
}
