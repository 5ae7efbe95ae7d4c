//! Queues with `max_queued` over REST.

use serde_json::{Value, json};

use crate::bench::Api;

impl Api {
    async fn limit(&self, queue: &str, max_queued: &Value) -> crate::client::Answer {
        let body = json!({ "create": true, "max_queued": max_queued }).to_string();
        let path = format!("/v1/queues/{queue}");
        self.send("PATCH", &path, &["Content-Type: application/json"], body.as_bytes()).await
    }
}

#[tokio::test]
async fn a_full_queue_is_answered_with_429_and_when_to_try_again() {
    let api = Api::start().await;
    assert_eq!(api.limit("q", &json!(2)).await.expect(200)["max_queued"], 2);
    let job = json!({ "kind": "k", "queue": "q" });
    // the change holds from its answer on
    api.post("/v1/jobs", &job).await.expect(201);
    let batch = |atomic: bool| json!({ "atomic": atomic, "jobs": [&job, &job] });
    let refused = api.post("/v1/jobs/batch", &batch(true)).await;
    assert_eq!(refused.problem(429), "queue-full");
    let items = api.post("/v1/jobs/batch", &batch(false)).await.expect(200);
    assert_eq!((&items["items"][0]["status"], &items["items"][1]["status"]), (&json!(201), &json!(429)));
    assert_eq!(items["items"][1]["problem"]["retry_after_seconds"], 30);

    let refused = api.post("/v1/jobs", &job).await;
    assert_eq!(refused.problem(429), "queue-full");
    assert_eq!(refused.header("retry-after"), Some("30"), "no attempt of the queue has ended yet");
    assert_eq!(refused.json()["queue"], "q");
    api.post("/v1/jobs", &json!({ "kind": "k", "queue": "q", "delay_seconds": 60 })).await.expect(201);
    let scraped = api.registry.gather();
    let rejected = scraped.iter().find(|family| family.name() == "api_rejected_total").unwrap();
    let of_queues = rejected
        .get_metric()
        .iter()
        .find(|metric| metric.get_label().iter().any(|label| label.value() == "max_queued"))
        .unwrap();
    assert!((of_queues.get_counter().get_value() - 3.0).abs() < 0.1, "three requests");

    assert_eq!(api.limit("q", &Value::Null).await.expect(200)["max_queued"], Value::Null);
    api.post("/v1/jobs", &job).await.expect(201);
    for wrong in [json!(-1), json!(1_000_000_001), json!("1"), json!(1.5)] {
        assert_eq!(api.limit("q", &wrong).await.problem(422), "invalid-body", "{wrong}");
    }
}
