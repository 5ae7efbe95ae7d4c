//! A worker that was only asleep: stopped for longer than its lease, it wakes up with a result that nobody wants any more.
//! The winner's result stands.

use jobqueue_testkit::{Signal, TestDb, eventually};
use serde_json::json;

use crate::cluster::{Cluster, LIMIT};
use crate::ledger::{GATE, job};

#[tokio::test]
async fn a_woken_workers_result_is_refused() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _reaper, sleeper) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("sleeper", 1));
    let (client, work) = (&api.client, &cluster.work);
    let id = client.submit(&job(GATE, "contested")).await;
    work.started("contested", 1).await;
    sleeper.process.signal(Signal::STOP);

    let mut winner = cluster.worker("winner", 1).await;
    work.started("contested", 2).await;
    // the sleeper's own handler goes on, for it is another process; its result waits in a pipe
    work.open("contested", 1);
    eventually(LIMIT, "the sleeper's handler has ended", async || {
        let runs = work.executions_of("contested");
        if runs[0].ended { Ok(()) } else { Err(runs) }
    })
    .await;
    sleeper.process.signal(Signal::CONT);
    sleeper.metric_reaches("worker_settle_stale_total", 1.0).await;
    assert_eq!(client.job(&id).await["status"], "running", "the winner runs it, whatever the zombie said");
    assert_eq!(client.endings(&id).await, ["lost", "running"]);

    work.open("contested", 2);
    let done = client.completed(&id).await;
    assert_eq!((&done["attempt"], &done["result"]), (&json!(2), &json!("contested by attempt 2")));
    let attempts = client.attempts(&id).await;
    assert_eq!(client.endings(&id).await, ["lost", "completed"], "{attempts:?}");
    assert_ne!(attempts[0]["worker_id"], attempts[1]["worker_id"]);
    assert_eq!(attempts[1]["worker_id"], done["worker_id"]);
    assert_eq!(work.executions_of("contested").len(), 2);

    // the zombie lives and works on, under its own name
    winner.ends_well().await;
    let next = client.submit(&job(GATE, "next")).await;
    work.open("next", 1);
    assert_eq!(client.completed(&next).await["result"], "next by attempt 1");
    let told =
        sleeper.process.lines().iter().any(|line| line.contains(&id) && line.contains("lease was lost"));
    assert!(told, "the log says which job: {:?}", sleeper.process.lines());
}
