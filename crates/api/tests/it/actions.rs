//! Actions of operators on one job, on many jobs, and on queues.

use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;

#[tokio::test]
async fn a_waiting_job_is_cancelled_and_retried_and_both_may_be_repeated() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    for _ in 0..2 {
        assert_eq!(api.act(&format!("/v1/jobs/{id}/cancel")).await.expect(200)["status"], "cancelled");
    }
    assert!(api.lease("q").await.is_none(), "a cancelled job never starts");
    for _ in 0..2 {
        assert_eq!(api.act(&format!("/v1/jobs/{id}/retry")).await.expect(200)["status"], "queued");
    }
    assert_eq!(api.lease("q").await.unwrap()["job"]["id"], id);
}

#[tokio::test]
async fn a_scheduled_job_is_promoted() {
    let api = Api::start().await;
    let id = api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 3600 })).await;
    assert!(api.lease("q").await.is_none());
    for _ in 0..2 {
        assert_eq!(api.act(&format!("/v1/jobs/{id}/promote")).await.expect(200)["status"], "queued");
    }
    assert_eq!(api.lease("q").await.unwrap()["job"]["id"], id);
}

#[tokio::test]
async fn a_retry_whose_unique_key_is_taken_is_rejected() {
    let api = Api::start().await;
    let body = json!({ "kind": "k", "unique": { "key": "u" } });
    let first = api.enqueue(body.clone()).await;
    api.act(&format!("/v1/jobs/{first}/cancel")).await.expect(200);
    api.enqueue(body).await;
    assert_eq!(api.act(&format!("/v1/jobs/{first}/retry")).await.problem(409), "unique-conflict");
}

#[tokio::test]
async fn many_jobs_at_once() {
    let api = Api::start().await;
    let mut waiting = Vec::new();
    for n in 0..3 {
        waiting.push(api.enqueue(json!({ "kind": "k", "queue": "w", "tags": ["t", format!("n{n}")] })).await);
    }
    let other = api.enqueue_in("other").await;
    let failed = api.ended(Outcome::Discarded(Failure::new("x", "y"))).await;

    let filter = json!({ "queue": ["w"] });
    let dry = api.post("/v1/jobs/cancel", &json!({ "filter": filter, "dry_run": true })).await.expect(200);
    assert_eq!((&dry["matched"], &dry["changed"], &dry["dry_run"]), (&json!(3), &json!(0), &json!(true)));
    assert_eq!(ids(&dry["ids"]), sorted(&waiting));
    assert_eq!(api.status(&waiting[0]).await, "queued", "a dry run changes nothing");

    let two = api.post("/v1/jobs/cancel", &json!({ "filter": filter, "limit": 2 })).await.expect(200);
    assert_eq!((&two["changed"], &two["more"]), (&json!(2), &json!(true)));
    let rest = api.post("/v1/jobs/cancel", &json!({ "filter": filter })).await.expect(200);
    assert_eq!((&rest["changed"], &rest["more"]), (&json!(1), &json!(false)));
    assert_eq!(api.status(&other).await, "queued");

    let all = json!({ "filter": { "status": ["failed", "queued"] } });
    let retried = api.post("/v1/jobs/retry", &all).await.expect(200);
    assert_eq!(ids(&retried["ids"]), [failed]);
    assert_eq!(retried["failures"], json!([{ "id": other, "status": 409, "code": "wrong-status" }]));
    let tagged = api.post("/v1/jobs/retry", &json!({ "filter": { "tag": ["t", "n1"] } })).await.expect(200);
    assert_eq!(ids(&tagged["ids"]), [waiting[1].clone()]);

    let later = api.enqueue(json!({ "kind": "later", "delay_seconds": 60 })).await;
    let promoted =
        api.post("/v1/jobs/promote", &json!({ "filter": { "kind": ["later"] } })).await.expect(200);
    assert_eq!((ids(&promoted["ids"]), api.status(&later).await), (vec![later], "queued".to_owned()));
}

