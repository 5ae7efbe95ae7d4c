//! A job that waits says over REST what holds it, and a real worker runs it when that is gone.

use jobqueue_testkit::{TestDb, eventually};
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Cluster, LIMIT};
use crate::ledger::{FLAKY, GATE, QUICK, job};

/// The codes of the reasons, the binding one first.
async fn reasons(client: &Client, id: &str) -> Vec<String> {
    let answer = client.get(&format!("/v1/jobs/{id}/explain")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    answer["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["code"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until exactly these causes hold the job.
async fn waits(client: &Client, id: &str, causes: &[&str]) {
    eventually(LIMIT, &format!("it waits because of {causes:?}"), async || match reasons(client, id).await {
        found if found == causes => Ok(()),
        found => Err(found),
    })
    .await;
}

async fn act(client: &Client, path: &str) {
    let answer = client.try_post(path, String::new(), None).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
}

fn later(kind: &str, word: &str, field: &str, value: Value) -> Value {
    let mut job = job(kind, word);
    job[field] = value;
    job
}

#[tokio::test]
async fn a_job_names_what_holds_it_and_runs_when_that_is_gone() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let api = cluster.api().await;
    let client = &api.client;

    let alone = client.submit(&job(QUICK, "alone")).await;
    waits(client, &alone, &["no_worker"]).await;
    let _worker = cluster.worker("only", 1).await;
    client.completed(&alone).await;

    act(client, "/v1/queues/default/pause").await;
    let paused = client.submit(&job(QUICK, "paused")).await;
    waits(client, &paused, &["queue_paused"]).await;
    act(client, "/v1/queues/default/resume").await;
    client.completed(&paused).await;

    client.submit(&job(GATE, "gate")).await;
    cluster.work.started("gate", 1).await;
    let (first, second) =
        (client.submit(&job(QUICK, "first")).await, client.submit(&job(QUICK, "second")).await);
    waits(client, &first, &["slots_busy"]).await;
    waits(client, &second, &["slots_busy", "behind"]).await;
    cluster.work.open("gate", 1);
    client.completed(&second).await;

    // no reaper runs yet
    let due = client.submit(&later(QUICK, "due", "delay_seconds", json!(0.5))).await;
    waits(client, &due, &["census_old"]).await;
    let _reaper = cluster.reaper().await;
    client.completed(&due).await;

    let tomorrow = client.submit(&later(QUICK, "tomorrow", "delay_seconds", json!(86_400))).await;
    waits(client, &tomorrow, &["scheduled_until"]).await;
    act(client, &format!("/v1/jobs/{tomorrow}/promote")).await;
    client.completed(&tomorrow).await;

    let retry = json!({ "strategy": "fixed", "delay_seconds": 3600 });
    let flaky = client.submit(&later(FLAKY, "flaky", "retry", retry)).await;
    for attempt in 1..=2 {
        cluster.work.started("flaky", attempt).await;
        waits(client, &flaky, &["retry_waits"]).await;
        act(client, &format!("/v1/jobs/{flaky}/promote")).await;
    }
    client.completed(&flaky).await;
}

#[tokio::test]
async fn a_job_names_a_read_only_database_and_runs_when_it_is_writable_again() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _reaper, _worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("only", 1));
    let paused = api.client.post("/v1/queues/default/pause", &json!({ "create": true })).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let id = api.client.submit(&job(QUICK, "stuck")).await;
    let set = async |change: &str| {
        db.execute(&format!("BEGIN READ WRITE; ALTER DATABASE {} {change}; COMMIT", db.name())).await;
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'jobqueue-%'",
        )
        .await;
    };
    set("SET default_transaction_read_only = on").await;
    eventually(LIMIT, "the database is read-only", async || {
        let answer = api.client.get(&format!("/v1/jobs/{id}/explain")).await;
        match answer.status {
            200 if answer.json()["reasons"][0]["code"] == "database_read_only" => Ok(()),
            _ => Err(answer),
        }
    })
    .await;
    set("RESET default_transaction_read_only").await;
    eventually(LIMIT, "the queue is resumed", async || {
        match api.client.try_post("/v1/queues/default/resume", String::new(), None).await.unwrap() {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer),
        }
    })
    .await;
    api.client.completed(&id).await;
}
