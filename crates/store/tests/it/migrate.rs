//! Migrations: concurrent runs apply each one once, and a schema of another version is rejected.

use jobqueue_store::{Pooler, SCHEMA_VERSION, Store, StoreError};
use jobqueue_testkit::{TestDb, next_release};

use crate::bench::{Bench, draft, production, submission};
use crate::smoke::every_verb;

#[tokio::test]
async fn it_is_applied_once_and_works() {
    let db = TestDb::empty().await;
    let store = production(&db, Pooler::None, 2);
    let Err(StoreError::Schema(sentence)) = store.check_schema().await else {
        panic!("an empty database passed")
    };
    assert!(sentence.contains("jobqueue migrate"), "{sentence}");
    let first = Store::migrate(db.url()).await.unwrap();
    assert_eq!(first.now.len(), first.total);
    assert!(first.total >= 6);
    let again = Store::migrate(db.url()).await.unwrap();
    assert_eq!((again.now.len(), again.total), (0, first.total));
    store.check_schema().await.unwrap();
    assert_eq!(store.enqueue(&[submission(vec![draft()])]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn several_concurrent_runs_share_the_work_and_all_succeed() {
    for _ in 0..3 {
        let db = TestDb::empty().await;
        let runs = futures_util::future::join_all((0..4).map(|_| Store::migrate(db.url()))).await;
        let mut applied: Vec<String> = runs.into_iter().flat_map(|run| run.unwrap().now).collect();
        let total = applied.len();
        applied.sort();
        applied.dedup();
        assert_eq!(applied.len(), total, "each migration is applied by one of them");
        assert_eq!(Store::migrate(db.url()).await.unwrap().total, total);
    }
}

#[tokio::test]
async fn an_older_or_newer_schema_is_rejected() {
    let bench = Bench::new().await;
    bench.store.check_schema().await.unwrap();
    for (version, oldest, accepted, advice) in [
        (SCHEMA_VERSION - 1, 0, false, "run `jobqueue migrate`"),
        (SCHEMA_VERSION + 1, SCHEMA_VERSION, true, ""),
        (SCHEMA_VERSION + 5, SCHEMA_VERSION + 1, false, "upgrade it"),
    ] {
        bench
            .execute(&format!(
                "UPDATE jobqueue.schema_version SET version = {version}, oldest_binary = {oldest}"
            ))
            .await;
        match bench.store.check_schema().await {
            Ok(()) => assert!(accepted, "{version}"),
            Err(StoreError::Schema(sentence)) => {
                assert!(!accepted && sentence.contains(advice), "{sentence}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Two development branches may have numbered their migrations so that one comes before what a database has already.
#[tokio::test]
async fn a_schema_that_lacks_one_migration_is_rejected_whatever_its_version() {
    let bench = Bench::new().await;
    let version: i64 =
        bench.count("SELECT version FROM jobqueue.migration ORDER BY version DESC OFFSET 1 LIMIT 1").await;
    bench.execute(&format!("DELETE FROM jobqueue.migration WHERE version = {version}")).await;
    let Err(StoreError::Schema(sentence)) = bench.store.check_schema().await else { panic!("it passed") };
    assert!(
        sentence.contains(&format!("migration {version}")) && sentence.contains("jobqueue migrate"),
        "{sentence}"
    );
}

/// The next release migrates first. Until its binaries are rolled out, and after a roll back, those of this release do the work.
#[tokio::test]
async fn a_schema_that_is_one_migration_ahead_is_used_and_left_alone() {
    let db = TestDb::new().await;
    let before = Store::migrate(db.url()).await.unwrap().total;
    let store = production(&db, Pooler::None, 2);
    every_verb(&store).await;
    let version = next_release(db.pool()).await;
    every_verb(&store).await;
    every_verb(&production(&db, Pooler::Transaction, 2)).await;
    let migrated = Store::migrate(db.url()).await.unwrap();
    assert_eq!((migrated.now.len(), migrated.total), (0, before + 1));
    assert_eq!(db.number("SELECT version::bigint FROM jobqueue.schema_version").await, version);
}

#[tokio::test]
async fn an_unreachable_database_is_a_distinct_error() {
    let unreachable = jobqueue_store::StoreOptions {
        url: "postgres://nobody@127.0.0.1:1/none".into(),
        application_name: "t".into(),
        max_connections: 1,
        connect_timeout: std::time::Duration::from_millis(300),
        pooler: Pooler::None,
    };
    let store = Store::connect_lazy(&unreachable).unwrap();
    for error in [store.ping().await.unwrap_err(), store.check_schema().await.unwrap_err()] {
        assert!(error.concerns_everyone() && matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
    assert!(Store::migrate(unreachable.url.clone()).await.unwrap_err().is_transient());
}
