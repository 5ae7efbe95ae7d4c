//! The host of the database vanishes without closing a connection: no packet arrives any more, in either direction. Every
//! process ends its calls by itself, opens new connections, and continues. No job is lost, and none runs twice.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_testkit::{FaultProxy, TestDb, eventually};
use serde_json::json;
use tokio::time::timeout;

use crate::checker::{Faults, assert_no_violation};
use crate::client::id_of;
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{QUICK, job};
use crate::load::Load;

const CLIENTS: usize = 6;
/// A process waits 35 s for the answer to a statement (docs/configuration.md). The rest is for a slow machine.
const BOUND: Duration = Duration::from_secs(50);

#[tokio::test]
async fn every_process_continues_after_the_host_of_the_database_has_vanished() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    // the worker and its leases outlive the time that a lost call takes
    let cluster = Cluster::quick(db.url())
        .await
        .through(&proxy.through(db.url()))
        .with("WORKER_STALE_AFTER_SECONDS", "60")
        .with("WORKER_LEASE_DURATION_SECONDS", "120")
        .with("REAPER_HOLD_OFF_SECONDS", "60");
    let (mut api, mut reaper, mut worker) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("survivor", 4));
    let history = Arc::new(History::new(&cluster.work));
    let load = Load::start(CLIENTS, &api.client, &history);
    load.more(60).await;

    let mut later = job(QUICK, "later");
    later["delay_seconds"] = json!(1);
    history.sent("later");
    let accepted = api.client.post("/v1/jobs", &later).await;
    assert!(history.answered("later", &accepted), "{accepted:?}");
    let later = id_of(&accepted.json());
    // each kind of call is in flight: both flushers, the promotion, and the worker's lease or settle
    let held = db.hold("LOCK TABLE jobqueue.ready IN SHARE MODE").await;
    eventually(LIMIT, "calls of all processes wait", async || {
        let mut waiting = Vec::new();
        for (program, least) in [("api", 2), ("reaper", 1), ("worker", 1)] {
            let waits = format!("wait_event_type = 'Lock' AND application_name = 'jobqueue-{program}'");
            waiting.push((db.sessions(&waits).await, least));
        }
        if waiting.iter().all(|(now, least)| now >= least) { Ok(()) } else { Err(waiting) }
    })
    .await;
    proxy.lose_connections();
    held.rollback().await.unwrap();

    timeout(BOUND, load.more(1)).await.expect("submissions succeed again");
    timeout(BOUND, api.client.completed(&later))
        .await
        .expect("the reaper promotes and the worker runs jobs again");
    load.more(60).await;
    let acknowledged = load.finish().await;
    all_final(db.pool()).await;

    for (name, node) in [("api", &mut api.node), ("reaper", &mut reaper), ("worker", &mut worker)] {
        assert!(node.process.is_running(), "{name} ended: {}", node.process.lines().join("\n"));
        node.is_ready().await;
    }
    let (unavailable, without_hint) = history.unavailable();
    assert!(unavailable > 0, "submissions were in flight");
    assert_eq!(without_hint, 0, "503 without Retry-After");
    let evidence = Evidence::collect(&history, &cluster.work, db.pool()).await;
    assert_no_violation(&evidence, Faults::Stormy);
    assert_eq!(evidence.stored.len(), acknowledged, "every submission once");
    assert_eq!(evidence.executions.len(), evidence.stored.len(), "no job ran twice");
}
