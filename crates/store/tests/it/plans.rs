//! Query plans: with many waiting and many final jobs, the hot statements use indexes and never scan a table, whether
//! the statistics are current, missing, or older plans are cached. The tests read how many rows Postgres returned from
//! each table, which does not depend on the plan.

use std::time::Duration;

use jobqueue_core::{JobId, Lease, LogPosition, Outcome, Status, Ties};
use jobqueue_store::{
    AttemptReport, Cancelled, JobFilter, Leased, Pooler, Retried, Settled, Store, StoreOptions, WatchedJob,
};
use jobqueue_testkit::{TestServer, eventually};
use sqlx::PgPool;

use crate::bench::{Bench, MINUTE, boom, copy, end, failed, production, request};

/// The planner's knowledge of the many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planner {
    Statistics,
    Sizes,
    /// Its plans were made when the tables were almost empty, as in an installation before its first busy day.
    OldPlans,
}

/// SQL that creates this many ready jobs, scheduled jobs (older, without bodies) and final jobs, some of them failed,
/// as the verbs would store them.
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
/// Number of cycles, enough for Postgres to change from custom to generic plans.
const CYCLES: usize = 12;
/// Far more rows than the cycles handle, far fewer than one table scan returns.
const FEW_ROWS: i64 = 100_000;

/// The number of rows that the large tables returned so far, by sequential scans and by index scans.
async fn rows_returned(pool: &PgPool) -> (i64, i64) {
    rows_returned_by(pool, "^(body|outcome|ready|scheduled|attempt|unique_claim)").await
}

/// The same for the given tables.
async fn rows_returned_by(pool: &PgPool, tables: &str) -> (i64, i64) {
    sqlx::query_as(
        "SELECT sum(seq_tup_read)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint FROM pg_stat_user_tables WHERE relname ~ $1",
    )
    .bind(tables)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Waits until the counters contain the work of other sessions.
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

/// The calls of workers, users and the reaper, with up to 104 jobs, of which up to 100 complete and one is cancelled.
/// Returns the number of completed jobs.
async fn cycle(store: &Store) -> i64 {
    let leased = store.lease(&request(None, &["default"], 100)).await.unwrap();
    let completed: Vec<JobId> = leased.iter().map(|leased| leased.job.id).collect();
    let some = if completed.is_empty() {
        vec![JobId::from_ticks(1 << 50, 0)]
    } else {
        completed[..completed.len().min(20)].to_vec()
    };
    let keyed = |one: Leased| {
        let lease = one.lease.with_ties(Ties::UNKNOWN);
        end(Leased { lease, ..one }, Outcome::Completed(None))
    };
    let mut ends: Vec<_> = leased.into_iter().map(keyed).collect();
    let more = store.lease(&request(None, &["default"], 3)).await.unwrap();
    ends.extend(more.into_iter().map(|one| end(one, failed())));
    store.settle(ends).await.unwrap();
    store.jobs_by_id(&some).await.unwrap();
    store.job(some[0]).await.unwrap();
    assert_eq!(store.not_live(&some).await.unwrap().len(), some.len());
    let watched =
        |id: &JobId| WatchedJob { id: *id, lease: None, log: LogPosition::default(), reported_at: None };
    let watched: Vec<WatchedJob> = some.iter().map(watched).collect();
    store.watched(&watched).await.unwrap();
    store.job_logs(some[0], LogPosition::default(), 5).await.unwrap();
    store.jobs().cancel(&some[..some.len().min(5)], &boom()).await.unwrap();
    let mut ended = completed.len();
    let queued = JobFilter { statuses: vec![Status::Queued], ..JobFilter::default() };
    if let Some(waiting) = store.list(&queued, None, 1).await.unwrap().jobs.first() {
        let id = [waiting.job.id];
        assert_eq!(store.jobs().cancel(&id, &boom()).await.unwrap(), [Cancelled::Now]);
        assert_eq!(store.jobs().retry(&id).await.unwrap(), [Retried::Now]);
        ended += 1;
    }
    store.promote_due(100).await.unwrap();
    store.reclaim(Duration::ZERO, 10).await.unwrap();
    i64::try_from(ended).unwrap()
}

async fn cycles(store: &Store) {
    for _ in 0..CYCLES {
        assert_eq!(cycle(store).await, 101);
        for statuses in [vec![], vec![Status::Completed], vec![Status::Failed], vec![Status::Queued]] {
            let filter = JobFilter { statuses, ..JobFilter::default() };
            assert_eq!(store.list(&filter, None, 50).await.unwrap().jobs.len(), 50);
        }
    }
}

/// A store with one session, so that all plans are of that session.
fn one_session(server: &TestServer) -> Store {
    let options = StoreOptions {
        url: server.url().into(),
        application_name: "plans".into(),
        max_connections: 1,
        connect_timeout: Duration::from_secs(20),
        pooler: Pooler::None,
    };
    Store::connect_lazy(&options).unwrap()
}

async fn hot_statements_use_indexes(planner: Planner) {
    let server = TestServer::with_settings(&[("autovacuum", "off"), ("fsync", "off")]).await;
    let pool = server.pool();
    let store = one_session(&server);
    let mut filling = pool.acquire().await.unwrap();
    let mut ended = i64::from(MANY);
    if planner == Planner::OldPlans {
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *filling).await.unwrap();
        for _ in 0..CYCLES {
            ended += cycle(&store).await;
            sqlx::raw_sql(&fill(FEW)).execute(&mut *filling).await.unwrap();
            ended += i64::from(FEW) + cycle(&store).await;
        }
    }
    sqlx::raw_sql(&fill(MANY)).execute(&mut *filling).await.unwrap();
    if planner == Planner::Statistics {
        sqlx::raw_sql("ANALYZE").execute(&mut *filling).await.unwrap();
    }
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *filling).await.unwrap();
    drop(filling);
    counted(&pool, ended).await;
    let (walked_before, looked_up_before) = rows_returned(&pool).await;

    cycles(&store).await;
    store.close().await;
    counted(&pool, ended + 12 * 101).await;
    let (walked, looked_up) = rows_returned(&pool).await;
    assert_eq!(walked - walked_before, 0, "rows given out by walking a table");
    let looked_up = looked_up - looked_up_before;
    assert!((1..FEW_ROWS).contains(&looked_up), "{looked_up} rows were looked up");

    // checks that the counters count a table scan
    sqlx::raw_sql(
        "SELECT count(*) FROM jobqueue.outcome WHERE attempt = 9; SELECT pg_stat_force_next_flush()",
    )
    .execute(&pool)
    .await
    .unwrap();
    eventually(Duration::from_secs(30), "a walk is counted", async || {
        let (walked_now, _) = rows_returned(&pool).await;
        if walked_now > walked { Ok(()) } else { Err(walked_now) }
    })
    .await;
}

