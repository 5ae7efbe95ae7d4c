//! Fills a database with jobs in every status, through the verbs that users and workers call.

use std::collections::BTreeMap;
use std::time::Duration;

use jobqueue_core::WorkerId;
use jobqueue_store::{LeaseRequest, WorkerEntry};
use jobqueue_testkit::Clock;
use serde_json::{Value, json};

use super::{Answers, Held, Keyed, Unique, read};
use crate::bench::Api;

/// A year in which no test runs.
const FAR: &str = "2100-01-01T00:00:00Z";

/// Fills the database and says what it answers then.
pub(super) async fn fill(api: &Api, clock: &Clock) -> Answers {
    ended(api).await;
    tried(api, clock).await;
    let keyed = keyed(api).await;
    let unique = unique(api).await;
    settings(api).await;
    waiting(api).await;
    let held = running(api).await;
    api.store.take_census(200).await.unwrap();
    let mut jobs = BTreeMap::new();
    for job in api.get("/v1/jobs?limit=1000").await.expect(200)["jobs"].as_array().unwrap() {
        let id = job["id"].as_str().unwrap();
        jobs.insert(id.to_owned(), read(api, id).await);
    }
    Answers { jobs, queues: api.get("/v1/queues").await.expect(200), keyed, unique, held }
}

/// Every way to end.
async fn ended(api: &Api) {
    let outcomes = [
        r#""outcome": "completed""#,
        r#""outcome": "completed", "result": { "n":18446744073709551616, "price": 1.10, "text": "é 😀" }"#,
        r#""outcome": "discarded", "error": {"type": "gone", "message": "not there", "details": {"code": 404}}"#,
        r#""outcome": "failed", "error": {"type": "last", "message": "the only attempt"}"#,
        r#""outcome": "cancelled""#,
    ];
    for outcome in outcomes {
        api.enqueue(json!({ "kind": "report.build", "queue": "ended", "max_attempts": 1 })).await;
        settle(api, "ended", outcome).await;
    }
    let cancelled = api.enqueue(json!({ "kind": "report.build", "queue": "ended" })).await;
    api.act(&format!("/v1/jobs/{cancelled}/cancel")).await.expect(200);
    api.enqueue(json!({ "kind": "report.build", "queue": "ended" })).await;
    let lease = api.lease("ended").await.unwrap()["lease"].clone();
    let beat = json!({ "leases": [{ "lease": lease, "progress": { "done": 0.5 }, "log": "half\n" }] });
    api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    let end = json!({ "items": [{ "lease": lease, "outcome": "completed", "result": [] }] });
    api.post("/v1/leases/settle", &end).await.expect(200);
}

