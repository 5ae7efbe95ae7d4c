//! Ways around the limits of a key: cursors, searches, comparisons, webhooks, unique keys, names of workers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jobqueue_api::{Access, table};
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::Answer;

/// In everything that the key must not see.
const MARK: &str = "hidden-from-others";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ALL: [&str; 4] = ["read", "write", "admin", "worker"];

async fn ask(api: &Api, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let mut headers = vec![format!("Authorization: Bearer {key}")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    if !body.is_empty() {
        headers.push("Content-Type: application/json".to_owned());
    }
    api.raw(method, path, &headers, body.as_bytes()).await
}

/// One of everything with this name.
async fn make(api: &Api, name: &str) {
    let job = json!({ "kind": name, "queue": name });
    api.enqueue(job.clone()).await;
    let schedule = json!({ "cron": "0 0 1 1 *", "start_at": "2100-01-01T00:00:00Z", "job": job });
    api.put(&format!("/v1/schedules/{name}"), &[], &schedule).await.expect(201);
    api.register_worker(name, name).await;
    let redrive = json!({ "filter": { "queue": [name], "kind": [name] } });
    api.post("/v1/dead-letters/redrives", &redrive).await.expect(201);
    api.create_key(json!({ "name": name, "scopes": ["read"], "queues": [name], "kinds": [name] })).await;
}

#[tokio::test]
async fn pages_of_one_are_full_and_no_cursor_names_what_the_key_does_not_include() {
    let api = Api::start().await;
    // redrives are listed newest first, everything else by name
    for name in ["other-1", "other-2", MARK] {
        make(&api, name).await;
    }
    let hidden = api.get("/v1/dead-letters/redrives").await.expect(200)["redrives"][0]["id"].clone();
    let key = async |body: Value| api.create_key(body).await.1;
    let by_queue = key(json!({ "name": "by-queue", "scopes": ALL, "queues": ["other-*"] })).await;
    let by_kind = key(json!({ "name": "by-kind", "scopes": ALL, "kinds": ["other-*"] })).await;
    for (key, path, member, expected) in [
        (&by_queue, "/v1/queues", "queues", 2),
        (&by_queue, "/v1/schedules", "schedules", 2),
        (&by_queue, "/v1/workers", "workers", 2),
        (&by_queue, "/v1/dead-letters/redrives", "redrives", 2),
        (&by_queue, "/v1/api-keys", "api_keys", 3),
        (&by_kind, "/v1/kinds", "kinds", 2),
        (&by_kind, "/v1/schedules", "schedules", 2),
    ] {
        let (mut found, mut rest) = (0, String::new());
        loop {
            let answer = ask(&api, key, "GET", &format!("{path}?limit=1{rest}"), &Value::Null).await;
            let page = answer.expect(200);
            assert!(!answer.text.contains(MARK), "{path}: {answer:?}");
            assert_eq!(page[member].as_array().unwrap().len(), 1, "{path}: {answer:?}");
            found += 1;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            let plain = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&plain).contains(MARK) && cursor != hidden,
                "{path}: {answer:?}"
            );
            assert!(found <= expected, "{path}");
            rest = format!("&cursor={cursor}");
        }
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn a_webhook_shows_nothing_that_the_key_does_not_see() {
    let api = Api::start().await;
    let on_end = json!({ "url": "https://x.example", "secret": SECRET });
    let job =
        json!({ "kind": "k", "queue": "q", "metadata": { "m": MARK }, "max_attempts": 1, "on_end": on_end });
    let failure = json!({ "outcome": "discarded", "error": { "type": "boom", "message": MARK } });
    for item in [json!({ "outcome": "completed", "result": MARK }), failure] {
        api.enqueue(job.clone()).await;
        let lease = api.lease("q").await.unwrap();
        api.settle(item, &lease).await.expect(200);
        let webhook = api.lease("q").await.unwrap();
        api.settle(json!({ "outcome": "discarded", "error": { "type": "x", "message": "y" } }), &webhook)
            .await
            .expect(200);
    }
    while api.store.upkeep().count_dead_letters().await.unwrap() {}
    let webhooks = api.get("/v1/jobs?kind=jobqueue.webhook").await;
    assert_eq!(webhooks.text.matches(MARK).count(), 4, "{webhooks:?}");
    let webhook = webhooks.expect(200)["jobs"][0]["id"].as_str().unwrap().to_owned();

    let hide = json!(["result", "error", "metadata"]);
    let (_, key) =
        api.create_key(json!({ "name": "a", "scopes": ["read", "write", "admin"], "hide": hide })).await;
    let mut shown = 0;
    for route in table() {
        let path = route.path.replace("{id}", &webhook);
        if route.method != "GET"
            || route.access == Access::Public
            || path.contains('{')
            || path == "/v1/stream"
        {
            continue;
        }
        let answer = ask(&api, &key, "GET", &path, &Value::Null).await;
        assert!(!answer.text.contains(MARK), "{path}: {answer:?}");
        shown += usize::from(answer.status == 200);
    }
    assert!(shown > 10, "{shown}");
    let refused = async |method: &str, path: &str, body: Value| {
        let answer = ask(&api, &key, method, path, &body).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    };
    refused("POST", "/v1/jobs", job.clone()).await;
    refused("POST", "/v1/jobs/batch", json!({ "jobs": [job] })).await;
    refused("PUT", "/v1/routes/r", json!({ "position": 1, "kind": "k", "on_end": on_end })).await;
    api.put_route("r").await.expect(201);
    refused("PATCH", "/v1/routes/r", json!({ "on_end": on_end })).await;
}

#[tokio::test]
async fn what_is_hidden_can_neither_be_searched_nor_guessed() {
    let api = Api::start().await;
    let id = api.enqueue(json!({ "kind": "k", "queue": "q", "metadata": { "m": MARK } })).await;
    let scopes = ["read", "write", "admin"];
    let key = async |name: &str, hide: Value| {
        api.create_key(json!({ "name": name, "scopes": scopes, "hide": hide })).await.1
    };
    let (error, metadata, pointer, log) = (
        key("a", json!(["error"])).await,
        key("b", json!(["metadata"])).await,
        key("c", json!(["/m"])).await,
        key("d", json!(["log"])).await,
    );
    let text = json!({ "filter": { "text": "x" }, "dry_run": true });
    let one = format!("/v1/jobs/{id}");
    for (keys, method, path, body) in [
        ([&error, &error], "GET", "/v1/dead-letters?text=x", Value::Null),
        ([&error, &error], "GET", "/v1/dead-letters/groups?text=x", Value::Null),
        ([&error, &error], "POST", "/v1/dead-letters/purge", text.clone()),
        ([&error, &error], "POST", "/v1/dead-letters/redrives", text),
        ([&metadata, &pointer], "GET", "/v1/jobs?metadata=m=x", Value::Null),
        ([&metadata, &pointer], "GET", "/v1/jobs/count?metadata=m=x", Value::Null),
        ([&error, &metadata], "GET", "/v1/jobs?payload=m=x", Value::Null),
    ] {
        for key in keys {
            let answer = ask(&api, key, method, path, &body).await;
            assert_eq!(answer.problem(403), "forbidden", "{method} {path}");
        }
        ask(&api, &log, method, path, &body).await.expect(200);
    }
    for (key, status) in [(&metadata, 403), (&pointer, 403), (&log, 412)] {
        let headers = [
            format!("Authorization: Bearer {key}"),
            "Content-Type: application/json".to_owned(),
            "If-Match: \"0123\"".to_owned(),
        ];
        assert_eq!(api.raw("PATCH", &one, &headers, br#"{"priority":1}"#).await.status, status);
        let answer = ask(&api, key, "GET", &one, &Value::Null).await;
        assert_eq!(answer.header("etag").is_some(), status == 412, "{answer:?}");
    }
}

#[tokio::test]
async fn the_audit_log_shows_nothing_that_the_key_does_not_see() {
    let api = Api::start().await;
    let job = |mark: &str| json!({ "kind": "k", "queue": "q", "payload": { "user": { "email": mark } }, "metadata": { "m": mark } });
    for (mark, status) in [(MARK, 201), ("hidden-from-others-too", 200)] {
        let schedule = json!({ "cron": "0 0 1 1 *", "start_at": "2100-01-01T00:00:00Z", "job": job(mark) });
        api.put("/v1/schedules/s", &[], &schedule).await.expect(status);
    }
    api.send("DELETE", "/v1/schedules/s", &[], b"").await.expect(200);
    let id = api.enqueue(job(MARK)).await;
    let edit = json!({ "payload": { "user": { "email": format!("{MARK}-again") } } });
    let headers = ["Content-Type: application/json"];
    api.send("PATCH", &format!("/v1/jobs/{id}"), &headers, edit.to_string().as_bytes()).await.expect(200);
    let filter =
        json!({ "payload": [format!("user.email={MARK}-again")], "metadata": [format!("m={MARK}")] });
    assert_eq!(api.post("/v1/jobs/cancel", &json!({ "filter": filter })).await.expect(200)["changed"], 1);
    let redrive = json!({ "filter": { "text": MARK }, "rate": 0.01 });
    api.post("/v1/dead-letters/redrives", &redrive).await.expect(201);
    let all = "/v1/audit?limit=1000";
    let seen = api.get(all).await;
    assert!(seen.text.matches(MARK).count() >= 10, "{seen:?}");
    for (name, hide, left) in [
        ("whole", json!(["payload", "metadata", "error"]), 0),
        ("by-pointer", json!(["/user/email", "/m", "error"]), 0),
        ("all-but-searches", json!(["payload", "metadata"]), 1),
    ] {
        let (_, key) =
            api.create_key(json!({ "name": name, "scopes": ["read", "admin"], "hide": hide })).await;
        let answer = ask(&api, &key, "GET", all, &Value::Null).await;
        let entries = answer.expect(200);
        assert_eq!(answer.text.matches(MARK).count(), left, "{name}: {answer:?}");
        let of_schedule =
            entries["entries"].as_array().unwrap().iter().filter(|e| e["target"] == "s").count();
        assert_eq!(of_schedule, 3, "{name}: the entries are there, and what else they say");
        assert!(answer.text.contains("0 0 1 1 *") && answer.text.contains("[hidden]"), "{name}: {answer:?}");
        let redrives = ask(&api, &key, "GET", "/v1/dead-letters/redrives", &Value::Null).await;
        assert_eq!(redrives.text.matches(MARK).count(), left, "{name}: {redrives:?}");
    }
}

#[tokio::test]
async fn a_group_of_a_queue_has_no_examples_of_another_queue() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for queue in ["a", "b", "b"] {
        let job = json!({ "kind": "k", "queue": queue, "max_attempts": 1 });
        ids.push(api.enqueue(job).await);
        let lease = api.lease(queue).await.unwrap();
        let failed = json!({ "outcome": "discarded", "error": { "type": "boom", "message": "m" } });
        api.settle(failed, &lease).await.expect(200);
    }
    while api.store.upkeep().count_dead_letters().await.unwrap() {}
    for sort in ["count", "last_failed_at"] {
        let path = format!("/v1/dead-letters/groups?sort={sort}");
        for (query, expected) in [("", 3), ("&queue=a", 1), ("&queue=b", 2)] {
            let groups = api.get(&format!("{path}{query}")).await.expect(200);
            let examples = groups["groups"][0]["examples"].as_array().unwrap();
            assert_eq!(examples.len(), expected, "{groups}");
            assert_eq!(examples.contains(&json!(ids[0])), query != "&queue=b", "{groups}");
        }
    }
}

#[tokio::test]
async fn a_key_cannot_take_unique_keys_or_names_of_workers_from_other_queues() {
    let api = Api::start().await;
    let unique = |scope: &str| json!({ "key": "u", "scope": scope, "on_conflict": "reject" });
    let (_, key) = api
        .create_key(json!({ "name": "a", "scopes": ["write", "worker", "read"], "queues": ["mine"] }))
        .await;
    for (scope, status) in [("kind", 403), ("global", 403), ("queue", 201)] {
        let job = json!({ "kind": "k", "queue": "mine", "unique": unique(scope) });
        assert_eq!(ask(&api, &key, "POST", "/v1/jobs", &job).await.status, status, "{scope}");
    }
    let job = json!({ "kind": "k", "queue": "mine", "unique": unique("queue") });
    assert!(ask(&api, &key, "POST", "/v1/jobs", &job).await.text.contains("job_id"), "its own job is named");
    let (_, by_kind) = api.create_key(json!({ "name": "c", "scopes": ["write"], "kinds": ["mine"] })).await;
    for (scope, status) in [("kind", 201), ("global", 403), ("queue", 403)] {
        let job = json!({ "kind": "mine", "queue": "q", "unique": unique(scope) });
        assert_eq!(ask(&api, &by_kind, "POST", "/v1/jobs", &job).await.status, status, "{scope}");
    }
    // the holder is of another kind
    let both = json!({ "name": "b", "scopes": ["write"], "queues": ["mine"], "kinds": ["other"] });
    let (_, both) = api.create_key(both).await;
    let job = json!({ "kind": "other", "queue": "mine", "unique": unique("queue") });
    let batch = json!({ "jobs": [job] });
    for (path, body) in [("/v1/jobs", &job), ("/v1/jobs/batch", &batch)] {
        let answer = ask(&api, &both, "POST", path, body).await;
        assert_eq!(answer.problem(409), "unique-conflict");
        let problem = answer.json();
        assert!(problem["job_id"].is_null() && problem["holders"][0]["job_id"].is_null(), "{answer:?}");
    }

    let report = |name: &str| json!({ "leases": [], "worker": { "name": name } });
    api.register_worker("theirs", "billing").await;
    api.post("/v1/leases/heartbeat", &report("idle")).await.expect(200);
    let taken = ask(&api, &key, "POST", "/v1/leases/heartbeat", &report("theirs")).await;
    assert_eq!(taken.problem(403), "forbidden");
    ask(&api, &key, "POST", "/v1/leases/heartbeat", &report("ours")).await.expect(200);
    // a worker that has not said its queues may be anyone's
    assert_eq!(ask(&api, &key, "GET", "/v1/workers", &Value::Null).await.expect(200)["workers"], json!([]));
}

#[tokio::test]
async fn a_rotation_neither_outlives_its_caller_nor_ends_the_text_in_use_when_it_is_repeated() {
    let api = Api::start().await;
    let eternal = json!({ "name": "eternal", "scopes": ["read"] });
    let (id, text) = api.create_key(eternal).await;
    let (_, short) = api
        .create_key(
            json!({ "name": "short", "scopes": ["read", "admin"], "expires_at": "2100-01-01T00:00:00Z" }),
        )
        .await;
    let path = format!("/v1/api-keys/{id}/rotate");
    assert_eq!(ask(&api, &short, "POST", &path, &json!({})).await.problem(403), "forbidden");

    let first = api.post(&path, &json!({})).await.expect(200)["key"].as_str().unwrap().to_owned();
    assert_eq!(api.post(&path, &json!({})).await.problem(409), "limit-reached");
    for text in [&text, &first] {
        assert_eq!(ask(&api, text, "GET", "/v1/jobs", &Value::Null).await.status, 200);
    }
    let last = api.post(&path, &json!({ "overlap_seconds": 0 })).await.expect(200);
    let last = last["key"].as_str().unwrap();
    for (text, status) in [(text.as_str(), 401), (first.as_str(), 401), (last, 200)] {
        assert_eq!(ask(&api, text, "GET", "/v1/jobs", &Value::Null).await.status, status);
    }
}
