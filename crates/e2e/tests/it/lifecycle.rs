//! The common lifecycles of a job through API, worker and reaper: from POST to its exact result, delayed, retried,
//! ordered, cancelled, and enqueued in SQL. They run for every way to reach the database.

use std::path::Path;

use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;
use sqlx::{Acquire as _, PgPool};

use crate::client::Client;
use crate::cluster::{Cluster, LIMIT};
use crate::ledger::{ECHO, FLAKY, GATE, QUICK, WorkDir, job};

#[tokio::test]
async fn jobs_run_from_post_to_completed() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    every_lifecycle(&cluster, db.pool()).await;
}

/// All lifecycles concurrently, on a cluster with one process of each kind.
pub(crate) async fn every_lifecycle(cluster: &Cluster, pool: &PgPool) {
    let (api, _reaper, _worker) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("everyday", 10));
    let (client, work) = (&api.client, &cluster.work);
    tokio::join!(
        the_result_is_exact(client),
        a_long_poll_ends_with_the_job(client, work),
        sql_enqueues_with_its_transaction(client, pool),
        a_delayed_job_waits(client),
        a_failing_job_is_retried_after_its_delay(client),
        a_cancelled_command_is_killed(client, work),
        higher_priorities_run_first(client, cluster),
    );
}

async fn the_result_is_exact(client: &Client) {
    // spaces, a number that no float can represent, escapes, characters outside of the basic plane
    let payload = r#"{"b" : 1.50, "a":[18446744073709551616, 1e2], "é":"\u00e9 🦀 \"q\"", "n":null}"#;
    let body =
        format!(r#"{{"kind":"{ECHO}","payload":{payload},"tags":["exact"],"metadata":{{"of":"e2e"}}}}"#);
    let answer = client.try_post("/v1/jobs", body, None).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let done = client.completed(&id).await;
    assert_eq!((&done["tags"], &done["metadata"]), (&json!(["exact"]), &json!({ "of": "e2e" })));
    let text = client.get(&format!("/v1/jobs/{id}")).await.text;
    assert!(text.contains(&format!(r#""payload":{payload}"#)), "{text}");
    assert!(text.contains(&format!(r#""result":{payload}"#)), "{text}");
    assert_eq!(client.endings(&id).await, ["completed"]);
}

async fn a_long_poll_ends_with_the_job(client: &Client, work: &WorkDir) {
    let id = client.submit(&job(GATE, "polled")).await;
    work.started("polled", 1).await;
    let running = client.get(&format!("/v1/jobs/{id}?wait=1")).await.json();
    assert_eq!(running["status"], "running", "a wait that is over answers with what is");
    let path = format!("/v1/jobs/{id}?wait=30");
    let waiting = client.get(&path);
    let opening = async { work.open("polled", 1) };
    let (answer, ()) = tokio::join!(waiting, opening);
    let done = answer.json();
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("polled by attempt 1")));
}

async fn sql_enqueues_with_its_transaction(client: &Client, pool: &PgPool) {
    let enqueue = "SELECT jobqueue.enqueue(kind => 'ledger.quick', payload => '\"of-sql\"')::text";
    let mut connection = pool.acquire().await.unwrap();
    let mut ids = Vec::new();
    for commits in [false, true] {
        let mut transaction = connection.begin().await.unwrap();
        let id: String = sqlx::query_scalar(enqueue).fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(client.get(&format!("/v1/jobs/{id}")).await.status, 404, "not before the commit");
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        ids.push(id);
    }
    assert_eq!(client.completed(&ids[1]).await["result"], "of-sql by attempt 1");
    assert_eq!(client.get(&format!("/v1/jobs/{}", ids[0])).await.status, 404, "rolled back");
}

async fn a_delayed_job_waits(client: &Client) {
    let mut later = job(QUICK, "later");
    later["delay_seconds"] = json!(1.0);
    let id = client.submit(&later).await;
    assert_eq!(client.job(&id).await["status"], "scheduled");
    let done = client.completed(&id).await;
    let timestamp = |name: &str| done[name].as_str().unwrap_or_else(|| panic!("{name}: {done}")).to_owned();
    // timestamps in UTC with at most the same number of digits: their text order is their time order
    assert!(timestamp("run_at") > timestamp("created_at"), "{done}");
    assert!(timestamp("started_at") >= timestamp("run_at"), "{done}");
}

async fn a_failing_job_is_retried_after_its_delay(client: &Client) {
    let mut flaky = job(FLAKY, "flaky");
    flaky["retry"] = json!({ "strategy": "list", "delays_seconds": [0.2, 0.6] });
    let id = client.submit(&flaky).await;
    let done = client.completed(&id).await;
    assert_eq!((&done["attempt"], &done["result"]), (&json!(3), &json!("flaky by attempt 3")));
    assert_eq!(client.endings(&id).await, ["retried", "retried", "completed"]);

    let mut hopeless = job(FLAKY, "hopeless");
    hopeless["max_attempts"] = json!(2);
    hopeless["retry"] = json!({ "strategy": "fixed", "delay_seconds": 0.1 });
    let id = client.submit(&hopeless).await;
    let failed = client.finished(&id).await;
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(2)));
    assert!(failed["error"]["type"].is_string(), "{failed}");
}

async fn a_cancelled_command_is_killed(client: &Client, work: &WorkDir) {
    let id = client.submit(&job(GATE, "unwanted")).await;
    let execution = work.started("unwanted", 1).await;
    let alive = Path::new("/proc").join(execution.pid.to_string());
    let answer = client.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert_eq!(client.finished(&id).await["status"], "cancelled");
    if Path::new("/proc/self").exists() {
        eventually(LIMIT, "its process is gone", async || if alive.exists() { Err(()) } else { Ok(()) })
            .await;
    }
    work.open("unwanted", 1);
    assert!(work.executions_of("unwanted").iter().all(|run| !run.ended), "it was stopped, not finished");

    let queued = client.submit(&json!({ "kind": QUICK, "payload": "never", "queue": "unserved" })).await;
    let answer = client.post(&format!("/v1/jobs/{queued}/cancel"), &json!({})).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert_eq!(client.job(&queued).await["status"], "cancelled");
    assert_eq!(client.endings(&queued).await, [""; 0]);
}

async fn higher_priorities_run_first(client: &Client, cluster: &Cluster) {
    let order = [("low", -5), ("plain-1", 0), ("high", 50), ("plain-2", 0)];
    let jobs = order.map(|(word, priority)| {
        json!({ "kind": QUICK, "payload": word, "queue": "ordered", "priority": priority })
    });
    let ids = client.submit_all(&jobs).await;
    let _worker = cluster.clone().with("WORKER_QUEUES", "ordered").worker("one-slot", 1).await;
    for id in &ids {
        client.completed(id).await;
    }
    let ran = cluster.work.executions().into_iter().map(|run| run.word);
    let ran: Vec<_> = ran.filter(|word| order.iter().any(|(known, _)| known == word)).collect();
    assert_eq!(ran, ["high", "plain-1", "plain-2", "low"]);
}
