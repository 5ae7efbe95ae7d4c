//! GET /v1/jobs/{id}/explain and /v1/schedules/{name}/explain: the causes as clients see them.

use serde_json::{Value, json};

use crate::bench::Api;

async fn explained(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/jobs/{id}/explain")).await.expect(200)
}

#[tokio::test]
async fn each_reason_has_a_code_a_message_a_resolution_and_facts() {
    let api = Api::start().await;
    let id = api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 3600 })).await;
    api.act("/v1/queues/q/pause").await.expect(200);
    let answer = explained(&api, &id).await;
    assert_eq!((&answer["id"], &answer["verdict"]), (&json!(id), &json!("waits")));
    let reasons = answer["reasons"].as_array().unwrap();
    let codes: Vec<&str> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["scheduled_until", "census_old", "queue_paused", "no_worker"]);
    assert_eq!(answer["summary"], reasons[0]["message"]);
    let job = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(reasons[0]["facts"], json!({ "run_at": job["run_at"] }));
    assert_eq!(reasons[1]["facts"], json!({ "taken_at": null, "limit_seconds": 60 }));
    assert_eq!(reasons[2]["facts"]["queue"], "q");
    assert_eq!(reasons[2]["resolution"], "Resume queue `q`.");
    assert_eq!(
        reasons[3]["facts"],
        json!({ "queue": "q", "kind": "k", "queue_workers": 0, "last_worker": null, "last_seen_at": null })
    );
}

#[tokio::test]
async fn a_job_that_runs_or_has_ended_says_so() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    let running = explained(&api, &id).await;
    assert_eq!((&running["verdict"], &running["running"]["attempt"]), (&json!("running"), &json!(1)));
    assert!(running["running"]["lease_expires_at"].is_string(), "{running}");
    assert_eq!((&running["reasons"], &running["ended"]), (&json!([]), &json!(null)));
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    let ended = explained(&api, &id).await;
    assert_eq!((&ended["verdict"], &ended["ended"]["status"]), (&json!("ended"), &json!("completed")));
}

#[tokio::test]
async fn a_job_for_which_a_remote_worker_asked_can_start() {
    let api = Api::start().await;
    assert_eq!(api.lease("q").await, None, "the worker is known from now on");
    let id = api.enqueue_in("q").await;
    let answer = explained(&api, &id).await;
    assert_eq!((&answer["verdict"], &answer["reasons"]), (&json!("can_start"), &json!([])), "{answer}");
}

#[tokio::test]
async fn a_schedule_says_why_it_enqueues_no_job() {
    let api = Api::start().await;
    let spec =
        json!({ "interval_seconds": 3600, "overlap": "queue_one", "job": { "kind": "k", "queue": "q" } });
    api.put("/v1/schedules/s", &[], &spec).await.expect(201);
    api.act("/v1/schedules/s/pause").await.expect(200);
    let answer = api.get("/v1/schedules/s/explain").await.expect(200);
    assert_eq!((&answer["schedule"], &answer["verdict"]), (&json!("s"), &json!("waits")));
    let reasons = answer["reasons"].as_array().unwrap();
    let codes: Vec<&str> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["schedule_paused", "census_old", "no_worker"]);
    assert_eq!(reasons[0]["resolution"], "Resume schedule `s`.");
    assert_eq!(reasons[2]["facts"]["queue"], "q");
    let id = api.enqueue_in("q").await;
    api.db
        .execute(&format!(
            "UPDATE jobqueue.schedule SET paused_at = NULL, waiting_at = now(), last_job_id = '{id}'"
        ))
        .await;
    let overlap = api.get("/v1/schedules/s/explain").await.expect(200)["reasons"][0].clone();
    assert_eq!((&overlap["code"], &overlap["facts"]["previous_job"]), (&json!("overlap"), &json!(id)));
    assert_eq!(api.get("/v1/schedules/none/explain").await.problem(404), "not-found");
}
