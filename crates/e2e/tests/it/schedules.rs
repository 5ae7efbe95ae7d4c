//! Schedules with real processes: a schedule fires and a worker runs its job; several reapers, killed reapers and a frozen reaper neither
//! lose nor double a tick.

use std::time::Duration;

use jobqueue_testkit::{Signal, TestDb, eventually};
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Api, Cluster, LIMIT};
use crate::ledger::{QUICK, job};

/// Schedules of the tests with faults, each with a tick every second.
const SCHEDULES: usize = 200;
/// Kills of a reaper.
const KILLS: u32 = 20;

/// Ticks of all schedules that have been decided.
const DECIDED: &str = "SELECT count(*) FROM jobqueue.tick";
/// Schedules that have fewer or more ticks than there are seconds from their first to their last.
const GAPS: &str = "SELECT count(*) FROM (SELECT count(*) AS ticks, extract(epoch FROM max(nominal_at) - min(nominal_at)) + 1 AS seconds
                    FROM jobqueue.tick GROUP BY schedule_id) t WHERE ticks <> seconds";
/// Ticks that fired without a job of their own, and jobs without such a tick.
const UNMATCHED: &str = "SELECT (SELECT count(*) FROM jobqueue.tick t JOIN jobqueue.schedule s ON s.id = t.schedule_id
        WHERE t.fate = 'fired' AND (SELECT count(*) FROM jobqueue.body b WHERE b.id = t.job_id AND b.metadata->>'schedule' = s.name
                                    AND (b.metadata->>'tick')::timestamptz = t.nominal_at) <> 1)
      + (SELECT count(*) FROM jobqueue.body b WHERE b.id NOT IN (SELECT t.job_id FROM jobqueue.tick t WHERE t.job_id IS NOT NULL))";
/// Schedules whose number of runs is not that of their ticks with a job.
const MISCOUNTED: &str = "SELECT count(*) FROM jobqueue.schedule s
    WHERE runs <> (SELECT count(*) FROM jobqueue.tick t WHERE t.schedule_id = s.id AND t.fate = 'fired')";

async fn create_many(api: &Api) {
    for n in 0..SCHEDULES {
        let body = json!({ "interval_seconds": 1, "missed": "all", "job": { "kind": "k" } });
        assert_eq!(api.client.put(&format!("/v1/schedules/s{n}"), &body).await.status, 201);
    }
}

/// Waits until `more` further ticks have been decided.
async fn decided(db: &TestDb, more: usize) {
    let goal = db.number(DECIDED).await + i64::try_from(more).unwrap();
    eventually(LIMIT, "more ticks are decided", async || match db.number(DECIDED).await {
        count if count >= goal => Ok(()),
        count => Err((count, goal)),
    })
    .await;
}

async fn assert_exact(db: &TestDb) {
    assert_eq!(db.number(GAPS).await, 0, "a tick is lost");
    assert_eq!(db.number(UNMATCHED).await, 0, "a tick and its job do not match");
    assert_eq!(db.number(MISCOUNTED).await, 0, "runs are miscounted");
}

#[tokio::test]
async fn a_schedule_fires_and_its_job_runs() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, reaper, _worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("worker", 2));
    let body = json!({ "interval_seconds": 1, "max_runs": 3, "job": job(QUICK, "tick") });
    let created = api.client.put("/v1/schedules/every-second", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let ended = eventually(LIMIT, "the schedule has ended", async || {
        let schedule = api.client.get("/v1/schedules/every-second").await.json();
        if schedule["status"] == "ended" { Ok(schedule) } else { Err(schedule) }
    })
    .await;
    let ticks = ended["last_ticks"].as_array().unwrap();
    assert_eq!(ticks.len(), 3, "{ended}");
    for tick in ticks {
        assert_eq!(tick["fate"], "fired");
        let job = api.client.completed(tick["job_id"].as_str().unwrap()).await;
        assert_eq!(job["metadata"], json!({ "schedule": "every-second", "tick": tick["tick_at"] }));
    }
    let run = api.client.post("/v1/schedules/every-second/run", &json!({})).await;
    assert_eq!(run.status, 201);
    api.client.completed(run.json()["id"].as_str().unwrap()).await;
    reaper.metric_reaches("reaper_ticks_total{fate=\"fired\"}", 3.0).await;

    // in SQL, without the API
    db.execute("SELECT jobqueue.schedule('in-sql', interval_seconds => 1, kind => 'ledger.quick', payload => '\"sql\"')").await;
    eventually(LIMIT, "the schedule of SQL fires", async || {
        let schedule = api.client.get("/v1/schedules/in-sql").await.json();
        if schedule["runs"].as_i64() > Some(0) { Ok(()) } else { Err(schedule) }
    })
    .await;
}

#[tokio::test]
async fn killed_reapers_lose_and_double_no_tick() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let api = cluster.api().await;
    create_many(&api).await;
    for kill in 0..KILLS {
        let mut reaper = cluster.reaper().await;
        decided(&db, SCHEDULES).await;
        // The time of the fault, not a wait for an event: ticks come at full seconds, and each kill hits a later point of the pass.
        let seconds: f64 =
            sqlx::query_scalar("SELECT (1 - extract(epoch FROM clock_timestamp()) % 1)::float8")
                .fetch_one(db.pool())
                .await
                .unwrap();
        sleep(Duration::from_secs_f64(seconds) + Duration::from_millis(15) * kill).await;
        reaper.process.kill();
        reaper.process.wait_exit(LIMIT).await;
    }
    let _last = cluster.reaper().await;
    decided(&db, 2 * SCHEDULES).await;
    let paused = "UPDATE jobqueue.schedule SET paused_at = now(), fires_at = NULL, next_at = NULL";
    db.execute(paused).await;
    assert_exact(&db).await;
}

#[tokio::test]
async fn several_reapers_and_a_frozen_one_lose_and_double_no_tick() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let api = cluster.api().await;
    create_many(&api).await;
    let (victim, _second) = tokio::join!(cluster.reaper(), cluster.reaper());
    decided(&db, 3 * SCHEDULES).await;

    // both wait for this lock inside their transactions; then one freezes with its locks
    let held = db.hold("LOCK TABLE jobqueue.tick IN SHARE MODE").await;
    let waits = "wait_event_type = 'Lock' AND backend_xid IS NOT NULL AND query LIKE '%store.schedules%'";
    eventually(LIMIT, "a pass waits", async || match db.sessions(waits).await {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    victim.process.signal(Signal::STOP);
    held.rollback().await.unwrap();
    let _third = cluster.reaper().await;
    let all_advance = "SELECT count(*) FROM jobqueue.schedule WHERE next_at < now() - interval '2 s'";
    eventually(LIMIT, "no schedule is behind", async || match db.number(all_advance).await {
        0 => Ok(()),
        behind => Err(behind),
    })
    .await;
    victim.process.signal(Signal::CONT);
    decided(&db, 3 * SCHEDULES).await;
    db.execute("UPDATE jobqueue.schedule SET paused_at = now(), fires_at = NULL, next_at = NULL").await;
    assert_exact(&db).await;
}
