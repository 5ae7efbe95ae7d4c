//! Sessions whose process froze during a statement: which ones the reaper terminates.

use std::time::Duration;

use jobqueue_testkit::{TestDb, eventually};
use sqlx::{Connection as _, PgConnection};

use crate::bench::{Bench, MINUTE, draft};

/// A session of a program, in a transaction.
async fn session(db: &TestDb, program: &str) -> PgConnection {
    let options = db.connect_options().application_name(program);
    let mut session = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut session).await.unwrap();
    session
}

#[tokio::test]
async fn sessions_that_hold_locks_and_wait_for_their_client_are_ended() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    bench.lease_one().await;
    let lock = "SELECT FROM jobqueue.lease FOR UPDATE";
    // frozen during a statement: no timeout of Postgres ends this session
    let mut frozen = session(&bench.db, "jobqueue-worker").await;
    sqlx::raw_sql(lock).execute(&mut frozen).await.unwrap();
    let copy = frozen.copy_in_raw("COPY jobqueue.tally (queue_id) FROM STDIN").await.unwrap();
    let mut users = session(&bench.db, "psql").await;
    sqlx::raw_sql("INSERT INTO jobqueue.tally (queue_id) VALUES (1)").execute(&mut users).await.unwrap();
    let mut reads = session(&bench.db, "jobqueue-api").await;
    sqlx::raw_sql("SELECT FROM jobqueue.lease").execute(&mut reads).await.unwrap();

    bench.pass(MINUTE);
    let reclaim = async || bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs;
    assert_eq!(reclaim().await, [], "its lease is locked");
    assert_eq!(bench.store.upkeep().end_stuck_sessions(MINUTE).await.unwrap(), [], "it may be slow");
    let ended = bench.store.upkeep().end_stuck_sessions(Duration::ZERO).await.unwrap();
    let names: Vec<_> = ended.iter().map(|session| session.application_name.as_str()).collect();
    assert_eq!(names, ["jobqueue-worker"]);
    eventually(MINUTE, "the lease is free", async || match reclaim().await {
        jobs if jobs == [id] => Ok(()),
        other => Err(other),
    })
    .await;
    copy.finish().await.unwrap_err();
    for alive in [&mut users, &mut reads] {
        sqlx::raw_sql("SELECT").execute(alive).await.unwrap();
    }
}
