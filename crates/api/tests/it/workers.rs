//! Who works: remote workers are listed and counted like those that are connected to the database.

use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_testkit::{Clock, eventually};
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::HANG;

async fn workers(api: &Api) -> Vec<Value> {
    let page = api.get("/v1/workers").await.expect(200);
    assert_eq!(page["next_cursor"], Value::Null);
    page["workers"].as_array().unwrap().clone()
}

/// Asks for a job of the queue `q`, as the worker of this name.
async fn ask(api: &Api, name: &str) -> Value {
    let body = json!({ "worker": name, "queues": ["q"], "kinds": ["k"], "lease_seconds": 600 });
    api.post("/v1/leases", &body).await.expect(200)["leases"][0].clone()
}

#[tokio::test]
async fn a_remote_worker_appears_by_its_name_until_it_is_gone() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    assert_eq!(ask(&api, "blue").await, Value::Null);
    let idle = workers(&api).await;
    assert_eq!(
        (&idle[0]["name"], &idle[0]["remote"], &idle[0]["queues"], &idle[0]["kinds"], &idle[0]["running"]),
        (&json!("blue"), &json!(true), &json!(["q"]), &json!(["k"]), &json!(0)),
        "it counts before it has a job"
    );
    let id = api.enqueue_in("q").await;
    let lease = ask(&api, "blue").await;
    let busy = workers(&api).await;
    let job = &busy[0]["jobs"][0];
    assert_eq!((busy.len(), &busy[0]["id"], &busy[0]["running"]), (1, &idle[0]["id"], &json!(1)));
    assert_eq!(
        (&job["id"], &job["kind"], &job["queue"], &job["attempt"]),
        (&json!(id), &json!("k"), &json!("q"), &json!(1))
    );
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200)["worker_id"], busy[0]["id"]);

    clock.advance(Duration::from_mins(5));
    assert_eq!(workers(&api).await.len(), 1, "it holds a lease");
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    assert!(workers(&api).await.is_empty(), "it is silent and holds nothing");
}

#[tokio::test]
async fn metrics_and_statistics_count_remote_workers() {
    let api = Api::start().await;
    join_all(["a", "b", "c"].map(|name| ask(&api, name))).await;
    eventually(HANG, "three workers", async || {
        let (stats, metrics) = (api.get("/v1/stats").await.expect(200), api.get("/metrics").await.text);
        let fine = stats["workers"] == 3 && metrics.lines().any(|line| line == "job_queue_workers 3");
        if fine { Ok(()) } else { Err((stats, metrics)) }
    })
    .await;
}

#[tokio::test]
async fn a_worker_without_a_name_gets_one_from_its_address() {
    let api = Api::start().await;
    api.lease("q").await;
    api.lease("q").await;
    let workers = workers(&api).await;
    assert_eq!((workers.len(), &workers[0]["name"]), (1, &json!("unnamed:127.0.0.1")));
    for bad in [json!(""), json!("a b"), json!("x".repeat(254)), json!(1)] {
        let refused = api.post("/v1/leases", &json!({ "worker": bad, "queues": ["q"] })).await;
        assert_eq!(refused.problem(422), "invalid-body", "{bad}");
    }
}

#[tokio::test]
async fn pages_of_workers_follow_each_other() {
    let api = Api::start().await;
    join_all(
        (0..5).map(|n| async move { format!("w{n}") }).map(|name| async { ask(&api, &name.await).await }),
    )
    .await;
    let (mut names, mut path) = (Vec::new(), "/v1/workers?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.expect(200);
        names.extend(
            page["workers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|worker| worker["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/workers?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["w0", "w1", "w2", "w3", "w4"]);
    for bad in ["x", "AAAA", "!", "AAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(
            api.get(&format!("/v1/workers?cursor={bad}")).await.problem(400),
            "invalid-cursor",
            "{bad}"
        );
    }
    for bad in ["limit=0", "limit=1001", "queue=q"] {
        assert_eq!(api.get(&format!("/v1/workers?{bad}")).await.status, 400, "{bad}");
    }
}

/// A request of a worker that this process knows costs no statement more than it did before workers had names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_worker_asks_without_being_written_again() {
    let api = Api::start().await;
    let names: Vec<String> = (0..200).map(|n| format!("w{n}")).collect();
    let all = || join_all(names.iter().map(|name| ask(&api, name)));
    // which transaction wrote each row, and how many did
    let written = async || {
        let sum = "SELECT coalesce(sum(xmin::text::bigint), 0)::bigint FROM jobqueue.worker";
        (api.db.number(sum).await, api.db.number("SELECT count(*) FROM jobqueue.worker").await)
    };
    all().await;
    let first = written().await;
    assert_eq!(first.1, 200);
    all().await;
    all().await;
    assert_eq!(written().await, first);
}
