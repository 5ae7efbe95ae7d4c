//! Many jobs in one request, atomic or not.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::bench::Api;

fn jobs(n: usize) -> Vec<Value> {
    (0..n).map(|n| json!({ "kind": "k", "payload": n })).collect()
}

#[tokio::test]
async fn an_atomic_batch_is_stored_completely() {
    let api = Api::start().await;
    let view = api.post("/v1/jobs/batch", &json!({ "jobs": jobs(1000) })).await.expect(201);
    let items = view["items"].as_array().unwrap();
    assert!(items.iter().enumerate().all(|(n, item)| item["status"] == 201 && item["job"]["payload"] == n));
    assert_eq!(api.count().await, 1000);
    let id = items[7]["job"]["id"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200), items[7]["job"]);
}

#[tokio::test]
async fn with_one_invalid_job_nothing_is_stored() {
    let api = Api::start().await;
    let body = r#"{"jobs":[{"kind":"k"},{"kind":""},{"kind":"k","x":1},{"kind":"k","payload":"\u0000"},["k"],{"kind":"k","priority":999}]}"#;
    let answer = api.post_text("/v1/jobs/batch", body).await;
    assert_eq!(answer.problem(422), "invalid-body");
    assert_eq!(
        answer.pointers(),
        ["/jobs/1/kind", "/jobs/2/x", "/jobs/3/payload", "/jobs/4", "/jobs/5/priority"]
    );
    assert_eq!(api.count().await, 0);
}

#[tokio::test]
async fn with_one_rejected_job_nothing_is_stored() {
    let api = Api::start().await;
    let unique = json!({ "kind": "u", "unique": { "key": "u", "on_conflict": "reject" } });
    let holder = api.enqueue(unique.clone()).await;
    let body = json!({ "jobs": [{ "kind": "k" }, unique] });
    let answer = api.post("/v1/jobs/batch", &body).await;
    assert_eq!(
        (answer.problem(409).as_str(), answer.pointers()),
        ("unique-conflict", vec!["/jobs/1/unique/key".to_owned()])
    );
    assert_eq!(answer.json()["holders"], json!([{ "index": 1, "job_id": holder }]));
    assert_eq!(api.count().await, 1);
}

#[tokio::test]
async fn without_atomic_the_other_jobs_are_stored() {
    let api = Api::start().await;
    let reject = json!({ "kind": "u", "unique": { "key": "u", "on_conflict": "reject" } });
    let same = json!({ "kind": "u", "unique": { "key": "u" } });
    let holder = api.enqueue(reject.clone()).await;
    let body = json!({ "atomic": false, "jobs": [{ "kind": "" }, { "kind": "k" }, reject, same] });
    let view = api.post("/v1/jobs/batch", &body).await.expect(200);
    let statuses: Vec<&Value> =
        view["items"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
    assert_eq!(statuses, [422, 201, 409, 200]);
    assert_eq!(view["items"][0]["problem"]["errors"][0]["pointer"], "/jobs/0/kind");
    assert_eq!(view["items"][2]["problem"]["job_id"], holder);
    assert_eq!(view["items"][3]["job"]["id"], holder);
    assert_eq!(api.count().await, 2);
    let none =
        api.post("/v1/jobs/batch", &json!({ "atomic": false, "jobs": [{ "kind": "" }] })).await.expect(200);
    assert_eq!(none["items"][0]["status"], 422);
}

#[tokio::test]
async fn batches_are_bounded() {
    let api = Api::start().await;
    for body in [json!({ "jobs": [] }), json!({ "jobs": jobs(1001) })] {
        let answer = api.post("/v1/jobs/batch", &body).await;
        assert_eq!(
            (answer.problem(422).as_str(), answer.pointers()),
            ("invalid-body", vec!["/jobs".to_owned()])
        );
    }
    let big = json!({ "kind": "k", "payload": "x".repeat(1000 * 1000) });
    let fits = api.post("/v1/jobs/batch", &json!({ "jobs": vec![big.clone(); 8] })).await;
    assert_eq!(fits.status, 201);
    let over = api.post("/v1/jobs/batch", &json!({ "jobs": vec![big; 9] })).await;
    assert_eq!(over.problem(413), "body-too-large");
}

#[tokio::test]
async fn a_repeated_batch_gets_the_first_response() {
    let api = Api::start().await;
    let body = json!({ "jobs": jobs(3) }).to_string();
    let headers = ["Content-Type: application/json", "Idempotency-Key: one"];
    let first = api.send("POST", "/v1/jobs/batch", &headers, body.as_bytes()).await;
    let again = api.send("POST", "/v1/jobs/batch", &headers, body.as_bytes()).await;
    assert_eq!((first.status, again.status, again.header("idempotent-replayed")), (201, 201, Some("true")));
    assert_eq!(first.json(), again.json());
    assert_eq!(api.count().await, 3);
}

/// Concurrent single submissions share commits; each response has its own job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_single_submissions_share_commits_and_get_their_own_jobs() {
    let api = Api::start().await;
    let submissions = (0..300).map(|n| {
        let api = &api;
        async move { (n, api.post("/v1/jobs", &json!({ "kind": "k", "payload": n })).await.expect(201)) }
    });
    for (n, job) in join_all(submissions).await {
        let id = job["id"].as_str().unwrap();
        assert_eq!(
            (&job["payload"], &api.get(&format!("/v1/jobs/{id}")).await.expect(200)["payload"]),
            (&json!(n), &json!(n))
        );
    }
    let metrics = prometheus::TextEncoder::new().encode_to_string(&api.registry.gather()).unwrap();
    let commits =
        metrics.lines().find_map(|line| line.strip_prefix("api_submissions_per_commit_count ")).unwrap();
    assert!(commits.parse::<u32>().unwrap() < 300, "{commits} commits for 300 submissions");
}

#[tokio::test]
async fn existing_jobs_are_returned_completely_if_the_response_is_small() {
    let api = Api::start().await;
    let large = "x".repeat(1_000_000);
    let job = |n: usize, payload: &str| json!({ "kind": "k", "payload": payload, "unique": { "key": n.to_string() } });
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(api.enqueue(job(n, &large)).await);
    }
    let again: Vec<_> = (0..8).map(|n| job(n, "small")).collect();
    let items = api.post("/v1/jobs/batch", &json!({ "jobs": again })).await.expect(200);
    let items = items["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| item["job_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert!(items.iter().all(|item| item["status"] == 200));
    let whole = items.iter().filter(|item| item["job"]["payload"] == large.as_str()).count();
    let left_out = items.iter().filter(|item| item.get("job").is_none()).count();
    assert_eq!((whole, left_out), (4, 4));
}
