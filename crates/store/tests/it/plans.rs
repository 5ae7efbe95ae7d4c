//! Plans: with a lot waiting and a lot done, and statistics that know it or know nothing, or plans made before, the hot statements
//! look up and never walk a table. Postgres counts what each table gives out, whatever plan it took; that is what is read here.

use std::time::Duration;

use jobqueue_core::{JobId, Outcome, Status};
use jobqueue_store::{AttemptEnd, Cancelled, JobFilter, Pooler, Retried, Store, StoreOptions};
use jobqueue_testkit::{TestServer, eventually};
use sqlx::PgPool;

use crate::bench::{boom, end, failed, request};

/// What the planner knows of the many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planner {
    Statistics,
    Sizes,
    /// Its plans are from when there was next to nothing, as in an installation that has waited for its first busy day.
    OldPlans,
}

/// As many ready jobs, scheduled ones (older, without their bodies) and final ones, of which some failed, as the verbs would have
/// left them.
fn fill(jobs: u32) -> String {
    format!(
        "SELECT jobqueue.lane_id('default', 0::smallint), jobqueue.kind_id('noop');
         INSERT INTO jobqueue.scheduled SELECT jobqueue.new_id(), now() + interval '1 day', 1, 1, 0 FROM generate_series(1, {jobs});
         CREATE TEMP TABLE fill AS SELECT n, jobqueue.new_id() AS id FROM generate_series(1, 2 * {jobs}) n;
         INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload) SELECT id, 1, 1, 10, '{{}}' FROM fill;
         INSERT INTO jobqueue.ready SELECT id, 1, 1, 0 FROM fill WHERE n > {jobs};
         INSERT INTO jobqueue.unique_claim SELECT gen_random_uuid(), id, 0 FROM fill WHERE n <= {jobs};
         INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at)
           SELECT id, CASE WHEN n % 1000 = 0 THEN 6 ELSE 5 END, 1, now() FROM fill WHERE n <= {jobs};
         INSERT INTO jobqueue.tally (queue_id, created, completed) VALUES (1, 2 * {jobs}, {jobs});
         DROP TABLE fill"
    )
}

const MANY: u32 = 200_000;
const FEW: u32 = 5;
/// Cycles of a worker and its users: often enough that Postgres turns from custom to generic plans.
const CYCLES: usize = 12;
/// Far more rows than the cycles handle, far fewer than one walk gives out.
const FEW_ROWS: i64 = 100_000;

/// What the big tables gave out so far: by walking them, and by looking up.
async fn given_out(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "SELECT sum(seq_tup_read)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint FROM pg_stat_user_tables
         WHERE relname ~ '^(body|outcome|ready|scheduled|attempt|unique_claim)'",
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

/// What workers, users and the reaper do, with up to 103 jobs of which up to 100 complete. Returns those.
async fn cycle(store: &Store) -> Vec<JobId> {
    let leased = store.lease(&request(None, &["default"], 100)).await.unwrap();
    let completed: Vec<JobId> = leased.iter().map(|leased| leased.job.id).collect();
    let some = if completed.is_empty() {
        vec![JobId::from_ticks(1 << 50, 0)]
    } else {
        completed[..completed.len().min(20)].to_vec()
    };
    let keyed = |one| AttemptEnd { holds_key: true, ..end(one, Outcome::Completed(None)) };
    let mut ends: Vec<_> = leased.into_iter().map(keyed).collect();
    let more = store.lease(&request(None, &["default"], 3)).await.unwrap();
    ends.extend(more.into_iter().map(|one| end(one, failed())));
    store.settle(ends).await.unwrap();
    store.jobs_by_id(&some).await.unwrap();
    store.job(some[0]).await.unwrap();
    assert_eq!(store.not_live(&some).await.unwrap().len(), some.len());
    store.cancel(&some[..some.len().min(5)], &boom()).await.unwrap();
    let queued = JobFilter { statuses: vec![Status::Queued], ..JobFilter::default() };
    if let Some(waiting) = store.list(&queued, None, 1).await.unwrap().jobs.first() {
        let id = [waiting.job.id];
        assert_eq!(store.cancel(&id, &boom()).await.unwrap(), [Cancelled::Now]);
        assert_eq!(store.retry(&id).await.unwrap(), [Retried::Now]);
    }
    store.promote_due(100).await.unwrap();
    store.reclaim(Duration::ZERO, 10).await.unwrap();
    completed
}

async fn cycles(store: &Store) {
    for _ in 0..CYCLES {
        assert_eq!(cycle(store).await.len(), 100);
        for statuses in [vec![], vec![Status::Completed], vec![Status::Failed], vec![Status::Queued]] {
            let filter = JobFilter { statuses, ..JobFilter::default() };
            assert_eq!(store.list(&filter, None, 50).await.unwrap().jobs.len(), 50);
        }
    }
}

async fn hot_statements_look_up(planner: Planner) {
    let server = TestServer::with_settings(&[("autovacuum", "off"), ("fsync", "off")]).await;
    let pool = server.pool();
    let options = StoreOptions {
        url: server.url().to_owned(),
        application_name: "plans".into(),
        max_connections: 1,
        connect_timeout: Duration::from_secs(20),
        pooler: Pooler::None,
    };
    let store = Store::connect_lazy(&options).unwrap();
    let mut filling = pool.acquire().await.unwrap();
    let mut ended = i64::from(MANY);
    if planner == Planner::OldPlans {
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *filling).await.unwrap();
        for _ in 0..CYCLES {
            cycle(&store).await;
            sqlx::raw_sql(&fill(FEW)).execute(&mut *filling).await.unwrap();
            ended += i64::from(FEW) + i64::try_from(cycle(&store).await.len()).unwrap();
        }
    }
    sqlx::raw_sql(&fill(MANY)).execute(&mut *filling).await.unwrap();
    if planner == Planner::Statistics {
        sqlx::raw_sql("ANALYZE").execute(&mut *filling).await.unwrap();
    }
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *filling).await.unwrap();
    drop(filling);
    counted(&pool, ended).await;
    let (walked_before, looked_up_before) = given_out(&pool).await;

    cycles(&store).await;
    store.close().await;
    counted(&pool, ended + 1200).await;
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
    hot_statements_look_up(Planner::Statistics).await;
}

#[tokio::test]
async fn hot_statements_look_up_without_statistics() {
    hot_statements_look_up(Planner::Sizes).await;
}

#[tokio::test]
async fn hot_statements_look_up_with_plans_from_when_there_were_few_rows() {
    hot_statements_look_up(Planner::OldPlans).await;
}
