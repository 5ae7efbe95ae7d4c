//! SIGTERM, as every deployment sends it: under load, repeatedly, and with a job that takes longer than the grace
//! period. No job is lost or runs twice, none is leased after the signal, and the process ends by itself with exit code
//! 0.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_testkit::{Signal, TestDb};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::checker::{Faults, assert_no_violation, conservation};
use crate::cluster::{Cluster, Node, all_final};
use crate::evidence::{Evidence, Totals};
use crate::history::History;
use crate::ledger::{GATE, job};
use crate::load::Load;

const SLOTS: usize = 4;
const ROUNDS: usize = 4;
const CLIENTS: usize = 4;
/// Acknowledged submissions between two signals.
const BETWEEN: usize = 50;
/// Time limit until the log says that the drain begins; reached only if the test fails.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn no_job_is_lost_or_repeated_when_workers_are_replaced() {
    let db = TestDb::new().await;
    let pool = db.pool();
    // the default timings, so that no lease expires even on a busy machine
    let cluster = Cluster::new(db.url()).await;
    let (api, _reaper, first, second) = tokio::join!(
        cluster.api(),
        cluster.reaper(),
        cluster.worker("worker-0", SLOTS),
        cluster.worker("worker-1", SLOTS)
    );
    let history = Arc::new(History::new(&cluster.work));
    let load = Load::start(CLIENTS, &api.client, &history);
    let mut workers = vec![first, second];
    for round in 0..ROUNDS {
        load.more(BETWEEN).await;
        let oldest = workers.remove(0);
        let (old_name, new_name) = (format!("worker-{round}"), format!("worker-{}", round + 2));
        let (replacement, ()) = tokio::join!(
            cluster.worker(&new_name, SLOTS),
            drains_without_starting_jobs(oldest, &old_name, pool)
        );
        workers.push(replacement);
        assert_eq!(conservation(&Totals::read(pool).await), [""; 0]);
    }
    load.more(BETWEEN).await;
    let acknowledged = load.finish().await;
    all_final(pool).await;
    let evidence = Evidence::collect(&history, &cluster.work, pool).await;
    assert_no_violation(&evidence, Faults::Calm);
    assert_eq!(evidence.stored.len(), acknowledged, "no fault, so everything that was sent was acknowledged");
    assert_eq!(history.unavailable(), (0, 0), "the API did not notice");
}

/// Sends SIGTERM to a busy worker, and checks that it starts no job after it has logged the drain.
async fn drains_without_starting_jobs(mut worker: Node, name: &str, pool: &PgPool) {
    let identities = "SELECT id FROM jobqueue.worker WHERE name = $1";
    let ids: Vec<Uuid> = sqlx::query_scalar(identities).bind(name).fetch_all(pool).await.unwrap();
    assert_eq!(ids.len(), 1, "{name} is registered once");
    worker.process.signal(Signal::TERM);
    worker.process.wait_for_line("the drain", |line| line.contains("draining"), SOON).await;
    // leases are numbered, so the next number separates before from after without a clock
    let last: i64 =
        sqlx::query_scalar("SELECT last_value FROM jobqueue.lease_epoch").fetch_one(pool).await.unwrap();
    worker.has_ended_well().await;
    // jobs of a lease call that was in progress at the signal are released and never started
    let begun = "SELECT (SELECT count(*) FROM jobqueue.outcome WHERE worker_id = ANY ($1) AND epoch > $2)
                      + (SELECT count(*) FROM jobqueue.attempt
                         WHERE worker_id = ANY ($1) AND epoch > $2 AND ended <> 'released')";
    let begun: i64 = sqlx::query_scalar(begun).bind(&ids).bind(last).fetch_one(pool).await.unwrap();
    assert_eq!(begun, 0, "jobs that {name} started after it had logged the drain");
    let held = "SELECT count(*) FROM jobqueue.lease WHERE worker_id = ANY ($1)";
    let held: i64 = sqlx::query_scalar(held).bind(&ids).fetch_one(pool).await.unwrap();
    assert_eq!(held, 0, "leases that {name} left behind");
}

#[tokio::test]
async fn a_job_longer_than_the_grace_is_released_without_costing_an_attempt() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await.with("WORKER_SHUTDOWN_GRACE_SECONDS", "0.5");
    let (api, _reaper, mut leaver) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("leaver", 2));
    let (client, work) = (&api.client, &cluster.work);
    let mut long = job(GATE, "long");
    // the job has one attempt: if the drain used it up, the job would have failed
    long["max_attempts"] = json!(1);
    let id = client.submit(&long).await;
    work.started("long", 1).await;
    leaver.ends_well().await;
    let waiting = client.job(&id).await;
    assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("queued"), &json!(0)));
    assert_eq!(client.endings(&id).await, ["released"]);

    let _heir = cluster.worker("heir", 2).await;
    work.started("long", 2).await;
    work.open("long", 1);
    let done = client.completed(&id).await;
    assert_eq!((&done["attempt"], &done["result"]), (&json!(1), &json!("long by attempt 1")));
    assert_eq!(client.endings(&id).await, ["released", "completed"]);
    assert!(!work.executions_of("long")[0].ended, "the first run was stopped");
}

#[tokio::test]
async fn every_process_ends_at_once_when_idle() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await;
    let (mut api, mut reaper, mut worker) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("idle", 1));
    tokio::join!(api.node.ends_well(), reaper.ends_well(), worker.ends_well());
}
