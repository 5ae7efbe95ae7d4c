//! The audit log over REST: every route that changes something leaves an entry, and nothing else does.

use jobqueue_api::{ProxySettings, Settings, table};
use serde_json::{Value, json};

use crate::bench::{Api, settings};

/// Routes without an entry: submissions, what workers do, and those that change nothing.
const NOT_AUDITED: [&str; 7] = [
    "/v1/jobs",
    "/v1/jobs/batch",
    "/v1/leases",
    "/v1/leases/heartbeat",
    "/v1/leases/settle",
    "/v1/schedules/preview",
    "/v1/routes/test",
];

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that changes something, and the action that it is.
struct Change {
    path: String,
    body: Value,
    action: &'static str,
    target: Option<String>,
}

fn change(path: &str, target: &str, body: Value, action: &'static str) -> Change {
    let path = ["{id}", "{name}", "{worker_id}", "{redrive_id}", "{key_id}"]
        .iter()
        .fold(path.to_owned(), |path, part| path.replace(part, target));
    Change { path, body, action, target: Some(target.to_owned()) }
}

impl Api {
    async fn entries(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/audit?{query}")).await.expect(200);
        page["entries"].as_array().unwrap().clone()
    }

    async fn later(&self) -> String {
        self.enqueue(json!({ "kind": "k", "queue": "later", "delay_seconds": 600 })).await
    }

    /// A failed job, in a queue of its own: a retried one would be leased instead of the next.
    async fn failed(&self, queue: &str) -> String {
        let id = self.enqueue_in(queue).await;
        let lease = self.lease(queue).await.unwrap();
        let end = json!({ "outcome": "discarded", "error": { "type": "x", "message": "x" } });
        self.settle(end, &lease).await.expect(200);
        id
    }

    async fn patch_audited(&self, path: &str, body: &Value) -> crate::client::Answer {
        self.send("PATCH", path, &["Content-Type: application/json"], body.to_string().as_bytes()).await
    }

    async fn redrive(&self) -> String {
        self.failed("to-stop").await;
        let redrive = json!({ "filter": { "all": true }, "rate": 0.01 });
        let redrive = self.post("/v1/dead-letters/redrives", &redrive).await.expect(201);
        redrive["id"].as_str().unwrap().to_owned()
    }
}

