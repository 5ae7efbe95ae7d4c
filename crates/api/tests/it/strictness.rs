//! Every route of the OpenAPI document is equally strict: unknown query parameters and unexpected bodies are rejected,
//! and change nothing.

use jobqueue_api::{openapi, table};
use serde_json::{Value, json};

use crate::bench::Api;

/// No group of dead letters and no redrive.
const UNKNOWN: &str = "0198c1a2-3b4c-4d5e-8f60-718293a4b5c6";
const JSON: &str = "Content-Type: application/json";
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    body: bool,
    query: Vec<String>,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter(|parameter| parameter["in"] == "query");
            all.push(Operation {
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                body: operation.get("requestBody").is_some(),
                query: names.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    all
}

/// Creates a queue `q` with a waiting job a schedule `q` without ticks and a route `q`, and returns a function that fills both into a path of the document.
async fn with_a_job() -> (Api, impl Fn(&str) -> String) {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    api.put_schedule("q").await;
    api.put_route("q").await;
    let worker = api.register_worker("ada", "other").await;
    let (key, _) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    let fill = move |path: &str| {
        let path = path.replace("{id}", &id).replace("{name}", "q").replace("{worker_id}", &worker);
        path.replace("{group}", UNKNOWN).replace("{redrive_id}", UNKNOWN).replace("{key_id}", &key)
    };
    (api, fill)
}

async fn assert_untouched(api: &Api) {
    let page = api.get("/v1/jobs").await.expect(200);
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(page["jobs"][0]["status"], "queued");
    assert_eq!(api.get("/v1/queues/q").await.expect(200)["paused"], false);
}

#[tokio::test]
async fn every_route_rejects_unknown_query_parameters() {
    let (api, fill) = with_a_job().await;
    for Operation { method, path, body, .. } in operations() {
        let body: &[u8] = if body { b"{}" } else { b"" };
        for query in ["x=1", "dry_run=true", "Limit=1", "wait%00=1", "x"] {
            let answer = api.send(&method, &format!("{}?{query}", fill(&path)), &[JSON], body).await;
            assert_eq!(answer.problem(400), "invalid-query", "{method} {path}?{query}");
            let name = answer.json()["errors"][0]["parameter"].clone();
            assert!(name.as_str().is_some_and(|name| query.starts_with(&name[..1])), "{answer:?}");
        }
        if method == "GET" {
            assert_eq!(
                api.send("HEAD", &format!("{}?x=1", fill(&path)), &[], b"").await.status,
                400,
                "{path}"
            );
        }
    }
    for alias in table().into_iter().filter(|route| route.path.ends_with('/')) {
        assert_eq!(api.get(&format!("{}?x=1", alias.path)).await.problem(400), "invalid-query");
    }
    assert_untouched(&api).await;
}

#[tokio::test]
async fn every_route_rejects_unknown_content() {
    let (api, fill) = with_a_job().await;
    for Operation { method, path, body, .. } in operations() {
        let place = format!("{method} {path}");
        let path = fill(&path);
        for content in [r#"{"x":1}"#, r#"{"dry_run_":true}"#, "[1]", r#""x""#] {
            let answer = api.send(&method, &path, &[JSON], content.as_bytes()).await;
            assert_eq!(answer.problem(422), "invalid-body", "{place} {content}");
        }
        if body {
            continue;
        }
        for (headers, content) in [
            (vec![], "{"),
            (vec![JSON], "{} {}"),
            (vec!["Content-Type: text/plain"], "x"),
            (vec![CHUNKED], "1\r\nx\r\n0\r\n\r\n"),
        ] {
            let answer = api.send(&method, &path, &headers, content.as_bytes()).await;
            assert_eq!(answer.problem(422), "invalid-body", "{place} {headers:?} {content}");
        }
    }
    assert_untouched(&api).await;
}

#[tokio::test]
async fn an_empty_body_is_no_body() {
    let (api, fill) = with_a_job().await;
    api.send("POST", "/v1/kinds/q/resume", &[JSON], br#"{"create":true}"#).await.expect(200);
    for Operation { method, path, body, .. } in operations() {
        let has_jobs = path.starts_with("/v1/queues") || path == "/v1/jobs/{id}";
        let runs = path.ends_with("/run");
        let is_unknown =
            ["{group}", "{redrive_id}", "dead-letters/{id}"].iter().any(|part| path.contains(part));
        let path = fill(&path);
        if body || path.contains("/v1/jobs/") && method == "POST" {
            continue;
        }
        // a queue with jobs and a job that waits are not deleted: the refusal of the route itself
        let served = match method.as_str() {
            "DELETE" if has_jobs => 409,
            // the job is no dead letter
            _ if is_unknown => 404,
            "POST" if runs => 201,
            _ => 200,
        };
        api.put_schedule("q").await;
        api.put_route("q").await;
        for (headers, content) in [
            (vec![], ""),
            (vec!["Content-Length: 0"], ""),
            (vec!["Content-Length: 0", "Content-Type: application/x-www-form-urlencoded"], ""),
            (vec![CHUNKED], "0\r\n\r\n"),
            (vec![JSON], "{}"),
            (vec![JSON], " { }\n"),
        ] {
            let answer = api.send(&method, &path, &headers, content.as_bytes()).await;
            assert_eq!(answer.status, served, "{method} {path} {headers:?}");
        }
        assert_eq!(api.send(&method, &format!("{path}?"), &[], b"").await.status, served, "an empty query");
    }
}

#[test]
fn the_document_agrees_with_the_routes() {
    for Operation { method, path, body, query } in operations() {
        let row = table().into_iter().find(|row| row.method == method && row.path == path).unwrap();
        assert_eq!(row.accepts.body_bytes.is_some(), body, "{method} {path}");
        assert_eq!(row.accepts.query, query, "{method} {path}");
    }
}

#[tokio::test]
async fn a_dry_purge_only_counts() {
    let (api, _) = with_a_job().await;
    api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 3600 })).await;
    // a job that waits for another one waits as well, and a purge deletes it
    api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 3600 })).await;
    let block = "UPDATE jobqueue.scheduled SET pending = 1 WHERE job_id = (SELECT max(job_id::text)::uuid FROM jobqueue.scheduled)";
    api.db.execute(block).await;
    let running = api.lease("q").await.unwrap();
    api.enqueue_in("q").await;
    let dry = api.post("/v1/queues/q/purge", &json!({ "dry_run": true })).await.expect(200);
    let as_of = &dry["as_of"];
    assert_eq!(
        dry,
        json!({ "dry_run": true, "matched": 3, "exact": true, "as_of": as_of, "purged": 0, "more": false })
    );
    assert_eq!(api.count().await, 4);
    let some = api.post("/v1/queues/q/purge", &json!({ "limit": 1 })).await.expect(200);
    assert_eq!(
        some,
        json!({ "dry_run": false, "matched": 1, "exact": true, "as_of": null, "purged": 1, "more": true })
    );
    for limit in [0, 100_001] {
        let refused = api.post("/v1/queues/q/purge", &json!({ "limit": limit })).await;
        assert_eq!(refused.problem(422), "invalid-body", "{limit}");
    }
    // a job that came after the dry run is spared
    let later = api.enqueue_in("q").await;
    let bounded = json!({ "created_before": as_of });
    let confirmed = api.post("/v1/queues/q/purge", &bounded).await.expect(200);
    assert_eq!(
        (&confirmed["purged"], api.count().await),
        (&json!(2), 2),
        "the running job and the later one stay"
    );
    assert_eq!(api.get(&format!("/v1/jobs/{later}")).await.expect(200)["status"], "queued");
    let refused = api.post("/v1/queues/q/purge", &json!({ "created_before": "soon" })).await;
    assert_eq!(refused.problem(422), "invalid-body");
    let empty = api.send("POST", "/v1/queues/q/purge", &["Content-Length: 0"], b"").await.expect(200);
    assert_eq!(
        empty,
        json!({ "dry_run": false, "matched": 1, "exact": true, "as_of": null, "purged": 1, "more": false })
    );
    assert_eq!(api.count().await, 1, "the running job stays");
    api.settle(json!({ "outcome": "completed" }), &running).await.expect(200);
    let none = api.post("/v1/queues/q/purge", &json!({ "dry_run": false })).await.expect(200);
    assert_eq!(none["purged"], 0);
    let unknown = api.post("/v1/queues/none/purge", &json!({ "dry_run": true })).await;
    assert_eq!(unknown.problem(404), "not-found");
}