#[tokio::test]
async fn hot_statements_use_indexes_with_statistics() {
    hot_statements_use_indexes(Planner::Statistics).await;
}

#[tokio::test]
async fn hot_statements_use_indexes_without_statistics() {
    hot_statements_use_indexes(Planner::Sizes).await;
}

#[tokio::test]
async fn hot_statements_use_indexes_with_plans_made_for_few_rows() {
    hot_statements_use_indexes(Planner::OldPlans).await;
}

/// The census counts all waiting jobs, but reads only the bodies of the oldest ones.
#[tokio::test]
async fn a_census_planned_for_an_empty_database_does_not_scan_bodies() {
    let server = TestServer::with_settings(&[("autovacuum", "off"), ("fsync", "off")]).await;
    let pool = server.pool();
    let store = one_session(&server);
    let mut filling = pool.acquire().await.unwrap();
    // the first temporary table of a session makes all sessions plan again, so it is created now
    sqlx::raw_sql(&fill(0)).execute(&mut *filling).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *filling).await.unwrap();
    store.take_census(200).await.unwrap();
    sqlx::raw_sql(&fill(MANY)).execute(&mut *filling).await.unwrap();
    counted(&pool, i64::from(MANY)).await;
    let (walked, looked_up) = rows_returned_by(&pool, "^body").await;
    for _ in 0..CYCLES {
        store.take_census(200).await.unwrap();
    }
    assert_eq!(store.census().await.unwrap().queues[0].queued, u64::from(MANY));
    store.close().await;
    eventually(Duration::from_secs(30), "the counters are up to date", async || {
        let (_, now) = rows_returned_by(&pool, "^body").await;
        if now > looked_up { Ok(()) } else { Err(now) }
    })
    .await;
    let (walked_now, looked_up_now) = rows_returned_by(&pool, "^body").await;
    assert!(walked_now == walked && looked_up_now - looked_up < 1000, "{walked_now} and {looked_up_now}");
}

