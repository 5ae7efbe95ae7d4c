//! Plans: with a lot waiting and a lot done, and statistics that know it or know nothing, the hot statements look up and
//! never walk a table. Postgres counts what each table gives out, whatever plan it took; that is what is read here.

use std::time::Duration;

use jobqueue_core::{JobId, Outcome, Status};
use jobqueue_store::{JobFilter, Pooler, Store, StoreOptions};
use jobqueue_testkit::{TestServer, eventually};
use sqlx::PgPool;

use crate::bench::{boom, end, failed, request};

/// 200,000 ready jobs and as many final ones, of which 200 failed, as the verbs would have left them.
const FILL: &str = "
    SELECT jobqueue.lane_id('default', 0::smallint), jobqueue.kind_id('noop');
    CREATE TEMP TABLE fill AS SELECT n, jobqueue.new_id() AS id FROM generate_series(1, 400000) n;
    INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload) SELECT id, 1, 1, 10, '{}' FROM fill;
    INSERT INTO jobqueue.ready SELECT id, 1, 1, 0 FROM fill WHERE n > 200000;
    INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at)
      SELECT id, CASE WHEN n % 1000 = 0 THEN 6 ELSE 5 END, 1, now() FROM fill WHERE n <= 200000;
    INSERT INTO jobqueue.tally (queue_id, created, completed) VALUES (1, 400000, 200000);
    DROP TABLE fill";

/// Cycles of a worker and its users: often enough that Postgres turns from custom to generic plans.
const CYCLES: usize = 12;
/// Far more rows than the cycles handle, far fewer than one walk gives out.
const FEW_ROWS: i64 = 100_000;

/// What the big tables gave out so far: by walking them, and by looking up.
async fn given_out(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "SELECT sum(seq_tup_read)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint FROM pg_stat_user_tables
         WHERE relname ~ '^(body|outcome|ready|scheduled|attempt)'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Waits until the counters hold what other sessions did.
async fn counted(pool: &PgPool, inserted: i64) {
    let sql = "SELECT sum(n_tup_ins)::bigint FROM pg_stat_user_tables WHERE relname ~ '^outcome'";
    eventually(Duration::from_secs(30), "the counters are up to date", async || match sqlx::query_scalar::<
        _,
        i64,
    >(sql)
    .fetch_one(pool)
    .await
    .unwrap()
    {
        seen if seen >= inserted => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn cycles(store: &Store) {
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..CYCLES {
        let leased = store.lease(&request(None, &["default"], 100)).await.unwrap();
        assert_eq!(leased.len(), 100);
        ids.extend(leased.iter().map(|leased| leased.job.id));
        let mut ends: Vec<_> = leased.into_iter().map(|one| end(one, Outcome::Completed(None))).collect();
        let more = store.lease(&request(None, &["default"], 3)).await.unwrap();
        ends.extend(more.into_iter().map(|one| end(one, failed())));
        store.settle(ends).await.unwrap();
        store.jobs_by_id(&ids[..20]).await.unwrap();
        store.job(ids[0]).await.unwrap();
        assert_eq!(store.not_live(&ids[..20]).await.unwrap().len(), 20);
        store.cancel(&ids[..5], &boom()).await.unwrap();
        store.promote_due(100).await.unwrap();
        store.reclaim(Duration::ZERO, 10).await.unwrap();
        for statuses in [vec![], vec![Status::Completed], vec![Status::Failed], vec![Status::Queued]] {
            let filter = JobFilter { statuses, ..JobFilter::default() };
            assert_eq!(store.list(&filter, None, 50).await.unwrap().jobs.len(), 50);
        }
    }
}

async fn hot_statements_look_up(analyzed: bool) {
    let server = TestServer::with_settings(&[("autovacuum", "off"), ("fsync", "off")]).await;
    let pool = server.pool();
    let mut filling = pool.acquire().await.unwrap();
    sqlx::raw_sql(FILL).execute(&mut *filling).await.unwrap();
    if analyzed {
        sqlx::raw_sql("ANALYZE").execute(&mut *filling).await.unwrap();
    }
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *filling).await.unwrap();
    drop(filling);
    counted(&pool, 200_000).await;
    let (walked_before, looked_up_before) = given_out(&pool).await;

    let options = StoreOptions {
        url: server.url().to_owned(),
        application_name: "plans".into(),
        max_connections: 1,
        connect_timeout: Duration::from_secs(20),
        pooler: Pooler::None,
    };
    let store = Store::connect_lazy(&options).unwrap();
    cycles(&store).await;
    store.close().await;
    counted(&pool, 201_200).await;
    let (walked, looked_up) = given_out(&pool).await;
    assert_eq!(walked - walked_before, 0, "rows given out by walking a table");
    let looked_up = looked_up - looked_up_before;
    assert!((1..FEW_ROWS).contains(&looked_up), "{looked_up} rows were looked up");

    // the counters do see a walk
    sqlx::raw_sql(
        "SELECT count(*) FROM jobqueue.outcome WHERE attempt = 9; SELECT pg_stat_force_next_flush()",
    )
    .execute(&pool)
    .await
    .unwrap();
    eventually(Duration::from_secs(30), "a walk is counted", async || {
        let (walked_now, _) = given_out(&pool).await;
        if walked_now > walked { Ok(()) } else { Err(walked_now) }
    })
    .await;
}

#[tokio::test]
async fn hot_statements_look_up_with_statistics() {
    hot_statements_look_up(true).await;
}

#[tokio::test]
async fn hot_statements_look_up_without_statistics() {
    hot_statements_look_up(false).await;
}
