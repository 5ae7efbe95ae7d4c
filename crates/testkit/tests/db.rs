//! Tests of the test databases and servers.
#![expect(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::time::Duration;

use jobqueue_testkit::{Clock, TestDb, TestServer, eventually};
use sqlx::{Connection, PgConnection, PgPool};

const LIMIT: Duration = Duration::from_secs(30);

async fn count(pool: &PgPool, query: &str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// The same test three times, so that several threads and runtimes use the shared server.
async fn create_and_count_a_table() {
    let db = TestDb::new().await;
    sqlx::query("create table mine (id int)").execute(db.pool()).await.unwrap();
    assert_eq!(count(db.pool(), "select count(*) from pg_class where relname = 'mine'").await, 1);
    let other = TestDb::new().await;
    assert_eq!(count(other.pool(), "select count(*) from pg_class where relname = 'mine'").await, 0);
    assert_ne!(db.url(), other.url());
}

#[tokio::test]
async fn databases_are_separate_1() {
    create_and_count_a_table().await;
}

#[tokio::test]
async fn databases_are_separate_2() {
    create_and_count_a_table().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_separate_3() {
    create_and_count_a_table().await;
}

#[tokio::test]
async fn a_dropped_database_is_gone_even_with_a_connection() {
    let watcher = TestDb::new().await;
    let db = TestDb::new().await;
    let name = db.name().to_owned();
    let held = db.pool().acquire().await.unwrap();
    drop(db);
    eventually(LIMIT, "the database is dropped", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
            .bind(&name)
            .fetch_one(watcher.pool())
            .await
            .unwrap();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    drop(held);
}

#[tokio::test]
async fn an_empty_database_has_no_schema_of_jobqueue() {
    let db = TestDb::empty().await;
    let ours = "select count(*) from pg_namespace where nspname = 'jobqueue'";
    assert_eq!(count(db.pool(), ours).await, 0);
}

#[tokio::test]
async fn the_clock_moves_new_and_idle_sessions() {
    let db = TestDb::empty().await;
    let clock = Clock::new();
    let pool = db.pool_with_clock(&clock);
    let ahead = "select extract(epoch from current_setting('jobqueue.clock_offset')::interval)::bigint";
    assert_eq!(count(&pool, ahead).await, 0);
    clock.advance(Duration::from_hours(1));
    clock.advance(Duration::from_secs(5));
    assert_eq!(count(&pool, ahead).await, 3605, "an idle session learns the new time");
    let (first, mut second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let fresh: i64 = sqlx::query_scalar(ahead).fetch_one(&mut *second).await.unwrap();
    assert_eq!(fresh, 3605, "a new session learns it too");
    drop(first);
}

#[tokio::test]
async fn a_durable_server_has_the_committed_data_after_a_crash() {
    let server = TestServer::with_settings(&[("deadlock_timeout", "123ms")]).await;
    let pool = server.pool();
    let setting: String = sqlx::query_scalar("show fsync").fetch_one(&pool).await.unwrap();
    assert_eq!(setting, "on");
    let setting: String = sqlx::query_scalar("show deadlock_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(setting, "123ms");
    sqlx::query("create table kept as select 7 as seven").execute(&pool).await.unwrap();

    server.stop_immediate().await;
    assert!(PgConnection::connect(server.url()).await.is_err(), "no server may answer");
    server.start().await;
    assert_eq!(count(&pool, "select seven::bigint from kept").await, 7);
    server.stop().await;
    server.start().await;
    assert_eq!(count(&server.pool(), "select seven::bigint from kept").await, 7);
}

#[tokio::test]
#[should_panic(expected = "not within 20ms: the moon; last seen: \"cheese\"")]
async fn a_condition_that_is_never_met_is_named() {
    eventually(Duration::from_millis(20), "the moon", async || Err::<(), _>("cheese")).await;
}
