//! A scan that is stopped: the filter is too broad if many jobs were read, otherwise the database is to blame.

use std::time::Duration;

use jobqueue_store::{JobFilter, Pooler, StoreError};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, draft, production, submission};

/// Makes every filter with a timestamp take longer than the limit.
const SLOW: &str =
    "CREATE OR REPLACE FUNCTION jobqueue.id_floor(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT '00000000-0000-0000-0000-000000000000'::uuid FROM pg_sleep(60) $$";

fn filter() -> JobFilter {
    JobFilter { created_after: Some(chrono::DateTime::UNIX_EPOCH), ..JobFilter::default() }
}

#[tokio::test]
async fn a_scan_that_exceeds_the_time_limit_is_too_broad_only_with_many_jobs() {
    let bench = Bench::new().await;
    bench.execute(SLOW).await;
    let store = production(&bench.db, Pooler::None, 2);
    store.enqueue(&[submission(vec![draft(); 3])]).await.unwrap();
    for error in [
        store.find(&filter(), None, 10).await.unwrap_err(),
        store.list(&filter(), None, 10).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Interrupted { .. }) && error.is_transient(), "{error:?}");
    }
    for _ in 0..11 {
        store.enqueue(&[submission(vec![draft(); 1000])]).await.unwrap();
    }
    let error = store.find(&filter(), None, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::TooBroad), "{error:?}");
}

#[tokio::test]
async fn a_scan_that_is_cancelled_or_blocked_is_interrupted() {
    let bench = Bench::new().await;
    let store = production(&bench.db, Pooler::None, 2);
    let lock = bench.db.hold("LOCK TABLE jobqueue.outcome").await;
    let error = store.find(&JobFilter::default(), None, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Interrupted { .. }) && !error.is_statement_timeout(), "{error:?}");
    lock.rollback().await.unwrap();
    bench.execute(SLOW).await;
    let cancel = async {
        eventually(Duration::from_secs(20), "the walk is cancelled", async || {
            let sql = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event = 'PgSleep'";
            let cancelled = bench.db.number(sql).await;
            if cancelled == 1 { Ok(()) } else { Err(cancelled) }
        })
        .await;
    };
    let walk_filter = filter();
    let (walk, ()) = tokio::join!(store.find(&walk_filter, None, 10), cancel);
    let error = walk.unwrap_err();
    assert!(matches!(error, StoreError::Interrupted { .. }), "{error:?}");
}
