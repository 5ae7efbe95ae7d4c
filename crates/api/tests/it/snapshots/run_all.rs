//! Runs every job of an upgraded database to its end.

use std::time::Duration;

use jobqueue_testkit::Clock;
use serde_json::{Value, json};

use super::Answers;
use crate::bench::Api;

/// First the ends of what ran during the upgrade arrive. Then its other leases lapse, and every job is run again if the rules allow it.
pub(super) async fn run_all(api: &Api, clock: &Clock, answers: &Answers) {
    for held in &answers.held {
        let item = json!({ "lease": held.lease, "outcome": "completed", "result": "after the upgrade" });
        let settled = api.post("/v1/leases/settle", &json!({ "items": [item] })).await.expect(200);
        assert_eq!(settled["items"][0]["status"], "completed", "{}: {settled}", held.id);
    }
    while api.get("/v1/jobs?status=running").await.expect(200)["jobs"] != json!([]) {
        clock.advance(Duration::from_mins(10));
        api.store.reclaim(Duration::ZERO, 1000).await.unwrap();
        assert!(clock.ahead() < Duration::from_hours(5), "leases lapse");
    }
    let queues = api.get("/v1/queues?limit=1000").await.expect(200);
    let queues: Vec<&Value> =
        queues["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    for queue in &queues {
        api.act(&format!("/v1/queues/{}/resume", queue.as_str().unwrap())).await.expect(200);
    }
    api.post("/v1/jobs/promote", &json!({ "filter": { "status": ["scheduled"] } })).await.expect(200);
    let finals = json!({ "filter": { "status": ["failed", "cancelled"] } });
    let retried = api.post("/v1/jobs/retry", &finals).await.expect(200);
    let expired = retried["failures"].as_array().unwrap();
    assert!(expired.len() == 1 && expired[0]["code"] == "job-expired", "{retried}");

    let wanted = json!({ "queues": queues, "limit": 100 });
    loop {
        let leases = api.post("/v1/leases", &wanted).await.expect(200);
        let end = |lease: &Value| json!({ "lease": lease["lease"], "outcome": "completed" });
        let items: Vec<Value> = leases["leases"].as_array().unwrap().iter().map(end).collect();
        if items.is_empty() {
            break;
        }
        let settled = api.post("/v1/leases/settle", &json!({ "items": items })).await.expect(200);
        for item in settled["items"].as_array().unwrap() {
            assert_eq!(item["status"], "completed", "{settled}");
        }
    }
    let done = api.get("/v1/jobs?status=completed&limit=1000").await.expect(200);
    assert_eq!(done["jobs"].as_array().unwrap().len(), answers.jobs.len() - expired.len());
}
