//! Commands to workers: what may be sent, and how a remote worker receives and acknowledges them.

use serde_json::{Value, json};

use crate::bench::Api;

async fn beat(api: &Api, worker: Value) -> Value {
    api.post("/v1/leases/heartbeat", &json!({ "worker": worker })).await.expect(200)
}

#[tokio::test]
async fn a_remote_worker_reports_itself_and_carries_out_commands() {
    let api = Api::start().await;
    let id = api.register_worker("snake", "q").await;
    let path = format!("/v1/workers/{id}");
    let silent = api.get(&path).await.expect(200);
    assert_eq!(
        (&silent["slots"], &silent["slots_free"], &silent["host"]),
        (&json!(null), &json!(null), &json!(null))
    );
    let report = json!({
        "name": "snake", "host": "h1", "version": "2.1", "language": "python", "slots": 4, "rss_bytes": 1000, "jobs_per_minute": 9,
        "draining": true, "paused": true,
    });
    assert_eq!(beat(&api, report.clone()).await, json!({ "leases": [], "commands": [] }));
    let shown = api.get(&path).await.expect(200);
    for field in
        ["name", "host", "version", "language", "slots", "rss_bytes", "jobs_per_minute", "draining", "paused"]
    {
        assert_eq!(shown[field], report[field], "{field}");
    }
    assert_eq!((&shown["queues"], &shown["slots_free"]), (&json!(["q"]), &json!(4)));

    let sent =
        api.post(&format!("{path}/commands"), &json!({ "command": "resize", "slots": 8 })).await.expect(202);
    assert_eq!((&sent["status"], &sent["worker_id"]), (&json!("pending"), &json!(id)));
    let delivered = json!([{ "id": sent["id"], "command": "resize", "arguments": { "slots": 8 } }]);
    for _ in 0..2 {
        assert_eq!(
            beat(&api, json!({ "name": "snake" })).await["commands"],
            delivered,
            "until it is acknowledged"
        );
    }
    let listed = async || api.get(&format!("{path}/commands")).await.expect(200)["commands"][0].clone();
    assert_eq!(listed().await["status"], "delivered");
    let answer = json!({ "name": "snake", "answers": [{ "id": sent["id"], "result": { "slots": 8 } }] });
    for _ in 0..2 {
        assert_eq!(beat(&api, answer.clone()).await["commands"], json!([]), "an answer may be repeated");
    }
    let done = listed().await;
    assert_eq!(
        (&done["status"], &done["result"], &done["error"]),
        (&json!("acknowledged"), &json!({ "slots": 8 }), &json!(null))
    );
}

#[tokio::test]
async fn a_stale_lease_does_not_hide_commands() {
    let api = Api::start().await;
    let id = api.register_worker("snake", "q").await;
    api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    api.post(&format!("/v1/workers/{id}/commands"), &json!({ "command": "ping" })).await.expect(202);
    let body = json!({ "leases": [lease["lease"]], "worker": { "name": "snake" } });
    let answer = api.post("/v1/leases/heartbeat", &body).await.expect(200);
    assert_eq!(
        (&answer["leases"][0]["status"], &answer["commands"][0]["command"]),
        (&json!("stale"), &json!("ping"))
    );
}

#[tokio::test]
async fn invalid_commands_and_filters_name_every_field() {
    let api = Api::start().await;
    let id = api.register_worker("snake", "q").await;
    let one = format!("/v1/workers/{id}/commands");
    let all = "/v1/workers/commands";
    let refused = async |path: &str, body: Value, pointers: &[&str]| {
        let answer = api.post(path, &body).await;
        assert_eq!(answer.problem(422), "invalid-body", "{body}");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(found, pointers, "{body}");
    };
    refused(&one, json!({ "command": "explode" }), &["/command"]).await;
    refused(&one, json!({ "command": "ping", "slots": 3 }), &["/slots"]).await;
    refused(&one, json!({ "command": "resize", "slots": 10_001 }), &["/slots"]).await;
    refused(all, json!({ "filter": {}, "command": "explode" }), &["/filter", "/command"]).await;
    refused(all, json!({ "filter": { "all": true, "queue": "q" }, "command": "ping" }), &["/filter/all"])
        .await;
    refused(all, json!({ "filter": { "name": "" }, "command": "ping" }), &["/filter/name"]).await;
    let bad = json!({ "name": "snake", "slots": 0, "host": "", "answers": [{ "id": 1, "result": 1, "error": "x" }] });
    let pointers = ["/worker/host", "/worker/slots", "/worker/answers/0"];
    refused("/v1/leases/heartbeat", json!({ "worker": bad }), &pointers).await;
    refused("/v1/leases/heartbeat", json!({}), &["/leases"]).await;
    assert_eq!(api.get(&one).await.expect(200)["commands"], json!([]), "nothing was sent");

    let unknown = "/v1/workers/0198c1a2-3b4c-4d5e-8f60-718293a4b5c6";
    assert_eq!(api.get(unknown).await.problem(404), "not-found");
    assert_eq!(
        api.post(&format!("{unknown}/commands"), &json!({ "command": "ping" })).await.problem(404),
        "not-found"
    );
    assert_eq!(api.get("/v1/workers/ada").await.problem(400), "invalid-path");
    for _ in 0..100 {
        api.post(&one, &json!({ "command": "ping" })).await.expect(202);
    }
    assert_eq!(api.post(&one, &json!({ "command": "ping" })).await.problem(429), "too-busy");
    let many = api.post(all, &json!({ "filter": { "all": true }, "command": "ping" })).await.expect(202);
    assert_eq!(
        (&many["matched"], &many["sent"], &many["workers"][0]["command_id"]),
        (&json!(1), &json!(0), &json!(null))
    );
}
