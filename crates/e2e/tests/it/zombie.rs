//! A worker that is frozen for longer than its lease, while another worker runs its job. When it continues, its result
//! is rejected, and the result of the other worker stays.

use jobqueue_testkit::{Signal, TestDb, eventually};
use serde_json::json;

use crate::cluster::{Cluster, LIMIT};
use crate::ledger::{GATE, job};

#[tokio::test]
async fn the_late_result_of_a_frozen_worker_is_rejected() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _reaper, frozen) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("frozen", 1));
    let (client, work) = (&api.client, &cluster.work);
    let id = client.submit(&job(GATE, "contested")).await;
    work.started("contested", 1).await;
    frozen.process.signal(Signal::STOP);

    let mut winner = cluster.worker("winner", 1).await;
    work.started("contested", 2).await;
    // the handler of the frozen worker continues, because it is another process; its result waits in a pipe
    work.open("contested", 1);
    eventually(LIMIT, "the handler of the frozen worker has ended", async || {
        let runs = work.executions_of("contested");
        if runs[0].ended { Ok(()) } else { Err(runs) }
    })
    .await;
    frozen.process.signal(Signal::CONT);
    frozen.metric_reaches("worker_settle_stale_total", 1.0).await;
    assert_eq!(
        client.job(&id).await["status"],
        "running",
        "the other worker runs it, regardless of the late result"
    );
    assert_eq!(client.endings(&id).await, ["lost", "running"]);

    work.open("contested", 2);
    let done = client.completed(&id).await;
    assert_eq!((&done["attempt"], &done["result"]), (&json!(2), &json!("contested by attempt 2")));
    let attempts = client.attempts(&id).await;
    assert_eq!(client.endings(&id).await, ["lost", "completed"], "{attempts:?}");
    assert_ne!(attempts[0]["worker_id"], attempts[1]["worker_id"]);
    assert_eq!(attempts[1]["worker_id"], done["worker_id"]);
    assert_eq!(work.executions_of("contested").len(), 2);

    // the worker that was frozen continues to lease jobs, with its name
    winner.ends_well().await;
    let next = client.submit(&job(GATE, "next")).await;
    work.open("next", 1);
    assert_eq!(client.completed(&next).await["result"], "next by attempt 1");
    let logged =
        frozen.process.lines().iter().any(|line| line.contains(&id) && line.contains("lease was lost"));
    assert!(logged, "the log names the job: {:?}", frozen.process.lines());
}
