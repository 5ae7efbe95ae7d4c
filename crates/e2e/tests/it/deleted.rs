//! The queue is deleted again and again while clients submit to it and workers run its jobs: no job is lost, none runs twice.
//! One API deletes and another one submits, because each has its own cache of names.

use std::sync::Arc;

use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;

use crate::checker::{Faults, assert_no_violation};
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{GATE, QUICK, job};
use crate::load::Load;

/// Deletions that succeed while clients submit.
const DELETIONS: usize = 5;

#[tokio::test]
async fn deletions_under_load_lose_nothing_and_double_nothing() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (one, other, _reaper, _first, _second) = tokio::join!(
        cluster.api(),
        cluster.api(),
        cluster.reaper(),
        cluster.worker("first", 4),
        cluster.worker("second", 4)
    );
    let history = Arc::new(History::new(&cluster.work));
    let load = Load::start(2, &other.client, &history);
    let mut deleted = 0;
    eventually(LIMIT, "the queue was deleted often", async || {
        let answer = one.client.delete("/v1/queues/default").await;
        match answer.status {
            200 => deleted += usize::from(answer.json()["deleted"] == true),
            409 => assert_eq!(answer.json()["type"], "urn:jobqueue:problem:queue-not-empty"),
            _ => panic!("{answer:?}"),
        }
        if deleted >= DELETIONS { Ok(()) } else { Err(deleted) }
    })
    .await;
    load.more(10).await;
    let acknowledged = load.finish().await;
    all_final(db.pool()).await;
    let evidence = Evidence::collect(&history, &cluster.work, db.pool()).await;
    assert_no_violation(&evidence, Faults::Calm);
    assert_eq!(evidence.stored.len(), acknowledged);
}

#[tokio::test]
async fn a_forced_deletion_purges_and_stops_and_the_next_job_makes_the_queue_anew() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (one, other, _reaper, _worker) =
        tokio::join!(cluster.api(), cluster.api(), cluster.reaper(), cluster.worker("worker", 1));
    let running = one.client.submit(&job(GATE, "held")).await;
    cluster.work.started("held", 1).await;
    let waiting = other.client.submit(&job(QUICK, "waits")).await;
    assert_eq!(other.client.post("/v1/queues/default/pause", &json!({})).await.status, 200);
    let refused = one.client.delete("/v1/queues/default").await;
    assert_eq!(refused.status, 409);
    assert_eq!((&refused.json()["queued"], &refused.json()["running"]), (&json!(1), &json!(1)));

    let gone = one.client.delete("/v1/queues/default?force=true").await;
    assert_eq!((gone.status, gone.json()), (200, json!({ "deleted": true, "purged": 1 })));
    assert_eq!(one.client.job(&running).await["status"], "cancelled");
    assert_eq!(one.client.get(&format!("/v1/jobs/{waiting}")).await.status, 404);
    for api in [&one, &other] {
        assert_eq!(api.client.get("/v1/queues/default").await.status, 404);
        assert_eq!(api.client.get("/v1/queues").await.json()["queues"], json!([]));
        // its cache is up to a second old
        eventually(LIMIT, "the metrics forget the queue", async || {
            let text = api.client.get("/metrics").await.text;
            if text.contains("job_created_total{queue=\"default\"} 0\n") { Ok(()) } else { Err(text) }
        })
        .await;
    }
    // the other API still knows the number of the name; the pause is gone
    let again = other.client.submit(&job(QUICK, "again")).await;
    other.client.completed(&again).await;
    let queue = one.client.get("/v1/queues/default").await;
    assert_eq!((queue.status, &queue.json()["paused"]), (200, &json!(false)));
}
