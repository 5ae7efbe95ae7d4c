//! The schema: applied once by whoever comes, refused when it is not ours.

use jobqueue_store::{Pooler, SCHEMA_VERSION, Store, StoreError};
use jobqueue_testkit::TestDb;

use crate::bench::{Bench, draft, production, submission};

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
async fn several_places_at_once_are_one_after_the_other() {
    let db = TestDb::empty().await;
    let runs = futures_util::future::join_all((0..4).map(|_| Store::migrate(db.url()))).await;
    let applied: Vec<usize> =
        runs.into_iter().map(|run| run.unwrap().now.len()).filter(|now| *now > 0).collect();
    assert_eq!(applied.len(), 1, "one of them did it all");
}

#[tokio::test]
async fn a_schema_of_another_time_is_refused_both_ways() {
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

#[tokio::test]
async fn a_database_that_is_away_is_told_apart() {
    let away = jobqueue_store::StoreOptions {
        url: "postgres://nobody@127.0.0.1:1/none".into(),
        application_name: "t".into(),
        max_connections: 1,
        connect_timeout: std::time::Duration::from_millis(300),
        pooler: Pooler::None,
    };
    let store = Store::connect_lazy(&away).unwrap();
    for error in [store.ping().await.unwrap_err(), store.check_schema().await.unwrap_err()] {
        assert!(error.is_transient() && error.class() == "connection", "{error}");
    }
    assert!(Store::migrate(&away.url).await.unwrap_err().is_transient());
}