/// Makes the state in which the route changes something. A new route has to be added here, or to [`NOT_AUDITED`].
async fn prepare(api: &Api, method: &str, path: &str) -> Change {
    match path.split('/').nth(2).unwrap() {
        "jobs" => of_jobs(api, method, path).await,
        "dead-letters" => of_dead_letters(api, path).await,
        "workers" => of_workers(api, path).await,
        "queues" => of_queues(api, method, path).await,
        "kinds" => of_kinds(api, method, path).await,
        "schedules" => of_schedules(api, method, path).await,
        "routes" => of_routes(api, method, path).await,
        "api-keys" => of_keys(api, method, path).await,
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

async fn of_jobs(api: &Api, method: &str, path: &str) -> Change {
    let many = |id: &str| json!({ "ids": [id] });
    let (id, action) = match (method, path.rsplit('/').next().unwrap()) {
        (_, "cancel") => (api.later().await, "jobs.cancel"),
        (_, "retry") => (api.failed(if path.contains("{id}") { "one" } else { "many" }).await, "jobs.retry"),
        (_, "promote") => (api.later().await, "jobs.promote"),
        (_, "delete") | ("DELETE", _) => (api.failed("to-delete").await, "jobs.delete"),
        ("PATCH", _) => return change(path, &api.later().await, json!({ "priority": 7 }), "jobs.edit"),
        _ => panic!("{method} {path}: say how this route changes something"),
    };
    let body = if path.contains("{id}") { Value::Null } else { many(&id) };
    change(path, &id, body, action)
}

async fn of_dead_letters(api: &Api, path: &str) -> Change {
    match path {
        "/v1/dead-letters/purge" => {
            api.failed("to-purge").await;
            let body = json!({ "filter": { "queue": ["to-purge"] } });
            Change { target: None, ..change(path, "", body, "dead_letters.purge") }
        }
        "/v1/dead-letters/redrives" => {
            api.failed("to-redrive").await;
            let body = json!({ "filter": { "all": true } });
            Change { target: None, ..change(path, "", body, "redrive.start") }
        }
        "/v1/dead-letters/redrives/{redrive_id}/stop" => {
            change(path, &api.redrive().await, Value::Null, "redrive.stop")
        }
        "/v1/dead-letters/{id}/retry" => {
            change(path, &api.failed("to-replace").await, json!({ "payload": 1 }), "dead_letters.replace")
        }
        _ => panic!("{path}: say how this route changes something"),
    }
}

async fn of_workers(api: &Api, path: &str) -> Change {
    let worker = api.register_worker("audited", "of-workers").await;
    let mut body = json!({ "command": "ping" });
    if path.contains("{worker_id}") {
        return change(path, &worker, body, "worker.ping");
    }
    body["filter"] = json!({ "queue": "of-workers" });
    Change { target: None, ..change(path, "", body, "worker.ping") }
}

async fn of_queues(api: &Api, method: &str, path: &str) -> Change {
    let name =
        &format!("q-{}-{}", method.to_lowercase(), path.rsplit('/').next().unwrap().replace(['{', '}'], ""));
    let create = json!({ "create": true });
    let pause = format!("/v1/queues/{name}/pause");
    match (method, path.rsplit('/').next().unwrap()) {
        ("PATCH", _) => {
            let body = json!({ "completed_retention_seconds": 60, "create": true });
            change(path, name, body, "queue.configure")
        }
        ("DELETE", _) => {
            api.post(&pause, &create).await.expect(200);
            change(path, name, Value::Null, "queue.delete")
        }
        (_, "pause") => change(path, name, create, "queue.pause"),
        (_, "resume") => {
            api.post(&pause, &create).await.expect(200);
            change(path, name, json!({}), "queue.resume")
        }
        (_, "purge") => {
            api.enqueue_in(name).await;
            change(path, name, json!({}), "queue.purge")
        }
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

async fn of_kinds(api: &Api, method: &str, path: &str) -> Change {
    let create = json!({ "create": true });
    match (method, path.rsplit('/').next().unwrap()) {
        ("PATCH", _) => {
            change(path, "k-set", json!({ "timeout_seconds": 60, "create": true }), "kind.configure")
        }
        (_, "pause") => change(path, "k-pause", create, "kind.pause"),
        (_, "resume") => {
            api.post("/v1/kinds/k-resume/pause", &create).await.expect(200);
            change(path, "k-resume", json!({}), "kind.resume")
        }
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

async fn of_schedules(api: &Api, method: &str, path: &str) -> Change {
    if method != "PUT" {
        api.put_schedule("s").await;
    }
    match (method, path.rsplit('/').next().unwrap()) {
        ("PUT", _) => {
            let body = json!({ "interval_seconds": 3600, "job": { "kind": "k" } });
            change(path, "s-new", body, "schedule.put")
        }
        ("PATCH", _) => change(path, "s", json!({ "description": "other" }), "schedule.put"),
        ("DELETE", _) => change(path, "s", Value::Null, "schedule.delete"),
        (_, "pause") => change(path, "s", Value::Null, "schedule.pause"),
        (_, "resume") => {
            api.act("/v1/schedules/s/pause").await.expect(200);
            change(path, "s", Value::Null, "schedule.resume")
        }
        (_, "run") => change(path, "s", Value::Null, "schedule.run"),
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

async fn of_keys(api: &Api, method: &str, path: &str) -> Change {
    if path == "/v1/api-keys" {
        let body = json!({ "name": "new", "scopes": ["read"] });
        return Change { target: None, ..change(path, "", body, "api_key.create") };
    }
    let name = format!("key-{}-{}", method.to_lowercase(), path.len());
    let (id, _) = api.create_key(json!({ "name": name, "scopes": ["read"] })).await;
    match (method, path.rsplit('/').next().unwrap()) {
        ("PATCH", _) => change(path, &id, json!({ "name": "renamed" }), "api_key.configure"),
        ("DELETE", _) => change(path, &id, Value::Null, "api_key.revoke"),
        (_, "rotate") => change(path, &id, json!({ "overlap_seconds": 0 }), "api_key.rotate"),
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

async fn of_routes(api: &Api, method: &str, path: &str) -> Change {
    match method {
        "PUT" => change(path, "r-new", json!({ "position": 1, "kind": "none.*" }), "route.put"),
        "PATCH" => {
            api.put_route("r").await;
            change(path, "r", json!({ "position": 2 }), "route.put")
        }
        "DELETE" => {
            api.put_route("r").await;
            change(path, "r", Value::Null, "route.delete")
        }
        _ => panic!("{method} {path}: say how this route changes something"),
    }
}

#[tokio::test]
async fn every_route_that_changes_something_leaves_an_entry_of_its_caller() {
    let api = Api::start().await;
    let changing = |method: &str, path: &str| {
        // a session is a cookie of a browser: it changes nothing in the queue
        method != "GET" && path != "/ui/session" && !(method == "POST" && NOT_AUDITED.contains(&path))
    };
    let mut tested = 0;
    for route in table().into_iter().filter(|route| changing(route.method, route.path)) {
        let place = format!("{} {}", route.method, route.path);
        let Change { path, body, action, target } = prepare(&api, route.method, route.path).await;
        let request = format!("request-{tested}");
        let headers = ["Content-Type: application/json", &format!("X-Request-Id: {request}")];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let headers = if body.is_null() { &headers[1..] } else { &headers[..] };
        let answer = api.send(route.method, &path, headers, text.as_bytes()).await;
        assert!((200..300).contains(&answer.status), "{place}: {answer:?}");
        let entries = api.entries(&format!("request_id={request}")).await;
        let entry = entries.iter().find(|entry| entry["action"] == action);
        let entry = entry.unwrap_or_else(|| panic!("{place}: no entry {action} in {entries:?}"));
        assert_eq!((&entry["actor"], &entry["via"]), (&json!("root"), &json!("api")), "{place}: {entry}");
        assert_eq!(
            (&entry["affected"], &entry["request_id"]),
            (&json!(1), &json!(request)),
            "{place}: {entry}"
        );
        assert!(entry["database_user"].is_string() && entry["key_id"].is_null(), "{place}: {entry}");
        if let Some(target) = target {
            assert_eq!(entry["target"], json!(target), "{place}: {entry}");
        } else {
            assert!(entry["filter"].is_object() || entry["after"].is_object(), "{place}: {entry}");
        }
        tested += 1;
    }
    assert!(tested >= 30, "{tested} routes");
}

/// Sends dry runs, bulk actions that match nothing, deletions of what does not exist, and requests that only read.
async fn change_nothing(api: &Api, schedule: &Value) {
    for (path, body) in [
        ("/v1/jobs/cancel", json!({ "filter": { "queue": ["later"] }, "dry_run": true })),
        ("/v1/jobs/retry", json!({ "filter": { "queue": ["nothing"] } })),
        ("/v1/queues/later/purge", json!({ "dry_run": true })),
        ("/v1/dead-letters/purge", json!({ "filter": { "all": true } })),
        ("/v1/workers/commands", json!({ "filter": { "name": "none" }, "command": "ping" })),
        ("/v1/schedules/preview", schedule.clone()),
        ("/v1/routes/test", json!({ "kind": "k" })),
    ] {
        let answer = api.post(path, &body).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    }
    for path in ["/v1/queues/none", "/v1/schedules/none", "/v1/routes/none"] {
        api.send("DELETE", path, &[], b"").await.expect(200);
    }
    assert_eq!(api.act("/v1/jobs/0198c1a2-3b4c-7d5e-8f60-718293a4b5c6/cancel").await.status, 404);
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_entry() {
    let api = Api::start().await;
    let create = json!({ "create": true });
    let schedule = json!({ "interval_seconds": 3600, "job": { "kind": "k" } });
    let route = json!({ "position": 1, "kind": "none.*", "on_end": { "url": "https://a.example/x", "secret": SECRET } });
    let (cancelled, running) = (api.later().await, api.enqueue_in("running").await);
    let lease = api.lease("running").await.unwrap();
    // everything twice: the second time it is so already
    for round in 0..2 {
        api.post("/v1/queues/a/pause", &create).await.expect(200);
        api.post("/v1/kinds/a/pause", &create).await.expect(200);
        api.patch_audited("/v1/queues/b", &json!({ "failed_retention_seconds": 60, "create": true }))
            .await
            .expect(200);
        api.patch_audited("/v1/kinds/b", &json!({ "timeout_seconds": 60, "create": true })).await.expect(200);
        api.put("/v1/schedules/a", &[], &schedule).await;
        api.act("/v1/schedules/a/pause").await.expect(200);
        api.put("/v1/routes/a", &[], &route).await;
        api.act(&format!("/v1/jobs/{cancelled}/cancel")).await.expect(200);
        api.act(&format!("/v1/jobs/{running}/cancel")).await.expect(202);
        api.patch_audited(&format!("/v1/jobs/{}", api.later().await), &json!({ "priority": 0 }))
            .await
            .expect(200);
        change_nothing(&api, &schedule).await;
        let entries = api.entries("limit=1000").await;
        let mut actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        actions.sort_unstable();
        let expected = [
            "jobs.cancel",
            "jobs.cancel",
            "kind.configure",
            "kind.create",
            "kind.create",
            "kind.pause",
            "queue.configure",
            "queue.create",
            "queue.create",
            "queue.pause",
            "route.put",
            "schedule.pause",
            "schedule.put",
        ];
        assert_eq!(actions, expected, "round {round}");
    }
    // what workers do
    let done = json!({ "outcome": "completed" });
    api.settle(done, &lease).await.expect(200);
    assert_eq!(api.entries("limit=1000").await.len(), 13);
    assert_eq!(api.entries(&format!("target={running}")).await[0]["action"], "jobs.cancel");
    let having = async |text: &str| {
        api.db
            .number(&format!("SELECT count(*) FROM jobqueue.audit_log a WHERE strpos(a::text, '{text}') > 0"))
            .await
    };
    assert_eq!(
        (having("whsec_").await, having(crate::bench::KEY).await, having("https://a.example/x").await),
        (0, 0, 1)
    );
}

#[tokio::test]
async fn an_entry_names_the_key_or_the_person_of_its_request() {
    let proxy = ProxySettings {
        proxies: vec!["127.0.0.0/8".parse().unwrap()],
        grants: vec!["sre=admin".parse().unwrap()],
        ..ProxySettings::default()
    };
    let api = Api::with(Settings { proxy, ..settings() }).await;
    let (id, text) = api.create_key(json!({ "name": "root-2", "scopes": ["admin"] })).await;
    for (name, caller) in [
        ("of-key", vec![format!("Authorization: Bearer {text}")]),
        (
            "of-person",
            ["X-Auth-Request-User: root", "X-Auth-Request-Groups: sre"].map(str::to_owned).to_vec(),
        ),
    ] {
        let headers = [caller, vec!["Content-Type: application/json".to_owned()]].concat();
        let path = format!("/v1/queues/{name}/pause");
        api.raw("POST", &path, &headers, br#"{"create":true}"#).await.expect(200);
    }
    let callers = async |target: &str| {
        let entries = api.entries(&format!("target={target}")).await;
        (entries[0]["actor"].clone(), entries[0]["key_id"].clone())
    };
    assert_eq!(callers("of-key").await, (json!("root-2"), json!(id)));
    assert_eq!(callers("of-person").await, (json!("user:root"), Value::Null));
}

#[tokio::test]
async fn settings_are_shown_before_and_after() {
    let api = Api::start().await;
    api.enqueue_in("mail").await;
    let set = |seconds: u32| json!({ "completed_retention_seconds": seconds });
    api.patch_audited("/v1/queues/mail", &set(60)).await.expect(200);
    api.patch_audited("/v1/queues/mail", &set(120)).await.expect(200);
    let entry = &api.entries("target=mail").await[0];
    assert_eq!(
        (&entry["before"]["completed_retention_seconds"], &entry["after"]["completed_retention_seconds"]),
        (&json!(60), &json!(120)),
        "{entry}"
    );
    let id =
        api.enqueue(json!({ "kind": "k", "queue": "mail", "payload": "old", "delay_seconds": 600 })).await;
    let edit = json!({ "priority": 3, "payload": "a secret", "queue": "other" });
    api.patch_audited(&format!("/v1/jobs/{id}"), &edit).await.expect(200);
    let entry = &api.entries(&format!("target={id}")).await[0];
    assert_eq!(entry["before"], json!({ "priority": 0, "payload": { "omitted_bytes": 5 }, "queue": "mail" }));
    assert_eq!(
        entry["after"],
        json!({ "priority": 3, "payload": { "omitted_bytes": 10 }, "queue": "other" })
    );
    let large = json!({ "interval_seconds": 3600, "job": { "kind": "k", "payload": "x".repeat(70_000) } });
    api.put("/v1/schedules/large", &[], &large).await.expect(201);
    let entry = &api.entries("target=large").await[0];
    assert!(entry["after"]["omitted_bytes"].as_u64().unwrap() > 70_000, "{entry}");
    assert_eq!(entry["before"], Value::Null);
}

#[tokio::test]
async fn the_log_is_paged_and_filtered() {
    let api = Api::start().await;
    let filter = json!({ "filter": { "queue": ["later"] } });
    let ids = [api.later().await, api.later().await, api.later().await];
    let answer = api.post("/v1/jobs/cancel", &filter).await;
    let request = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(answer.expect(200)["changed"], 3);
    let entry = &api.entries(&format!("request_id={request}")).await[0];
    assert_eq!(
        (&entry["filter"], &entry["affected"]),
        (&json!({ "queue": ["later"] }), &json!(3)),
        "{entry}"
    );
    assert_eq!(entry["target"], Value::Null);
    api.post("/v1/jobs/retry", &json!({ "ids": ids })).await.expect(200);
    let entry = &api.entries("action=jobs.retry").await[0];
    assert_eq!(entry["filter"]["ids"].as_array().unwrap().len(), 3, "{entry}");
    for queue in ["a", "b", "c"] {
        api.post(&format!("/v1/queues/{queue}/pause"), &json!({ "create": true })).await.expect(200);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/v1/audit?limit=2&action=queue.{cursor}")).await.expect(200);
        seen.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let actions: Vec<String> = seen.iter().map(|e| format!("{} {}", e["action"], e["target"])).collect();
    assert_eq!((actions.len(), actions[0].as_str()), (6, r#""queue.pause" "c""#), "{actions:?}");
    let at = seen[2]["at"].as_str().unwrap();
    let since = api.entries(&format!("action=queue.&since={at}")).await.len();
    let until = api.entries(&format!("action=queue.&until={at}")).await.len();
    assert!(since >= 3 && since + until == 6, "{since} since {at}, {until} before");
    assert_eq!(api.entries("actor=root&target=b&action=queue.pause").await.len(), 1);
    assert_eq!(api.entries("actor=other").await.len(), 0);
    for (query, problem) in [
        ("cursor=x", "invalid-cursor"),
        ("limit=0", "invalid-query"),
        ("since=yesterday", "invalid-query"),
        ("actor=%00", "invalid-query"),
        ("who=root", "invalid-query"),
    ] {
        assert_eq!(api.get(&format!("/v1/audit?{query}")).await.problem(400), problem, "{query}");
    }
}