#[tokio::test]
async fn queues_pause_resume_purge_and_keep_settings() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 60 })).await;
    let queue = api.get("/v1/queues/q").await.expect(200);
    assert_eq!(
        (&queue["queued"], &queue["scheduled"], &queue["paused"]),
        (&json!(1), &json!(1), &json!(false))
    );

    assert_eq!(api.act("/v1/queues/q/pause").await.expect(200)["paused"], true);
    assert_eq!(api.act("/v1/queues/q/pause").await.expect(200)["paused"], true);
    assert!(api.lease("q").await.is_none(), "a paused queue gives nothing");
    assert_eq!(api.act("/v1/queues/q/resume").await.expect(200)["paused"], false);
    let lease = api.lease("q").await.unwrap();
    assert_eq!(api.get("/v1/queues/q").await.expect(200)["running"], 1);

    let patch = |body: Value| {
        let api = &api;
        async move {
            let text = body.to_string();
            api.send("PATCH", "/v1/queues/q", &["Content-Type: application/json"], text.as_bytes())
                .await
                .expect(200)
        }
    };
    assert_eq!(patch(json!({ "failed_retention_seconds": 60 })).await["failed_retention_seconds"], 60.0);
    let both = patch(json!({ "completed_retention_seconds": 5 })).await;
    assert_eq!(
        (&both["completed_retention_seconds"], &both["failed_retention_seconds"]),
        (&json!(5.0), &json!(60.0))
    );
    assert_eq!(
        patch(json!({ "failed_retention_seconds": null })).await["failed_retention_seconds"],
        Value::Null
    );

    let gone = api.act("/v1/queues/q/purge").await.expect(200);
    assert_eq!(
        gone,
        json!({ "dry_run": false, "matched": 1, "exact": true, "as_of": null, "purged": 1, "more": false })
    );
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    let names = api.get("/v1/queues").await.expect(200);
    assert_eq!(names["queues"][0]["name"], "q");
}

