//! The same key with the same request makes one job and gives one answer.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::bench::Api;
use crate::client::Answer;

const JSON: &str = "Content-Type: application/json";

async fn keyed(api: &Api, path: &str, key: &str, body: &str) -> Answer {
    api.send("POST", path, &[JSON, &format!("Idempotency-Key: {key}")], body.as_bytes()).await
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_time() {
    let api = Api::start().await;
    let body = r#"{"kind":"k","queue":"q","payload":{"a":1}}"#;
    let first = keyed(&api, "/v1/jobs", "one", body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let lease = api.lease("q").await.unwrap();
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    let again = keyed(&api, "/v1/jobs", "one", body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!((again.header("location"), again.json()), (first.header("location"), first.json()));
    assert_eq!(api.count().await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_body_and_one_route() {
    let api = Api::start().await;
    let first = keyed(&api, "/v1/jobs", "one", r#"{"kind":"k"}"#).await.expect(201);
    let other = keyed(&api, "/v1/jobs", "one", r#"{"kind":"l"}"#).await;
    assert_eq!(other.problem(422), "idempotency-key-reused");
    let spaced = keyed(&api, "/v1/jobs", "one", r#"{"kind": "k"}"#).await;
    assert_eq!(spaced.problem(422), "idempotency-key-reused", "the text of the body is what counts");
    let batch = keyed(&api, "/v1/jobs/batch", "one", r#"{"jobs":[{"kind":"k"}]}"#).await.expect(201);
    assert_ne!(batch["items"][0]["job"]["id"], first["id"]);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let api = Api::start().await;
    assert_eq!(keyed(&api, "/v1/jobs", "one", r#"{"kind":""}"#).await.status, 422);
    assert_eq!(keyed(&api, "/v1/jobs", "one", r#"{"kind":"k"}"#).await.status, 201);
    let unique = r#"{"kind":"u","unique":{"key":"u","on_conflict":"reject"}}"#;
    let holder = api.post_text("/v1/jobs", unique).await.expect(201);
    assert_eq!(keyed(&api, "/v1/jobs", "two", unique).await.problem(409), "unique-conflict");
    api.act(&format!("/v1/jobs/{}/cancel", holder["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(keyed(&api, "/v1/jobs", "two", unique).await.status, 201);
}

#[tokio::test]
async fn simultaneous_requests_with_one_key_make_one_job() {
    let api = Api::start().await;
    let body = r#"{"kind":"k"}"#;
    let answers = join_all((0..40).map(|_| keyed(&api, "/v1/jobs", "one", body))).await;
    let ids: HashSet<String> = answers.iter().map(|answer| answer.expect(201)["id"].to_string()).collect();
    let fresh = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!((ids.len(), fresh, api.count().await), (1, 1, 1));
}

#[tokio::test]
async fn other_posts_take_a_key_and_stay_what_they_are() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    for _ in 0..2 {
        assert_eq!(keyed(&api, &format!("/v1/jobs/{id}/cancel"), "one", "").await.status, 200);
    }
}
