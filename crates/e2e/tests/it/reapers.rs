//! Two reapers run at the same time with the same orphaned and due jobs: they share the work, and each job is handled
//! once.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::WorkerId;
use jobqueue_store::{LeaseRequest, Pooler, Store, StoreOptions, WorkerEntry};
use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;
use uuid::Uuid;

use crate::checker::{Faults, assert_no_violation};
use crate::client::Client;
use crate::cluster::{Cluster, LIMIT, Node, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{QUICK, job};

const ORPHANS: usize = 200;
const DUE: usize = 200;

#[tokio::test]
async fn two_reapers_handle_each_job_once() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let api = cluster.api().await;
    let history = Arc::new(History::new(&cluster.work));
    submit(&api.client, &history, "orphan", ORPHANS, None).await;
    let store = Store::connect_lazy(&StoreOptions {
        url: db.url().into(),
        application_name: "doomed".to_owned(),
        max_connections: 2,
        connect_timeout: LIMIT,
        pooler: Pooler::None,
    })
    .unwrap();
    assert_eq!(lease_without_heartbeats(&store).await, ORPHANS);
    submit(&api.client, &history, "due", DUE, Some(1.0)).await;

    let (one, two) = tokio::join!(cluster.reaper(), cluster.reaper());
    eventually(LIMIT, "every orphan and every due job is queued", async || {
        let counts: (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE attempt = 1), count(*) FILTER (WHERE attempt = 0) FROM jobs WHERE status = 'queued'",
        )
        .fetch_one(db.pool())
        .await
        .unwrap();
        if counts == (count(ORPHANS), count(DUE)) { Ok(()) } else { Err(counts) }
    })
    .await;
    let lost: Vec<i64> =
        sqlx::query_scalar("SELECT count(*) FROM jobqueue.attempt WHERE ended = 'lost' GROUP BY job_id")
            .fetch_all(db.pool())
            .await
            .unwrap();
    assert_eq!(lost, vec![1; ORPHANS], "each attempt was ended once");
    both_reapers_add_up(&one, &two).await;

    let _worker = cluster.worker("heir", 10).await;
    all_final(db.pool()).await;
    let evidence = Evidence::collect(&history, &cluster.work, db.pool()).await;
    // the worker that died ran no handler, so every job ran exactly once
    assert_no_violation(&evidence, Faults::Calm);
    for stored in &evidence.stored {
        let orphan = stored.word.as_ref().unwrap().starts_with("orphan");
        assert_eq!(
            (stored.attempt, stored.endings.len()),
            if orphan { (2, 1) } else { (1, 0) },
            "{stored:?}"
        );
    }
}

/// The metrics of both reapers add up to the number of jobs.
async fn both_reapers_add_up(one: &Node, two: &Node) {
    for (duty, jobs) in [("reclaim", ORPHANS), ("promote", DUE)] {
        let name = format!("reaper_jobs_total{{duty=\"{duty}\"}}");
        eventually(LIMIT, &format!("{name} adds up"), async || {
            let sum = one.metric(&name).await + two.metric(&name).await;
            let goal = f64::from(u32::try_from(jobs).unwrap());
            if (sum - goal).abs() < 0.5 { Ok(()) } else { Err(sum) }
        })
        .await;
    }
}

async fn submit(client: &Client, history: &History, name: &str, number: usize, delay: Option<f64>) {
    let words: Vec<_> = (0..number).map(|n| format!("{name}-{n}")).collect();
    let jobs: Vec<_> = words
        .iter()
        .map(|word| {
            let mut job = job(QUICK, word);
            if let Some(delay) = delay {
                job["delay_seconds"] = json!(delay);
            }
            job
        })
        .collect();
    for word in &words {
        history.sent(word);
    }
    let ids = client.submit_all(&jobs).await;
    assert_eq!(ids.len(), number);
}

/// Leases all jobs as a worker that then sends no heartbeat.
async fn lease_without_heartbeats(store: &Store) -> usize {
    let id = WorkerId::from_uuid(Uuid::new_v4());
    let worker = WorkerEntry {
        id,
        name: "doomed".into(),
        queues: vec![],
        kinds: vec![],
        slots: 1,
        version: "e2e".into(),
        host: "host".to_owned(),
        paused: false,
        stale_after: Duration::from_secs(3),
    };
    store.register_worker(&worker).await.unwrap();
    let request = LeaseRequest {
        worker_id: Some(id),
        queues: vec!["default".parse().unwrap()],
        kinds: vec![],
        limit: 1000,
        duration: Duration::from_hours(1),
    };
    store.lease(&request).await.unwrap().len()
}

fn count(jobs: usize) -> i64 {
    i64::try_from(jobs).unwrap()
}
