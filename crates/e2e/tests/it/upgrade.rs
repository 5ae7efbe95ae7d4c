//! An upgrade: the next release migrates first, while the processes of this one work.

use jobqueue_testkit::{TestDb, next_release};

use crate::cluster::{Cluster, all_final};
use crate::ledger::{GATE, QUICK, job};

#[tokio::test]
async fn processes_of_this_release_work_on_the_schema_of_the_next() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, reaper, worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("before", 2));
    let running = api.client.submit(&job(GATE, "running")).await;
    cluster.work.started("running", 1).await;
    let before = api.client.submit(&job(QUICK, "before")).await;
    api.client.completed(&before).await;

    next_release(db.pool()).await;
    cluster.work.open("running", 1);
    api.client.completed(&running).await;
    api.client.completed(&api.client.submit(&job(QUICK, "after")).await).await;

    // a roll back starts them anew
    drop((api, reaper, worker));
    let (api, _reaper, _worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("after", 2));
    assert_eq!(api.client.job(&before).await["status"], "completed");
    api.client.completed(&api.client.submit(&job(QUICK, "started anew")).await).await;
    all_final(db.pool()).await;
}