/// Jobs that were tried and are not final, or were retried by an operator.
async fn tried(api: &Api, clock: &Clock) {
    let fixed = json!({ "strategy": "fixed", "delay_seconds": 86400 });
    for outcome in [
        r#""outcome": "failed", "error": {"type": "x", "message": "again"}"#,
        r#""outcome": "snoozed", "delay_seconds": 86400"#,
        r#""outcome": "released""#,
    ] {
        let queue = format!("tried-{}", outcome.split('"').nth(3).unwrap());
        api.enqueue(json!({ "kind": "sync", "queue": queue, "retry": fixed, "max_snoozes": 3 })).await;
        settle(api, &queue, outcome).await;
    }
    let twice = api.enqueue(json!({ "kind": "sync", "queue": "twice" })).await;
    settle(api, "twice", r#""outcome": "failed", "error": {"type": "first"}"#).await;
    api.act(&format!("/v1/jobs/{twice}/promote")).await.expect(200);
    settle(api, "twice", r#""outcome": "completed", "result": "second""#).await;
    let again = api.enqueue(json!({ "kind": "sync", "queue": "again" })).await;
    settle(api, "again", r#""outcome": "discarded", "error": {"type": "x"}"#).await;
    api.act(&format!("/v1/jobs/{again}/retry")).await.expect(200);

    api.enqueue(json!({ "kind": "sync", "queue": "lost" })).await;
    api.lease("lost").await.unwrap();
    api.db
        .execute(
            "SELECT jobqueue.enqueue('sync', queue => 'expired', expires_at => now() + interval '1 second')",
        )
        .await;
    clock.advance(Duration::from_secs(31));
    assert_eq!(api.store.reclaim(Duration::ZERO, 100).await.unwrap().jobs.len(), 1);
    assert_eq!(api.store.expire_due(10).await.unwrap(), 1);
}

async fn keyed(api: &Api) -> Vec<Keyed> {
    let mut keyed = Vec::new();
    for (path, body) in [
        ("/v1/jobs", json!({ "kind": "invoice", "queue": "keyed", "payload": { "order": 42 } })),
        (
            "/v1/jobs/batch",
            json!({ "jobs": [{ "kind": "a", "queue": "keyed" }, { "kind": "b", "queue": "keyed" }] }),
        ),
    ] {
        let key = format!("key of {path}");
        let answer = api.keyed(path, &key, &body).await.json();
        keyed.push(Keyed { path: path.to_owned(), key, body, answer });
    }
    keyed
}

async fn unique(api: &Api) -> Vec<Unique> {
    let all = ["blocked", "scheduled", "queued", "running", "completed", "failed", "cancelled"];
    let mut unique = Vec::new();
    for (queue, key, outcome) in [
        ("unique", json!({ "key": "waits" }), None),
        ("unique-global", json!({ "key": "é", "scope": "global" }), None),
        (
            "unique-queue",
            json!({ "key": "ended", "scope": "queue", "statuses": all }),
            Some(r#""outcome": "completed""#),
        ),
        (
            "unique-kept",
            json!({ "key": "dead", "statuses": all }),
            Some(r#""outcome": "discarded", "error": {"type": "x"}"#),
        ),
    ] {
        let body = json!({ "kind": "import", "queue": queue, "unique": key });
        let holder = api.enqueue(body.clone()).await;
        if let Some(outcome) = outcome {
            settle(api, queue, outcome).await;
        }
        unique.push(Unique { body, holder });
    }
    unique
}

async fn settings(api: &Api) {
    for queue in ["paused", "kept"] {
        api.enqueue(json!({ "kind": "mail", "queue": queue })).await;
    }
    api.act("/v1/queues/paused/pause").await.expect(200);
    for (queue, settings) in [
        ("kept", json!({ "completed_retention_seconds": 3600, "failed_retention_seconds": 7200 })),
        ("empty", json!({ "failed_retention_seconds": 0, "create": true })),
    ] {
        let path = format!("/v1/queues/{queue}");
        let headers = ["Content-Type: application/json"];
        api.send("PATCH", &path, &headers, settings.to_string().as_bytes()).await.expect(200);
    }
}

async fn waiting(api: &Api) {
    let everything = r#"{"kind": "mail.send", "queue": "waiting", "payload": { "n":18446744073709551616, "price": 0.10, "text": "\u00e9" },
        "priority": 7, "max_attempts": 3, "max_snoozes": 5, "retry": {"strategy": "list", "delays_seconds": [1, 2.5]},
        "timeout_seconds": 60, "soft_timeout_seconds": 50.5, "tags": ["x", "é 😀"], "metadata": {"by": "ann"},
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "expires_at": "2100-01-01T00:00:00Z"}"#;
    api.post_text("/v1/jobs", everything).await.expect(201);
    for retry in [
        json!({ "strategy": "exponential", "base_seconds": 1, "factor": 3, "max_seconds": 60, "jitter": 0.5 }),
        json!({ "strategy": "linear", "step_seconds": 5, "max_seconds": 60 }),
    ] {
        api.enqueue(json!({ "kind": "mail.send", "queue": "waiting", "priority": -100, "retry": retry }))
            .await;
    }
    api.enqueue(json!({ "kind": "mail.send", "queue": "waiting", "run_at": FAR })).await;
    api.db
        .execute(
            "BEGIN;
             SELECT jobqueue.enqueue('in.sql', queue => 'waiting');
             SELECT jobqueue.enqueue('in.sql', '{\"a\": 1.0}', 'new-in-sql', delay_seconds => 86400, unique_key => 'sql', tags => '{t}');
             SELECT jobqueue.cancel(jobqueue.enqueue('in.sql', queue => 'cancelled-in-sql'));
             COMMIT",
        )
        .await;
}

/// Jobs that remote and local workers run. One of them is to be cancelled, and one of a lease is settled.
async fn running(api: &Api) -> Vec<Held> {
    let mut held = Vec::new();
    for number in 0..3 {
        let id =
            api.enqueue(json!({ "kind": "encode", "queue": "remote", "max_attempts": 1 + number })).await;
        let body = json!({ "queues": ["remote"], "lease_seconds": 3600 });
        let answer = api.post("/v1/leases", &body).await.expect(200);
        let lease = answer["leases"][0]["lease"].as_str().unwrap().to_owned();
        if number == 0 {
            api.act(&format!("/v1/jobs/{id}/cancel")).await.expect(202);
        } else {
            held.push(Held { id, lease });
        }
    }
    let worker = WorkerId::from_uuid("0190d5a0-0000-7000-8000-000000000001".parse().unwrap());
    let entry = WorkerEntry {
        id: worker,
        name: "worker-1".into(),
        queues: vec!["local".into()],
        kinds: vec![],
        slots: 8,
        version: "0.1.0".into(),
        host: "host".to_owned(),
        paused: false,
        stale_after: Duration::from_secs(30),
    };
    api.store.register_worker(&entry).await.unwrap();
    for _ in 0..4 {
        api.enqueue(json!({ "kind": "encode", "queue": "local" })).await;
    }
    let request = LeaseRequest {
        worker_id: Some(worker),
        queues: vec!["local".parse().unwrap()],
        kinds: vec![],
        limit: 4,
        duration: Duration::from_mins(5),
    };
    let mut leased = api.store.lease(&request).await.unwrap();
    assert_eq!(leased.len(), 4);
    api.store.settle(vec![completed(leased.remove(1))]).await.unwrap();
    held
}

/// Leases the next job of the queue and settles it.
async fn settle(api: &Api, queue: &str, outcome: &str) {
    let lease = api.lease(queue).await.unwrap()["lease"].clone();
    let body = format!(r#"{{"items": [{{"lease": {lease}, {outcome}}}]}}"#);
    let settled: Value = api.post_text("/v1/leases/settle", &body).await.expect(200);
    assert_eq!(settled["items"][0]["code"], 200, "{body}: {settled}");
}

fn completed(leased: jobqueue_store::Leased) -> jobqueue_store::AttemptEnd {
    let settlement = jobqueue_core::settle(&leased.job, jobqueue_core::Outcome::Completed(None), 0.0);
    jobqueue_store::AttemptEnd { lease: leased.lease, settlement, ran: None }
}
