//! Commands to running workers: what an operator asks of a worker through the API, a real process does, once, although answers are lost.

use jobqueue_testkit::{Fault, FaultProxy, TestDb, eventually};
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Cluster, LIMIT, Node};
use crate::ledger::{ECHO, GATE, job};

/// The live worker of this name.
async fn worker(client: &Client, name: &str) -> Value {
    eventually(LIMIT, name, async || {
        let page = client.get("/v1/workers").await.json();
        let found = page["workers"].as_array().unwrap().iter().find(|worker| worker["name"] == name).cloned();
        found.ok_or(page)
    })
    .await
}

/// Sends a command, waits until it is acknowledged, and returns what the worker answered.
async fn command(client: &Client, name: &str, body: Value) -> Value {
    let (path, id) = send(client, name, &body).await;
    acknowledged(client, &path, &id).await
}

async fn send(client: &Client, name: &str, body: &Value) -> (String, Value) {
    let path = format!("/v1/workers/{}/commands", worker(client, name).await["id"].as_str().unwrap());
    let sent = client.post(&path, body).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    (path, sent.json()["id"].clone())
}

async fn acknowledged(client: &Client, path: &str, id: &Value) -> Value {
    eventually(LIMIT, "the command is acknowledged", async || {
        let page = client.get(path).await.json();
        let of_id = page["commands"].as_array().unwrap().iter().find(|command| command["id"] == *id).cloned();
        of_id.filter(|command| !command["acknowledged_at"].is_null()).ok_or(page)
    })
    .await
}

fn carried_out(node: &Node) -> usize {
    node.process.lines().iter().filter(|line| line.contains("command carried out")).count()
}

#[tokio::test]
async fn a_drained_worker_finishes_its_jobs_and_ends() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await;
    let (api, mut old) = tokio::join!(cluster.api(), cluster.worker("old", 2));
    let client = &api.client;
    let running = client.submit(&job(GATE, "running")).await;
    cluster.work.started("running", 1).await;
    let busy = worker(client, "old").await;
    assert_eq!((&busy["slots"], &busy["slots_used"], &busy["slots_free"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!((&busy["language"], &busy["jobs"][0]["id"]), (&json!("rust"), &json!(running)));
    for measured in ["rss_bytes", "jobs_per_minute", "heartbeat_age_seconds"] {
        assert!(busy[measured].is_number(), "{measured}: {busy}");
    }
    let done = command(client, "old", json!({ "command": "drain" })).await;
    assert_eq!((&done["status"], &done["result"]), (&json!("acknowledged"), &json!({ "draining": true })));
    eventually(LIMIT, "draining", async || match worker(client, "old").await {
        shown if shown["draining"] == true => Ok(()),
        shown => Err(shown),
    })
    .await;
    let later = client.submit(&job(ECHO, "later")).await;
    assert!(old.process.is_running(), "its job still runs");
    cluster.work.open("running", 1);
    old.has_ended_well().await;
    assert_eq!(client.endings(&running).await, ["completed"]);
    assert_eq!(client.job(&later).await["status"], "queued", "it leased nothing after the command");
    let gone = client.get(&format!("/v1/workers/{}", busy["id"].as_str().unwrap())).await;
    assert_eq!(gone.status, 404, "{gone:?}");
}

#[tokio::test]
async fn slots_grow_at_once_and_shrink_as_jobs_end() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, node) = tokio::join!(cluster.api(), cluster.worker("sized", 1));
    let (client, work) = (&api.client, &cluster.work);
    let mut ids = Vec::new();
    for word in ["a", "b", "c"] {
        ids.push(client.submit(&job(GATE, word)).await);
    }
    work.started("a", 1).await;
    let grown = command(client, "sized", json!({ "command": "resize", "slots": 3 })).await;
    assert_eq!(grown["result"], json!({ "slots": 3 }));
    work.started("b", 1).await;
    work.started("c", 1).await;
    command(client, "sized", json!({ "command": "resize", "slots": 1 })).await;
    eventually(LIMIT, "the worker shows one slot", async || match worker(client, "sized").await {
        shown if shown["slots"] == 1 && shown["slots_free"] == 0 => Ok(()),
        shown => Err(shown),
    })
    .await;
    let last = client.submit(&job(GATE, "d")).await;
    for (word, id) in ["a", "b"].into_iter().zip(&ids) {
        work.open(word, 1);
        client.completed(id).await;
    }
    eventually(LIMIT, "one slot is in use", async || match node.metric("worker_slots_in_use").await {
        1.0 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(client.job(&last).await["status"], "queued", "c has the only slot");
    work.open("c", 1);
    work.started("d", 1).await;
    work.open("d", 1);
    client.completed(&last).await;
    let refused = client
        .post(
            &format!("/v1/workers/{}/commands", worker(client, "sized").await["id"].as_str().unwrap()),
            &json!({ "command": "resize", "slots": 0 }),
        )
        .await;
    assert_eq!(refused.status, 422, "{refused:?}");
}

#[tokio::test]
async fn a_paused_worker_leases_nothing_until_it_is_resumed() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _node) = tokio::join!(cluster.api(), cluster.worker("calm", 2));
    let client = &api.client;
    command(client, "calm", json!({ "command": "pause" })).await;
    let id = client.submit(&job(ECHO, "waits")).await;
    let mut beat = json!(null);
    for _ in 0..3 {
        beat = eventually(LIMIT, "a heartbeat", async || match worker(client, "calm").await {
            shown if shown["paused"] == true && shown["last_heartbeat_at"] != beat => {
                Ok(shown["last_heartbeat_at"].clone())
            }
            shown => Err(shown),
        })
        .await;
    }
    assert_eq!(client.job(&id).await["status"], "queued");
    command(client, "calm", json!({ "command": "resume" })).await;
    client.completed(&id).await;
    assert_eq!(worker(client, "calm").await["paused"], false);
}

