//! The record of migrations: it is found regardless of the role, the `search_path` and the application's migrations,
//! and databases of earlier versions are taken over.

use jobqueue_store::{Pooler, Store};
use jobqueue_testkit::TestDb;
use sqlx::migrate::Migration;
use sqlx::{Connection as _, PgConnection};

use crate::bench::{draft, production, submission};
use crate::squash::before_0_1;

/// The number of recorded migrations that a database of an earlier version does not apply: the six that it has, and the nine that replace
/// the chain with which it continues.
const NOT_APPLIED: usize = 6 + 9;

/// A database that a role of this name owns, and its URL for that role.
async fn owned_by(role: &str) -> (TestDb, String) {
    let db = TestDb::empty().await;
    let create = format!(
        "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         ALTER DATABASE {} OWNER TO {role}",
        db.name()
    );
    sqlx::raw_sql(&create).execute(db.pool()).await.unwrap();
    let (_superuser, place) = db.url().split_once('@').unwrap();
    let url = format!("postgres://{role}@{place}");
    (db, url)
}

/// Migrates like an earlier version: with sqlx's migrator, the first six migrations, and this schema first in the
/// `search_path`.
async fn migrate_as_before(url: &str, schema: Option<&str>) {
    let mut all = before_0_1().await;
    all.migrations.to_mut().retain(|migration| migration.version <= 6);
    for migration in all.migrations.to_mut().iter_mut().filter(|migration| migration.version == 4) {
        // the earlier version created the view in `public`
        let former = include_str!("former/0004_jobs_view.sql");
        *migration =
            Migration::new(4, migration.description.clone(), migration.migration_type, former.into(), false);
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    if let Some(schema) = schema {
        let path = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}");
        sqlx::raw_sql(&path).execute(&mut connection).await.unwrap();
    }
    all.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The first migration applies what is missing, the second one nothing, and the queue works.
async fn migrates_once(db: &TestDb, url: &str, missing: impl Fn(usize) -> usize) {
    let first = Store::migrate(url).await.unwrap();
    assert_eq!(first.now.len(), missing(first.total), "{:?}", first.now);
    let again = Store::migrate(url).await.unwrap();
    assert!(again.now.is_empty(), "{:?}", again.now);
    let recorded = db.number("SELECT count(*) FROM jobqueue.migration").await;
    assert_eq!(usize::try_from(recorded).unwrap(), first.total);
    let store = production(db, Pooler::None, 2);
    store.check_schema().await.unwrap();
    assert_eq!(store.enqueue(&[submission(vec![draft()])]).await.unwrap().len(), 1);
}

async fn tables_of_sqlx(db: &TestDb) -> i64 {
    db.number("SELECT count(*) FROM pg_class WHERE relname = '_sqlx_migrations'").await
}

#[tokio::test]
async fn a_role_named_like_the_schema_can_migrate_repeatedly() {
    let (db, url) = owned_by("jobqueue").await;
    migrates_once(&db, &url, |total| total).await;
    assert_eq!(tables_of_sqlx(&db).await, 0);
}

#[tokio::test]
async fn a_schema_made_for_the_role_beforehand_is_used() {
    let (db, url) = owned_by("jobqueue").await;
    sqlx::raw_sql("CREATE SCHEMA AUTHORIZATION jobqueue").execute(db.pool()).await.unwrap();
    migrates_once(&db, &url, |total| total).await;
}

#[tokio::test]
async fn settings_of_the_database_and_their_changes_do_not_matter() {
    let db = TestDb::empty().await;
    for path in ["''", "app, public", "jobqueue", "DEFAULT", "'', nowhere", "pg_temp"] {
        let alter = format!(
            "ALTER DATABASE {0} SET search_path = {path};
             ALTER DATABASE {0} SET lock_timeout = '1ms'; ALTER DATABASE {0} SET idle_in_transaction_session_timeout = '1ms';
             ALTER DATABASE {0} SET default_transaction_isolation = 'serializable';
             ALTER DATABASE {0} SET standard_conforming_strings = off",
            db.name()
        );
        sqlx::raw_sql(&alter).execute(db.pool()).await.unwrap();
        let migrated = Store::migrate(db.url()).await.unwrap();
        assert_eq!(migrated.now.len(), if path == "''" { migrated.total } else { 0 }, "{path}");
        let store = production(&db, Pooler::None, 2);
        assert_eq!(store.enqueue(&[submission(vec![draft()])]).await.unwrap().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn databases_of_earlier_versions_are_taken_over() {
    for schema in [None, Some("app"), Some("\"odd Schema\"")] {
        let db = TestDb::empty().await;
        migrate_as_before(db.url(), schema).await;
        assert_eq!(tables_of_sqlx(&db).await, 1);
        let on_top = "CREATE VIEW public.on_top AS SELECT count(*) FROM public.jobs";
        sqlx::raw_sql(on_top).execute(db.pool()).await.unwrap();
        migrates_once(&db, db.url(), |total| total - NOT_APPLIED).await;
        assert_eq!(db.number("SELECT * FROM public.on_top").await, 1);
        assert_eq!(db.number("SELECT count(*) FROM jobqueue.jobs").await, 1);
        assert_eq!(tables_of_sqlx(&db).await, 0, "{schema:?}");
    }
}

/// In the earlier version, the second run searched our schema first, found no table there, created an empty one and
/// failed.
#[tokio::test]
async fn a_second_empty_record_is_removed() {
    let (db, url) = owned_by("jobqueue").await;
    migrate_as_before(&url, None).await;
    sqlx::raw_sql("CREATE TABLE jobqueue._sqlx_migrations (LIKE public._sqlx_migrations INCLUDING ALL)")
        .execute(&mut PgConnection::connect(&url).await.unwrap())
        .await
        .unwrap();
    migrates_once(&db, &url, |total| total - NOT_APPLIED).await;
    assert_eq!(tables_of_sqlx(&db).await, 0);
}

#[tokio::test]
async fn a_record_inside_our_schema_is_taken_over() {
    let db = TestDb::empty().await;
    migrate_as_before(db.url(), None).await;
    let moved = "ALTER TABLE public._sqlx_migrations SET SCHEMA jobqueue";
    sqlx::raw_sql(moved).execute(db.pool()).await.unwrap();
    migrates_once(&db, db.url(), |total| total - NOT_APPLIED).await;
    assert_eq!(tables_of_sqlx(&db).await, 0);
}

#[tokio::test]
async fn the_record_of_an_application_is_not_changed() {
    let of_the_app = "CREATE TABLE IF NOT EXISTS public._sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
            installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL);
         INSERT INTO public._sqlx_migrations SELECT v, 'of the app', now(), true, 'x', 1 FROM unnest($1) v";
    let ours = "SELECT count(*) FROM public._sqlx_migrations WHERE description <> 'of the app'";
    // with our numbers, with numbers between which ours lie, and the other way round
    for (versions, before) in [
        ("ARRAY[1,2,3]", false),
        ("ARRAY[20260101000000,20260102000000]", false),
        ("ARRAY[7,20260101000000]", true),
    ] {
        let db = TestDb::empty().await;
        if before {
            migrate_as_before(db.url(), None).await;
        }
        sqlx::raw_sql(&of_the_app.replace("$1", versions)).execute(db.pool()).await.unwrap();
        let count = db.number("SELECT count(*) FROM public._sqlx_migrations").await;
        migrates_once(&db, db.url(), |total| if before { total - NOT_APPLIED } else { total }).await;
        assert_eq!(db.number(ours).await, 0);
        let left = db.number("SELECT count(*) FROM public._sqlx_migrations").await;
        assert_eq!(left, if before { count - 6 } else { count }, "{versions}");
    }
}

#[tokio::test]
async fn a_restored_dump_is_the_same_database() {
    let file = std::env::temp_dir().join(format!("jobqueue-dump-{}.sql", std::process::id()));
    let file = file.to_str().unwrap();
    for (as_before, only_ours) in [(false, false), (false, true), (true, false), (true, true)] {
        let (from, to) = (TestDb::empty().await, TestDb::empty().await);
        if as_before {
            migrate_as_before(from.url(), None).await;
        } else {
            Store::migrate(from.url()).await.unwrap();
        }
        let schema: &[&str] = if only_ours { &["--schema=jobqueue"] } else { &[] };
        from.client("pg_dump", &[&["--file", file, "--dbname", from.url()], schema].concat()).await;
        let restore =
            ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file", file, "--dbname", to.url()];
        to.client("psql", &restore).await;
        migrates_once(&to, to.url(), |total| if as_before { total - NOT_APPLIED } else { 0 }).await;
    }
    std::fs::remove_file(file).unwrap();
}
