//! Postgres crashes under load and is started again: no acknowledged job is lost, no process needs a restart, the API
//! answers 503 during the outage, and most running jobs do not run twice.

use std::sync::Arc;

use jobqueue_testkit::{TestServer, eventually};

use crate::checker::{Faults, assert_no_violation};
use crate::client::Client;
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{QUICK, job};
use crate::load::Load;

const SLOTS: usize = 4;
const CLIENTS: usize = 6;

#[tokio::test]
async fn a_crash_of_postgres_loses_nothing_and_repeats_little() {
    let server = TestServer::durable().await;
    let pool = server.pool();
    // short, but longer than the outage: the worker continues, and the reaper must not declare it dead
    let cluster = Cluster::quick(server.url())
        .await
        .with("WORKER_STALE_AFTER_SECONDS", "12")
        .with("WORKER_LEASE_DURATION_SECONDS", "20")
        .with("REAPER_HOLD_OFF_SECONDS", "12")
        .with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1");
    let (mut api, mut reaper, mut first, mut second) = tokio::join!(
        cluster.api(),
        cluster.reaper(),
        cluster.worker("first", SLOTS),
        cluster.worker("second", SLOTS)
    );
    let history = Arc::new(History::new(&cluster.work));
    let load = Load::start(CLIENTS, &api.client, &history);
    load.more(150).await;
    server.stop_immediate().await;
    the_api_reports_the_outage(&api.client).await;
    server.start().await;
    load.more(150).await;
    let acknowledged = load.finish().await;
    all_final(&pool).await;

    for (name, node) in
        [("api", &mut api.node), ("reaper", &mut reaper), ("first", &mut first), ("second", &mut second)]
    {
        assert!(node.process.is_running(), "{name} ended: {}", node.process.lines().join("\n"));
        node.is_ready().await;
    }
    let (unavailable, without_hint) = history.unavailable();
    assert!(unavailable > 0, "the outage fell into the load");
    assert_eq!(without_hint, 0, "503 without Retry-After");
    let evidence = Evidence::collect(&history, &cluster.work, &pool).await;
    assert_no_violation(&evidence, Faults::Stormy);
    let (jobs, executions) = (evidence.stored.len(), evidence.executions.len());
    assert_eq!(jobs, acknowledged, "every submission was repeated until it was acknowledged");
    let in_flight = SLOTS * 2;
    assert!(executions <= jobs + in_flight, "{executions} executions of {jobs} jobs, {in_flight} slots");
}

/// The API is alive, not ready, and answers 503 with `Retry-After`.
async fn the_api_reports_the_outage(client: &Client) {
    eventually(LIMIT, "submissions get 503", async || {
        match client.try_post("/v1/jobs", job(QUICK, "in-the-outage").to_string(), None).await {
            Ok(answer) if answer.status == 503 => Ok(answer),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let refused = client.try_post("/v1/jobs", job(QUICK, "in-the-outage").to_string(), None).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    let seconds: u32 = refused.retry_after.as_ref().unwrap_or_else(|| panic!("{refused:?}")).parse().unwrap();
    assert!((1..=60).contains(&seconds), "{refused:?}");
    assert!(refused.json()["type"].is_string(), "{refused:?}");
    assert_eq!(client.get("/health").await.status, 200, "alive");
    assert_eq!(client.get("/ready").await.status, 503, "not ready");
}