#[tokio::test]
async fn queues_change_and_one_must_be_left() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _node) = tokio::join!(cluster.api(), cluster.worker("mover", 1));
    let client = &api.client;
    let mut elsewhere = job(ECHO, "elsewhere");
    elsewhere["queue"] = json!("other");
    let id = client.submit(&elsewhere).await;
    let moved = command(
        client,
        "mover",
        json!({ "command": "queues", "subscribe": ["other"], "unsubscribe": ["default"] }),
    )
    .await;
    assert_eq!(moved["result"], json!({ "queues": ["other"] }));
    client.completed(&id).await;
    eventually(LIMIT, "the new queues are shown", async || match worker(client, "mover").await {
        shown if shown["queues"] == json!(["other"]) => Ok(()),
        shown => Err(shown),
    })
    .await;
    let refused = command(client, "mover", json!({ "command": "queues", "unsubscribe": ["other"] })).await;
    assert_eq!((&refused["status"], &refused["result"]), (&json!("refused"), &json!(null)));
    assert!(refused["error"].as_str().unwrap().contains("pause"), "{refused}");
}

#[tokio::test]
async fn a_command_for_many_reaches_those_that_match() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, mut blue, mut green) =
        tokio::join!(cluster.api(), cluster.worker("blue-1", 1), cluster.worker("green-1", 1));
    let client = &api.client;
    worker(client, "blue-1").await;
    worker(client, "green-1").await;
    let matched = |answer: &Value| {
        answer["workers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let dry = json!({ "filter": { "queue": "default" }, "command": "shutdown", "dry_run": true });
    let dry = client.post("/v1/workers/commands", &dry).await.json();
    assert_eq!((matched(&dry), &dry["sent"]), (vec!["blue-1".into(), "green-1".into()], &json!(0)));
    let one = json!({ "filter": { "name": "b*-?" }, "command": "shutdown" });
    let one = client.post("/v1/workers/commands", &one).await.json();
    assert_eq!((matched(&one), &one["sent"]), (vec!["blue-1".into()], &json!(1)));
    blue.has_ended_well().await;
    assert!(green.process.is_running());
}

#[tokio::test]
async fn a_command_is_carried_out_once_although_answers_are_lost() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let cluster = Cluster::quick(db.url()).await.with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1");
    let api = cluster.api().await;
    let node = cluster.clone().through(&proxy.through(db.url())).worker("far", 1).await;
    let client = &api.client;
    worker(client, "far").await;
    // from the answer that delivers the command to the one that confirms its acknowledgement
    for (number, lost_after) in [0, 50, 100, 150, 200, 250, 300, 400, 600].into_iter().enumerate() {
        let failures = node.metric("worker_heartbeat_failures_total").await;
        proxy.set(Fault::LoseAnswersAfter(lost_after));
        let (path, id) = send(client, "far", &json!({ "command": "ping" })).await;
        eventually(LIMIT, "an answer is lost", async || {
            let now = node.metric("worker_heartbeat_failures_total").await;
            if now > failures { Ok(()) } else { Err(now) }
        })
        .await;
        proxy.set(Fault::Pass);
        let done = acknowledged(client, &path, &id).await;
        assert_eq!(done["result"], json!({ "ok": "pong" }), "lost after {lost_after} bytes");
        assert_eq!(carried_out(&node), number + 1, "lost after {lost_after} bytes");
    }
}

#[tokio::test]
async fn a_cancel_reaches_a_running_job_before_the_next_heartbeat() {
    let db = TestDb::new().await;
    // the next heartbeat comes long after the time limit of the test, unless something requests it
    let cluster = [
        ("WORKER_CANCEL_GRACE_SECONDS", "1"),
        ("WORKER_HEARTBEAT_INTERVAL_SECONDS", "1000"),
        ("WORKER_STALE_AFTER_SECONDS", "3000"),
        ("WORKER_LEASE_DURATION_SECONDS", "3000"),
    ]
    .into_iter()
    .fold(Cluster::new(db.url()).await, |cluster, (name, value)| cluster.with(name, value));
    let (api, _node) = tokio::join!(cluster.api(), cluster.worker("near", 2));
    let client = &api.client;
    let ids = [client.submit(&job(GATE, "by-api")).await, client.submit(&job(GATE, "by-sql")).await];
    cluster.work.started("by-api", 1).await;
    cluster.work.started("by-sql", 1).await;
    let asked = client.post(&format!("/v1/jobs/{}/cancel", ids[0]), &json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let sql = format!("SELECT jobqueue.cancel('{}')", ids[1]);
    sqlx::query(&sql).execute(db.pool()).await.unwrap();
    for id in &ids {
        assert_eq!(client.finished(id).await["status"], "cancelled");
    }
}
