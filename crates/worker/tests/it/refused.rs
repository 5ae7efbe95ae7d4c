//! The database rejects connections, or every statement, when a job ends: the result is kept until it can be stored.

use std::time::Duration;

use jobqueue_core::Status;
use jobqueue_store::Store;
use jobqueue_testkit::{Fault, FaultProxy, TestDb, eventually};
use jobqueue_worker::WorkerBuilder;
use tokio::sync::watch;

use crate::bench::{AtWork, SOON, draft, enqueue, fast, options, reaches};

/// Longer than any rejection in these tests.
const LONG: Duration = Duration::from_mins(5);

/// A worker whose jobs end when the test opens the gate.
fn held(url: &str, gate: &watch::Sender<bool>) -> WorkerBuilder {
    let gate = gate.subscribe();
    fast(url).stale_after(LONG).lease_duration(LONG).handle("held", move |_, (): ()| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|go| *go).await?;
            Ok("kept")
        }
    })
}

/// Runs a job, lets it end while `refuse` is active, and checks that it ran exactly once.
async fn keeps_the_result(
    store: &Store,
    worker: &AtWork,
    gate: &watch::Sender<bool>,
    refuse: impl AsyncFnOnce(),
    accept: impl AsyncFnOnce(),
) {
    gate.send_replace(false);
    let id = enqueue(store, vec![draft("held", "null")]).await[0];
    worker.runs(1).await;
    refuse().await;
    gate.send_replace(true);
    worker.runs(0).await;
    // the first failed call may have begun before the job ended
    worker.fails(3.0).await;
    accept().await;
    let record = reaches(store, id, Status::Completed).await;
    assert_eq!((record.job.attempt, record.result.unwrap().as_str()), (1, "\"kept\""));
    assert_eq!(store.attempts(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_result_is_kept_through_every_kind_of_rejected_connection() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let store = Store::connect_lazy(&options(db.url())).unwrap();
    let (gate, _) = watch::channel(false);
    let worker = AtWork::start(held(&proxy.through(db.url()), &gate));
    // errors of Postgres and of poolers; the last ones are data errors in other contexts
    for state in ["28P01", "3D000", "55000", "XX000", "53300", "22023", "23505"] {
        let refuse = async || proxy.set(Fault::Reject(state));
        keeps_the_result(&store, &worker, &gate, refuse, async || proxy.set(Fault::Pass)).await;
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_result_is_kept_through_changes_of_the_database_by_an_operator() {
    let db = TestDb::new().await;
    let operator = TestDb::empty().await;
    let role = format!("worker_{}", db.name());
    let sql = async |sql: &str| {
        let sql = sql.replace("$ROLE", &role).replace("$DB", db.name());
        operator.execute(&sql).await;
    };
    let own = async |sql: &str| {
        let sql = sql.replace("$ROLE", &role);
        db.execute(&sql).await;
    };
    own("CREATE ROLE $ROLE LOGIN; GRANT USAGE ON SCHEMA jobqueue TO $ROLE; GRANT ALL ON ALL TABLES IN SCHEMA jobqueue TO $ROLE;
         GRANT ALL ON ALL SEQUENCES IN SCHEMA jobqueue TO $ROLE").await;
    let (scheme, rest) = db.url().split_once("://").unwrap();
    let url = format!("{scheme}://{role}@{}", rest.split_once('@').unwrap().1);
    let store = Store::connect_lazy(&options(db.url())).unwrap();
    // the connections of the test stay open, so that only the worker is rejected
    store.ping().await.unwrap();
    let (gate, _) = watch::channel(false);
    let worker = AtWork::start(held(&url, &gate));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '$ROLE'";
    for (refuse, accept) in [
        ("ALTER ROLE $ROLE NOLOGIN", "ALTER ROLE $ROLE LOGIN"),
        ("ALTER DATABASE $DB ALLOW_CONNECTIONS false", "ALTER DATABASE $DB ALLOW_CONNECTIONS true"),
        (
            "ALTER ROLE $ROLE SET default_transaction_read_only = on",
            "ALTER ROLE $ROLE RESET default_transaction_read_only",
        ),
    ] {
        let refuse = async || {
            sql(refuse).await;
            sql(end).await;
        };
        // sessions that were opened during the change may be unusable
        let accept = async || {
            sql(accept).await;
            sql(end).await;
        };
        keeps_the_result(&store, &worker, &gate, refuse, accept).await;
    }
    for (refuse, accept) in [
        (
            "REVOKE INSERT ON jobqueue.outcome, jobqueue.attempt FROM $ROLE",
            "GRANT INSERT ON jobqueue.outcome, jobqueue.attempt TO $ROLE",
        ),
        (
            "ALTER TABLE jobqueue.outcome RENAME TO elsewhere",
            "ALTER TABLE jobqueue.elsewhere RENAME TO outcome",
        ),
    ] {
        keeps_the_result(&store, &worker, &gate, async || own(refuse).await, async || own(accept).await)
            .await;
    }
    own("DROP OWNED BY $ROLE").await;
    worker.shutdown.force();
    drop(worker);
}

#[tokio::test]
async fn a_result_that_is_rejected_for_its_data_fails_its_job_and_no_other() {
    let db = TestDb::new().await;
    let store = Store::connect_lazy(&options(db.url())).unwrap();
    let (gate, _) = watch::channel(false);
    let worker = AtWork::start(held(db.url(), &gate).handle("bad", |_, (): ()| async { Ok("bad") }));
    db.execute(
        "ALTER TABLE jobqueue.outcome ADD CONSTRAINT no_bad CHECK (detail::text IS DISTINCT FROM '\"bad\"')",
    )
    .await;
    gate.send_replace(true);
    let ids = enqueue(&store, vec![draft("bad", "null"), draft("held", "null")]).await;
    let failed = reaches(&store, ids[0], Status::Failed).await;
    assert_eq!(failed.error.unwrap().kind, "unsettlable");
    reaches(&store, ids[1], Status::Completed).await;
    eventually(SOON, "nothing is unsettled", async || {
        let held = db.number("SELECT count(*) FROM jobqueue.lease WHERE open <> 0").await;
        if held == 0 { Ok(()) } else { Err(held) }
    })
    .await;
    worker.drain().await;
}
