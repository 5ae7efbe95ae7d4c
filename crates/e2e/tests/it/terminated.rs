//! Under load, every connection to the database is terminated each second for ten seconds, as in a failover, at a
//! restart of a pooler, or by `pg_terminate_backend`. No acknowledged job is lost, and every execution is accounted
//! for.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_testkit::TestDb;
use tokio::time::{MissedTickBehavior, interval};

use crate::checker::{Faults, assert_no_violation};
use crate::cluster::{Cluster, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::load::Load;

const CLIENTS: usize = 6;
const TERMINATIONS: usize = 10;

#[tokio::test]
async fn terminated_connections_lose_no_job() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (mut api, mut reaper, mut first, mut second) = tokio::join!(
        cluster.api(),
        cluster.reaper(),
        cluster.worker("first", 4),
        cluster.worker("second", 4)
    );
    let history = Arc::new(History::new(&cluster.work));
    let load = Load::start(CLIENTS, &api.client, &history);
    load.more(30).await;
    // the interval of the fault
    let mut second_hand = interval(Duration::from_secs(1));
    second_hand.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cut = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'jobqueue-%'";
    let mut ended = 0;
    for _ in 0..TERMINATIONS {
        second_hand.tick().await;
        ended += sqlx::query_scalar::<_, i64>(cut).fetch_one(db.pool()).await.unwrap();
    }
    assert!(ended >= 30, "{ended} connections were cut: that is no fault at all");
    load.more(30).await;
    let acknowledged = load.finish().await;
    all_final(db.pool()).await;
    for node in [&mut api.node, &mut reaper, &mut first, &mut second] {
        assert!(node.process.is_running(), "{}", node.process.lines().join("\n"));
        node.is_ready().await;
    }
    let evidence = Evidence::collect(&history, &cluster.work, db.pool()).await;
    assert_no_violation(&evidence, Faults::Stormy);
    assert_eq!(evidence.stored.len(), acknowledged);
    assert_eq!(history.unavailable().1, 0, "503 without Retry-After");
}