fn ids(ids: &Value) -> Vec<String> {
    let ids: Vec<String> = serde_json::from_value(ids.clone()).unwrap();
    sorted(&ids)
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

/// A misspelt name must not create and pause a new queue while the intended one continues.
#[tokio::test]
async fn a_queue_that_does_not_exist_is_created_only_if_the_request_says_so() {
    let api = Api::start().await;
    let send = async |method: &str, path: &str, body: &str| {
        api.send(method, path, &["Content-Type: application/json"], body.as_bytes()).await
    };
    for (method, path, body) in [
        ("POST", "/v1/queues/none/pause", "{}"),
        ("POST", "/v1/queues/none/resume", r#"{"create":false}"#),
        ("PATCH", "/v1/queues/none", r#"{"failed_retention_seconds":60}"#),
    ] {
        assert_eq!(send(method, path, body).await.problem(404), "not-found", "{method} {path}");
    }
    assert_eq!(api.act("/v1/queues/none/pause").await.problem(404), "not-found");
    assert_eq!(api.db.number("SELECT count(*) FROM jobqueue.queue").await, 0);
    let made = send("POST", "/v1/queues/a/pause", r#"{"create":true}"#).await.expect(200);
    assert_eq!(made["paused"], true);
    assert_eq!(send("POST", "/v1/queues/b/resume", r#"{"create":true}"#).await.expect(200)["paused"], false);
    let made =
        send("PATCH", "/v1/queues/c", r#"{"create":true,"failed_retention_seconds":60}"#).await.expect(200);
    assert_eq!(made["failed_retention_seconds"], 60.0);
    assert_eq!(send("POST", "/v1/queues/a/pause", r#"{"create":1}"#).await.problem(422), "invalid-body");
}

#[tokio::test]
async fn a_queue_is_deleted_once_it_has_no_jobs_that_wait_or_run() {
    let api = Api::start().await;
    let delete = async |path: &str| api.send("DELETE", path, &[], b"").await;
    assert_eq!(delete("/v1/queues/q").await.expect(200), json!({ "deleted": false, "purged": 0 }));
    let done = api.ended(Outcome::Completed(None)).await;
    api.enqueue_in("q").await;
    api.enqueue(json!({ "kind": "k", "queue": "q", "delay_seconds": 60 })).await;
    let lease = api.lease("q").await.unwrap();
    for path in ["/v1/queues/q", "/v1/queues/q?force=false"] {
        let refused = delete(path).await;
        let counts = ["queued", "scheduled", "running"].map(|count| refused.json()[count].clone());
        assert_eq!(refused.problem(409), "queue-not-empty");
        assert_eq!(counts, [json!(0), json!(1), json!(1)]);
    }
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    assert_eq!(delete("/v1/queues/q?force=true").await.expect(200), json!({ "deleted": true, "purged": 1 }));
    assert_eq!(delete("/v1/queues/q").await.expect(200)["deleted"], false);
    assert_eq!(api.get("/v1/queues/q").await.problem(404), "not-found");
    assert_eq!(api.get("/v1/queues").await.expect(200)["queues"], json!([]));
    assert_eq!(api.act("/v1/queues/q/purge").await.problem(404), "not-found");
    let job = api.get(&format!("/v1/jobs/{done}")).await.expect(200);
    assert_eq!((&job["queue"], &job["status"]), (&json!("q"), &json!("completed")));
    api.enqueue_in("q").await;
    assert_eq!(api.get("/v1/queues/q").await.expect(200)["queued"], 1);
    for (path, status) in
        [("/v1/queues/q?force=1", 400), ("/v1/queues/q?forced=true", 400), ("/v1/queues/a%20b", 400)]
    {
        delete(path).await.problem(status);
    }
    assert_eq!(api.get("/v1/queues/q").await.expect(200)["queued"], 1);
}

#[tokio::test]
async fn a_kind_is_paused_and_configured_for_its_jobs() {
    let api = Api::start().await;
    let send = async |method: &str, path: &str, body: &str| {
        api.send(method, path, &["Content-Type: application/json"], body.as_bytes()).await
    };
    assert_eq!(send("POST", "/v1/kinds/none/pause", "{}").await.problem(404), "not-found");
    assert_eq!(send("PATCH", "/v1/kinds/none", r#"{"timeout_seconds":1}"#).await.problem(404), "not-found");
    assert_eq!(api.get("/v1/kinds").await.expect(200), json!({ "kinds": [], "next_cursor": null }));
    let made = send("POST", "/v1/kinds/b/pause", r#"{"create":true}"#).await.expect(200);
    assert_eq!((&made["name"], &made["paused"]), (&json!("b"), &json!(true)));
    let set = r#"{"create":true,"timeout_seconds":1.5,"retry":{"strategy":"fixed","delay_seconds":7}}"#;
    let set = send("PATCH", "/v1/kinds/a", set).await.expect(200);
    assert_eq!(
        (&set["timeout_seconds"], &set["retry"]),
        (&json!(1.5), &json!({"strategy":"fixed","delay_seconds":7.0}))
    );
    let kept = send("PATCH", "/v1/kinds/a", r#"{"timeout_seconds":null}"#).await.expect(200);
    assert_eq!((&kept["timeout_seconds"], &kept["retry"]["delay_seconds"]), (&json!(null), &json!(7.0)));
    let page = api.get("/v1/kinds?limit=1").await.expect(200);
    assert_eq!((&page["kinds"][0]["name"], &page["next_cursor"]), (&json!("a"), &json!("a")));
    assert_eq!(api.get("/v1/kinds?cursor=a").await.expect(200)["kinds"][0]["name"], "b");
    for (body, pointer) in [
        (r#"{"timeout_seconds":0}"#, "/timeout_seconds"),
        (r#"{"retry":{"strategy":"fixed","delay_seconds":-1}}"#, "/retry/delay_seconds"),
    ] {
        let refused = send("PATCH", "/v1/kinds/a", body).await;
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer);
        assert_eq!(refused.problem(422), "invalid-body");
    }
    // a remote worker gets what the kind says, and nothing of a paused kind
    send("PATCH", "/v1/kinds/a", r#"{"timeout_seconds":3}"#).await.expect(200);
    api.enqueue(json!({ "kind": "b", "queue": "q" })).await;
    api.enqueue(json!({ "kind": "a", "queue": "q" })).await;
    let body = r#"{"worker":"w","queues":["q"],"limit":10}"#;
    let leased = send("POST", "/v1/leases", body).await.expect(200)["leases"].clone();
    assert_eq!(leased.as_array().unwrap().len(), 1, "{leased}");
    let text = leased[0].to_string();
    assert!(text.contains(r#""kind":"a""#) && text.contains(r#""timeout_seconds":3.0"#), "{text}");
}
