//! A job from its submission to its result.

use serde_json::{Value, json};

use crate::bench::Api;

#[tokio::test]
async fn a_job_is_stored_run_and_read_back() {
    let api = Api::start().await;
    let body = r#"{"kind":"email.send","queue":"mail","payload":{ "to":"a@b.c","n":18446744073709551616 },"priority":7,
        "tags":["x","é 😀"],"metadata":{"m":1},"timeout_seconds":30,"retry":{"strategy":"fixed","delay_seconds":2}}"#;
    let answer = api.post_text("/v1/jobs", body).await;
    let created = answer.expect(201);
    let id = created["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    assert!(
        answer.text.contains(r#""payload":{ "to":"a@b.c","n":18446744073709551616 }"#),
        "{}",
        answer.text
    );

    let read = api.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(read.expect(200), created, "the answer to a submission is what a reader finds");
    assert!(read.text.contains(r#"{ "to":"a@b.c","n":18446744073709551616 }"#), "{}", read.text);
    assert_eq!(created["status"], "queued");
    assert_eq!(created["tags"], json!(["x", "é 😀"]));

    let lease = api.lease("mail").await.unwrap();
    assert_eq!((&lease["job"]["id"], &lease["job"]["attempt"]), (&created["id"], &json!(1)));
    let running = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(running["status"], "running");
    assert!(running["lease_expires_at"].is_string());
    let settled = api.settle(json!({ "outcome": "completed", "result": {"sent": true} }), &lease).await;
    assert_eq!(settled.expect(200), json!({ "items": [{ "code": 200, "status": "completed" }] }));

    let done = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "sent": true })));
    assert!(done["finished_at"].is_string());
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await.expect(200);
    assert_eq!(attempts["attempts"][0]["ended"], "completed");
    let events = api.get(&format!("/v1/jobs/{id}/events")).await.expect(200);
    let names: Vec<&Value> =
        events["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["created", "started", "completed"]);
}

#[tokio::test]
async fn a_delayed_job_has_its_start_time() {
    let api = Api::start().await;
    let answer = api.post("/v1/jobs", &json!({ "kind": "k", "delay_seconds": 3600 })).await.expect(201);
    assert_eq!(answer["status"], "scheduled");
    let id = answer["id"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200), answer);
    assert!(answer["run_at"].is_string());
    let at = json!({ "kind": "k", "run_at": "2099-01-31T09:00:00+01:00" });
    assert_eq!(api.post("/v1/jobs", &at).await.expect(201)["run_at"], "2099-01-31T08:00:00Z");
}

#[tokio::test]
async fn every_json_value_is_a_payload_and_null_is_not_missing() {
    let api = Api::start().await;
    for payload in [
        "null",
        "0",
        "-0.0",
        "1E400000".get(..3).unwrap(),
        "\"\\ud83d\\ude00 😀\"",
        "[ ]",
        "{\"a\" : [1.10]}",
    ] {
        let answer = api.post_text("/v1/jobs", &format!(r#"{{"kind":"k","payload":{payload}}}"#)).await;
        assert_eq!(answer.status, 201, "{payload}: {answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let read = api.get(&format!("/v1/jobs/{id}")).await;
        assert!(read.text.contains(&format!("\"payload\":{payload},")), "{payload}: {}", read.text);
    }
    let absent = api.post("/v1/jobs", &json!({ "kind": "k" })).await.expect(201);
    assert_eq!(absent["payload"], json!({}));
}

#[tokio::test]
async fn the_trace_of_the_request_is_stored_unless_the_body_names_one() {
    let api = Api::start().await;
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    let json = "Content-Type: application/json";
    let sent = |header: String, body: Value| {
        let api = &api;
        async move {
            let answer = api.send("POST", "/v1/jobs", &[json, &header], body.to_string().as_bytes()).await;
            answer.expect(201)["traceparent"].clone()
        }
    };
    assert_eq!(sent(format!("traceparent: {header}"), json!({ "kind": "k" })).await, header);
    assert_eq!(sent(format!("traceparent: {header}"), json!({ "kind": "k", "traceparent": own })).await, own);
    assert_eq!(sent("traceparent: nonsense".to_owned(), json!({ "kind": "k" })).await, Value::Null);
}

#[tokio::test]
async fn a_unique_key_returns_rejects_or_replaces() {
    let api = Api::start().await;
    let body =
        |on_conflict: &str| json!({ "kind": "k", "unique": { "key": "u", "on_conflict": on_conflict } });
    let first = api.post("/v1/jobs", &body("return")).await.expect(201);
    let again = api.post("/v1/jobs", &body("return")).await;
    assert_eq!(again.expect(200)["id"], first["id"]);
    assert_eq!(
        again.header("location"),
        Some(format!("/v1/jobs/{}", first["id"].as_str().unwrap()).as_str())
    );
    let rejected = api.post("/v1/jobs", &body("reject")).await;
    assert_eq!(rejected.problem(409), "unique-conflict");
    assert_eq!(rejected.json()["job_id"], first["id"]);
    let replaced = api.post("/v1/jobs", &body("replace")).await.expect(201);
    assert_ne!(replaced["id"], first["id"]);
    assert_eq!(api.status(first["id"].as_str().unwrap()).await, "cancelled");
    assert_eq!(api.count().await, 2);
}

#[tokio::test]
async fn valid_request_ids_are_returned_and_others_replaced() {
    let api = Api::start().await;
    let id = |header: &'static str| {
        let api = &api;
        async move {
            let answer = api.send("GET", "/health", &[header], b"").await;
            answer.header("x-request-id").unwrap().to_owned()
        }
    };
    assert_eq!(id("x-request-id: abc-1.2_3").await, "abc-1.2_3");
    for odd in ["x-request-id: a b", "x-request-id: <script>", "x-request-id:", "x-request-id: \u{e9}"] {
        assert_eq!(id(odd).await.len(), 36, "{odd}");
    }
}
