//! Idempotency keys: the same key with the same request creates one job and returns one response.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_testkit::{Clock, eventually};
use serde_json::json;

use crate::bench::Api;
use crate::client::{Answer, HANG};
use crate::submitter::waiting;

const JSON: &str = "Content-Type: application/json";

async fn keyed(api: &Api, path: &str, key: &str, body: &str) -> Answer {
    api.send("POST", path, &[JSON, &format!("Idempotency-Key: {key}")], body.as_bytes()).await
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_response() {
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
async fn a_rejected_request_does_not_use_up_its_key() {
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
async fn concurrent_requests_with_one_key_create_one_job() {
    let api = Api::start().await;
    let body = r#"{"kind":"k"}"#;
    let answers = join_all((0..40).map(|_| keyed(&api, "/v1/jobs", "one", body))).await;
    let ids: HashSet<String> = answers.iter().map(|answer| answer.expect(201)["id"].to_string()).collect();
    let fresh = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!((ids.len(), fresh, api.count().await), (1, 1, 1));
}

#[tokio::test]
async fn a_repeated_action_gets_the_first_response_and_is_not_repeated() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    let first = keyed(&api, &cancel, "one", "").await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    api.act(&format!("/v1/jobs/{id}/retry")).await.expect(200);
    let again = keyed(&api, &cancel, "one", "").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!((again.header("content-type"), &again.text), (first.header("content-type"), &first.text));
    assert_eq!(
        api.get(&format!("/v1/jobs/{id}")).await.json()["status"],
        "queued",
        "nothing was cancelled again"
    );
    let promoted = keyed(&api, &format!("/v1/jobs/{id}/promote"), "one", "").await;
    assert_eq!((promoted.status, promoted.header("idempotent-replayed")), (200, None), "another route");
    assert_eq!(keyed(&api, &cancel, "two", "").await.header("idempotent-replayed"), None, "another key");
}

#[tokio::test]
async fn a_repeated_lease_request_gets_the_same_leases() {
    let api = Api::start().await;
    for _ in 0..3 {
        api.enqueue_in("q").await;
    }
    let body = r#"{"queues":["q"],"limit":2}"#;
    let first = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!(first.expect(200)["leases"].as_array().unwrap().len(), 2);
    let again = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    let other = keyed(&api, "/v1/leases", "one", r#"{"queues":["q"],"limit":1}"#).await;
    assert_eq!(other.problem(422), "idempotency-key-reused");
    assert_eq!(
        keyed(&api, "/v1/leases", "two", body).await.expect(200)["leases"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_rejected_action_does_not_use_up_its_key() {
    let api = Api::start().await;
    assert_eq!(keyed(&api, "/v1/queues/q/purge", "one", "").await.problem(404), "not-found");
    api.enqueue_in("q").await;
    let purged = keyed(&api, "/v1/queues/q/purge", "one", "").await;
    assert_eq!((purged.status, purged.header("idempotent-replayed")), (200, None));
}

#[tokio::test]
async fn a_key_stays_in_use_while_the_result_of_its_request_is_unknown() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let id = api.enqueue_in("q").await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    let holder = api.db.hold("LOCK TABLE jobqueue.ready").await;
    let cut = async {
        let locked = "wait_event_type = 'Lock'";
        eventually(HANG, "the verb waits", async || waiting(&api.db, locked, 1).await).await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()";
        api.db.number(&format!("{sql} AND {locked}")).await
    };
    let (broken, cut) = tokio::join!(keyed(&api, &cancel, "one", ""), cut);
    assert_eq!((broken.problem(503).as_str(), cut), ("unavailable", 1));
    holder.commit().await.unwrap();
    assert_eq!(keyed(&api, &cancel, "one", "").await.problem(409), "idempotency-key-in-use");
    clock.advance(Duration::from_secs(121));
    let again = keyed(&api, &cancel, "one", "").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, None));
    assert_eq!(api.status(&id).await, "cancelled");
}

#[tokio::test]
async fn leases_are_returned_again_only_until_they_expire() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let body = r#"{"queues":["q"],"lease_seconds":30}"#;
    let count = |answer: &Answer| answer.expect(200)["leases"].as_array().unwrap().len();
    assert_eq!(count(&keyed(&api, "/v1/leases", "one", body).await), 0);
    api.enqueue_in("q").await;
    let first = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!(
        (first.header("idempotent-replayed"), count(&first)),
        (None, 1),
        "an empty answer is not kept"
    );
    let again = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!((again.header("idempotent-replayed"), count(&again)), (Some("true"), 1));
    clock.advance(Duration::from_secs(31));
    let late = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!((late.header("idempotent-replayed"), count(&late)), (None, 0), "another has the job by now");
}

#[tokio::test]
async fn while_the_first_request_runs_the_second_gets_409() {
    let api = Api::start().await;
    let body = r#"{"queues":["q"],"wait":20}"#;
    let first = keyed(&api, "/v1/leases", "one", body);
    let second = async {
        eventually(HANG, "the first has its key", async || keys(&api, "", 1).await).await;
        let answer = keyed(&api, "/v1/leases", "one", body).await;
        assert_eq!(
            (answer.problem(409).as_str(), answer.header("retry-after")),
            ("idempotency-key-in-use", Some("1"))
        );
        api.enqueue_in("q").await;
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.expect(200)["leases"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_disconnects_gets_the_response_later() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    // the table is locked, so that the request waits while it claims its key when its client disconnects
    let holder = api.db.hold("LOCK TABLE jobqueue.idempotency").await;
    let body = r#"{"queues":["q"]}"#;
    let claims = "wait_event_type = 'Lock' AND query LIKE '%claim_key%'";
    tokio::select! {
        answer = keyed(&api, "/v1/leases", "one", body) => panic!("{answer:?}"),
        () = eventually(HANG, "the claim waits", async || waiting(&api.db, claims, 1).await) => {}
    }
    holder.commit().await.unwrap();
    eventually(HANG, "it was carried out", async || keys(&api, "WHERE answer::text <> 'null'", 1).await)
        .await;
    let again = keyed(&api, "/v1/leases", "one", body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200)["leases"].as_array().unwrap().len(), 1);
}

/// Checks the number of stored keys.
async fn keys(api: &Api, which: &str, count: i64) -> Result<(), i64> {
    let stored = api.db.number(&format!("SELECT count(*) FROM jobqueue.idempotency {which}")).await;
    if stored == count { Ok(()) } else { Err(stored) }
}
