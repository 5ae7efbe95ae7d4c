//! Long polls: they end with the event, after their time, or with the process.

use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_api::Settings;
use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;

use crate::bench::{Api, settings};
use crate::client::HANG;
use crate::submitter::waiting;

/// Waits until the API has executed a statement once, without a result, for a waiting request.
pub(crate) async fn has_executed(db: &TestDb, statement: &str) {
    let state = format!("query LIKE '-- {statement}%'");
    eventually(HANG, statement, async || waiting(db, &state, 1).await).await;
}

/// Waits until a worker's request has polled for jobs.
async fn has_polled_for_jobs(db: &TestDb) {
    has_executed(db, "store.lease\n").await;
}

#[tokio::test]
async fn a_waiting_reader_gets_the_final_job() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    let path = format!("/v1/jobs/{id}?wait=60");
    let end = async {
        has_executed(&api.db, "store.not_live").await;
        api.settle(json!({ "outcome": "completed", "result": 1 }), &lease).await.expect(200);
    };
    // many requests wait for the same job, and use no connection while they wait
    let (readers, ()) = tokio::join!(join_all((0..30).map(|_| api.get(&path))), end);
    for job in readers {
        assert_eq!(job.expect(200)["status"], "completed");
    }
}

#[tokio::test]
async fn after_the_wait_a_job_that_has_not_ended_is_returned() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    assert_eq!(api.get(&format!("/v1/jobs/{id}?wait=0.2")).await.expect(200)["status"], "queued");
    let unknown = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
    assert_eq!(api.get(&format!("/v1/jobs/{unknown}?wait=60")).await.problem(404), "not-found");
}

#[tokio::test]
async fn a_waiting_worker_gets_a_new_job() {
    let api = Api::start().await;
    let body = json!({ "queues": ["q"], "wait": 30 });
    let submit = async {
        has_polled_for_jobs(&api.db).await;
        api.enqueue_in("q").await
    };
    let (answer, id) = tokio::join!(api.post("/v1/leases", &body), submit);
    assert_eq!(answer.expect(200)["leases"][0]["job"]["id"], id);
    let none = api.post("/v1/leases", &json!({ "queues": ["q"], "wait": 0.2 })).await.expect(200);
    assert_eq!(none, json!({ "leases": [] }));
}

#[tokio::test]
async fn a_worker_that_disconnected_while_it_waited_gets_no_job() {
    let api = Api::start().await;
    let body = json!({ "queues": ["q"], "wait": 30 });
    tokio::select! {
        answers = join_all((0..5).map(|_| api.post("/v1/leases", &body))) => panic!("there is no job yet: {answers:?}"),
        () = has_polled_for_jobs(&api.db) => {}
    }
    let id = api.enqueue_in("q").await;
    let lease =
        eventually(HANG, "the job is there for who comes next", async || api.lease("q").await.ok_or("none"))
            .await;
    assert_eq!((&lease["job"]["id"], &lease["job"]["attempt"]), (&json!(id), &json!(1)));
}

#[tokio::test]
async fn a_job_leased_for_a_worker_that_disconnected_is_released() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let holder = api.db.hold("LOCK TABLE jobqueue.ready").await;
    let stuck = async || waiting(&api.db, "wait_event_type = 'Lock'", 1).await;
    tokio::select! {
        answer = api.lease("q") => panic!("the lane is locked: {answer:?}"),
        () = eventually(HANG, "the look waits", stuck) => {}
    }
    holder.commit().await.unwrap();
    let attempts = format!("/v1/jobs/{id}/attempts");
    let given_back = async || match api.get(&attempts).await.expect(200) {
        attempts if attempts["attempts"][0]["ended"] == "released" => Ok(()),
        attempts => Err(attempts),
    };
    eventually(HANG, "it is given back", given_back).await;
    let lease = api.lease("q").await.expect("it is there for who comes next");
    assert_eq!((&lease["job"]["id"], &lease["job"]["attempt"]), (&json!(id), &json!(1)));
}

#[tokio::test]
async fn the_number_of_long_polls_is_limited() {
    let api = Api::with(Settings { max_long_polls: 1, ..settings() }).await;
    let id = api.enqueue_in("q").await;
    let path = format!("/v1/jobs/{id}?wait=5");
    let answers = join_all((0..3).map(|_| api.get(&path))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 2);
    for answer in refused {
        assert_eq!(answer.problem(429), "too-busy");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_frees_its_slot() {
    let body = br#"{"queues":["q"],"wait":30}"#;
    for key in ["X-None: 1", "Idempotency-Key: one"] {
        let api = Api::with(Settings { max_long_polls: 1, ..settings() }).await;
        let id = api.enqueue_in("other").await;
        let headers = ["Content-Type: application/json", key];
        tokio::select! {
            answer = api.send("POST", "/v1/leases", &headers, body) => panic!("nothing to lease yet: {answer:?}"),
            () = has_polled_for_jobs(&api.db) => {}
        }
        let is_free = async || {
            let answer = api.get(&format!("/v1/jobs/{id}?wait=0.01")).await;
            if answer.status == 200 { Ok(()) } else { Err(answer) }
        };
        eventually(Duration::from_secs(15), "its place is free long before its time is over", is_free).await;
        // nothing was leased, and the key is not in use
        api.enqueue_in("q").await;
        let free_key = async || {
            let answer = api.send("POST", "/v1/leases", &headers, body).await;
            if answer.status == 200 { Ok(answer) } else { Err(answer) }
        };
        let answer = eventually(HANG, "the key is free", free_key).await;
        assert_eq!(answer.expect(200)["leases"].as_array().unwrap().len(), 1, "{key}");
    }
}

#[tokio::test]
async fn the_shutdown_ends_waits_early_and_finishes_requests_in_flight() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let (job, work) = (format!("/v1/jobs/{id}?wait=60"), json!({ "queues": ["none"], "wait": 30 }));
    let down = async {
        has_executed(&api.db, "store.not_live").await;
        has_polled_for_jobs(&api.db).await;
        api.shutdown.begin();
    };
    let (job, work, ()) = tokio::join!(api.get(&job), api.post("/v1/leases", &work), down);
    assert_eq!(job.expect(200)["status"], "queued");
    assert_eq!(work.expect(200), json!({ "leases": [] }));
    for answer in [&job, &work] {
        assert_eq!(answer.header("connection"), Some("close"));
    }
    tokio::time::timeout(HANG, api.shutdown.wait()).await.expect("every task ends");
}
