//! A verb that deadlocks with another transaction is retried and succeeds.

use std::future::Future;

use jobqueue_core::{JobId, Status};
use jobqueue_store::Retried;
use jobqueue_testkit::eventually;
use sqlx::PgConnection;

use crate::bench::{Bench, MINUTE, delayed, draft, start};

/// A transaction locks the second row, waits until the verb has locked the first row and waits for the second, and then
/// locks the first. The database cancels the verb, because it has waited longer.
async fn deadlock_with<T: Send + 'static>(
    bench: &Bench,
    table: &str,
    ids: [JobId; 2],
    verb: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut stranger = bench.pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL deadlock_timeout = '1h'").execute(&mut *stranger).await.unwrap();
    lock(&mut stranger, table, ids[1]).await;
    let verb = start(verb);
    eventually(MINUTE, "the verb waits", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        if bench.count(sql).await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    lock(&mut stranger, table, ids[0]).await;
    eventually(MINUTE, "the verb had to give way", async || {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        if bench.count(sql).await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    stranger.commit().await.unwrap();
    verb.await.unwrap()
}

async fn lock(connection: &mut PgConnection, table: &str, id: JobId) {
    let sql = format!("SELECT FROM jobqueue.{table} WHERE job_id = $1 FOR UPDATE");
    sqlx::query(&sql).bind(id.as_uuid()).fetch_one(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_is_retried_after_a_deadlock() {
    let bench = Bench::new().await;
    let ids = [bench.add(delayed(60.0)).await, bench.add(delayed(60.0)).await];
    let store = bench.store.clone();
    let promoted =
        deadlock_with(&bench, "scheduled", ids, async move { store.jobs().promote(&ids).await.unwrap() })
            .await;
    assert_eq!(promoted.len(), 2);
    assert_eq!([bench.status(ids[0]).await, bench.status(ids[1]).await], [Status::Queued; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_is_retried_after_a_deadlock() {
    let bench = Bench::new().await;
    let ids = [bench.dead(draft()).await, bench.dead(draft()).await];
    let store = bench.store.clone();
    let retried =
        deadlock_with(&bench, "outcome", ids, async move { store.jobs().retry(&ids).await.unwrap() }).await;
    assert_eq!(retried, [Retried::Now; 2]);
    assert_eq!([bench.status(ids[0]).await, bench.status(ids[1]).await], [Status::Queued; 2]);
}