/// Number of ended leases whose index entries a snapshot keeps.
const ENDED: i64 = 20_000;

/// The number of index entries of leases and of their jobs that were read so far, dead or alive, and the number of
/// scans of either table.
async fn lease_entries(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT sum(idx_tup_read) FILTER (WHERE relname = 'lease')::bigint, sum(idx_tup_read) FILTER (WHERE relname = 'lease_jobs')::bigint,
                (SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname IN ('lease', 'lease_jobs'))
         FROM pg_stat_user_indexes",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The same, after the counters contain this many ends of leases.
async fn lease_entries_after(pool: &PgPool, ended: i64) -> (i64, i64, i64) {
    eventually(Duration::from_secs(30), "the counters are up to date", async || {
        let sql = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'lease_jobs'";
        let seen: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
        if seen >= ended { Ok(()) } else { Err(seen) }
    })
    .await;
    lease_entries(pool).await
}

/// The calls of a local or remote worker for ten jobs, each with its own lease.
async fn run_ten(bench: &Bench, store: &Store) {
    bench.add_many(10).await;
    let shares = store.lease_shares(&bench.request(1), &[Some(bench.worker); 10]).await.unwrap();
    let mut leased: Vec<_> = shares.into_iter().flatten().collect();
    let rights: Vec<Lease> = leased.iter().map(|one| copy(&one.lease)).collect();
    store.extend(&rights, MINUTE).await.unwrap();
    assert!(store.leased_jobs(&rights).await.unwrap().iter().all(Option::is_some));
    let report = || AttemptReport { progress: None, log: "half of it".to_owned() };
    let reports: Vec<_> = rights.iter().map(|lease| (lease, report())).collect();
    assert_eq!(store.report(&reports).await.unwrap(), [true; 10]);
    let complete = |one| end(one, Outcome::Completed(None));
    let some: Vec<_> = leased.drain(..5).map(complete).collect();
    let mut others: Vec<_> = leased.drain(..3).map(complete).collect();
    others.extend(leased.into_iter().map(|one| end(one, failed())));
    for ends in [some, others] {
        let settled = store.settle(ends).await.unwrap();
        assert!(settled.iter().all(|one| *one != Settled::Stale), "{settled:?}");
    }
}

/// Only a few leases exist at a time, so according to the statistics a table scan is as cheap as an index lookup. That
/// is wrong while a session holds a snapshot.
#[tokio::test]
async fn leases_are_found_by_index_while_a_snapshot_keeps_old_ones() {
    for live in [0, 1, 20] {
        let bench = Bench::new().await;
        let mut pin = bench.db.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        sqlx::query("SELECT count(*) FROM jobs").execute(&mut *pin).await.unwrap();
        bench
            .execute(&format!(
                "SELECT jobqueue.lane_id('default', 0::smallint);
                 INSERT INTO jobqueue.lease SELECT -n, gen_random_uuid(), NULL, 1, now(), now() + interval '1 day', 1 FROM generate_series(1, {ENDED}) n;
                 INSERT INTO jobqueue.lease_jobs SELECT -n, 1, ARRAY[gen_random_uuid()], '{{1}}', '{{1}}' FROM generate_series(1, {ENDED}) n;
                 DELETE FROM jobqueue.lease WHERE -epoch > {live};
                 DELETE FROM jobqueue.lease_jobs WHERE -epoch > {live};
                 ANALYZE jobqueue.lease, jobqueue.lease_jobs;
                 SELECT pg_stat_force_next_flush()"
            ))
            .await;
        let store = production(&bench.db, Pooler::None, 1);
        let ended = ENDED - live;
        let before = lease_entries_after(bench.db.pool(), ended).await;
        for _ in 0..CYCLES {
            run_ten(&bench, &store).await;
        }
        store.close().await;
        let ended = ended + i64::try_from(10 * CYCLES).unwrap();
        let after = lease_entries_after(bench.db.pool(), ended).await;
        let met = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
        assert!(met.0 < ENDED && met.1 < ENDED && met.2 == 0, "{live} live leases: {met:?}");
        pin.rollback().await.unwrap();
    }
}
