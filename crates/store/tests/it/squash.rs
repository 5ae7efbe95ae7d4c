//! The schema of 0.1.0 was written anew, in a few files. A new database has the same schema as one that went through the chain of files
//! that development builds applied, however far it had come in that chain.

use std::path::Path;

use jobqueue_store::{Pooler, Store, StoreError};
use jobqueue_testkit::TestDb;
use sqlx::migrate::{Migration, Migrator};

use crate::bench::{production, request};

/// The chain of files that development builds applied.
pub(crate) async fn before_0_1() -> Migrator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/before-0.1");
    Migrator::new(folder).await.unwrap()
}

/// What a development build did: it applied these files and kept a record of them.
async fn apply(db: &TestDb, migrations: &[Migration]) {
    for migration in migrations {
        db.execute(&migration.sql).await;
        db.execute(
            "CREATE TABLE IF NOT EXISTS jobqueue.migration (version bigint PRIMARY KEY, description text NOT NULL,
                 checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .await;
        sqlx::query("INSERT INTO jobqueue.migration (version, description, checksum) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .execute(db.pool())
            .await
            .unwrap();
    }
}

/// What `pg_dump` writes, an entry for each object, without comments and line breaks, in an order that does not depend on when an object was
/// created. The partitions of single days are left out: the function that creates them is compared, and midnight may pass between two dumps.
async fn dump(db: &TestDb, what: &[&str]) -> Vec<String> {
    let text = db.client("pg_dump", &[&["--dbname", db.url()], what].concat()).await;
    let bare = |entry: &str| {
        let lines = entry.lines().filter(|line| !line.starts_with('\\'));
        let code = lines.map(|line| line.split("--").next().unwrap_or_default());
        code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    let mut entries: Vec<String> = text.split("\n-- ").map(bare).collect();
    entries.retain(|entry| {
        !["body_2", "outcome_2", "attempt_2", "report_2"].iter().any(|of_a_day| entry.contains(of_a_day))
    });
    entries.sort();
    entries
}

async fn dumps(db: &TestDb) -> [Vec<String>; 2] {
    let data = ["--data-only", "--inserts", "--exclude-table=jobqueue.migration"];
    [dump(db, &["--schema-only"]).await, dump(db, &data).await]
}

fn assert_same(one: &[String], other: &[String], context: &str) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|entry| !those.contains(entry)).cloned().collect()
    };
    assert_eq!(only(one, other), only(other, one), "{context}");
    assert!(one == other, "{context}");
}

#[tokio::test]
async fn a_database_from_any_point_of_the_former_chain_ends_with_the_schema_of_a_new_one() {
    let new = TestDb::empty().await;
    let fresh = Store::migrate(new.url()).await.unwrap();
    let [schema, data] = dumps(&new).await;
    assert!(schema.len() > 100, "{schema:#?}");
    let chain = before_0_1().await;
    let chain = &chain.migrations;
    for applied in 1..=chain.len() {
        let db = TestDb::empty().await;
        apply(&db, &chain[..applied]).await;
        let Err(StoreError::Schema(advice)) = production(&db, Pooler::None, 1).check_schema().await else {
            panic!("an old schema passed")
        };
        assert!(
            advice.starts_with("the database has schema 1, ") && advice.contains("jobqueue migrate"),
            "{advice}"
        );
        let migrated = Store::migrate(db.url()).await.unwrap();
        let context = format!("after {applied} migrations of the chain");
        assert_eq!(migrated.total, chain.len() + fresh.total, "{context}");
        assert!(Store::migrate(db.url()).await.unwrap().now.is_empty(), "{context}");
        let [its_schema, its_data] = dumps(&db).await;
        assert_same(&its_schema, &schema, &context);
        assert_same(&its_data, &data, &context);
    }
}

#[tokio::test]
async fn jobs_of_the_former_chain_are_run() {
    let chain = before_0_1().await;
    // the fifth file makes `jobqueue.enqueue`
    for applied in 5..=chain.migrations.len() {
        let db = TestDb::empty().await;
        apply(&db, &chain.migrations[..applied]).await;
        db.execute("SELECT jobqueue.enqueue('noop')").await;
        Store::migrate(db.url()).await.unwrap();
        let store = production(&db, Pooler::None, 2);
        store.check_schema().await.unwrap();
        assert_eq!(store.lease(&request(None, &["default"], 1)).await.unwrap().len(), 1);
    }
}
