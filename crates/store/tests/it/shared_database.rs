//! A database that an application also uses: its tables, migrations, publications and settings do not conflict with
//! ours.

use std::borrow::Cow;

use jobqueue_core::{Outcome, Status};
use jobqueue_store::{Pooler, Settled, Store};
use jobqueue_testkit::{TestDb, TestServer, eventually};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::bench::{MINUTE, draft, end, production, production_at, request, start, submission};
use crate::smoke::every_verb;

/// Runs every verb on both kinds of connections.
async fn works(db: &TestDb) {
    for pooler in [Pooler::None, Pooler::Transaction] {
        every_verb(&production(db, pooler, 2)).await;
    }
}

fn of_the_application(versions: &[i64]) -> Migrator {
    let migration = |version: &i64| {
        let sql = format!("CREATE TABLE public.app_{version} (id bigint PRIMARY KEY)");
        Migration::new(*version, "of the app".into(), MigrationType::Simple, sql.into(), false)
    };
    Migrator { migrations: Cow::Owned(versions.iter().map(migration).collect()), ..Migrator::DEFAULT }
}

#[tokio::test]
async fn an_application_migrates_before_and_after_us() {
    for versions in
        [&[1, 2, 3][..], &[20_260_101_000_000, 20_260_102_000_000], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
    {
        for ours_first in [false, true] {
            let db = TestDb::empty().await;
            let (some, all) = (of_the_application(&versions[..1]), of_the_application(versions));
            if ours_first {
                Store::migrate(db.url()).await.unwrap();
            }
            some.run(db.pool()).await.unwrap();
            Store::migrate(db.url()).await.unwrap();
            all.run(db.pool()).await.unwrap();
            assert!(Store::migrate(db.url()).await.unwrap().now.is_empty());
            all.run(db.pool()).await.unwrap();
            works(&db).await;
        }
    }
}

#[tokio::test]
async fn a_relation_of_the_application_is_not_replaced() {
    for (taken, theirs) in [
        ("CREATE TABLE public.jobs (theirs int)", true),
        ("CREATE VIEW public.jobs AS SELECT 1 AS theirs", true),
        ("CREATE MATERIALIZED VIEW public.jobs AS SELECT 1 AS theirs", true),
        ("CREATE SEQUENCE public.jobs", true),
        ("CREATE TYPE public.jobs AS ENUM ('theirs')", true),
        ("CREATE TYPE public.jobs AS (theirs int)", true),
        ("DROP SCHEMA public", true),
        ("CREATE TABLE public.job (theirs int)", false),
    ] {
        let db = TestDb::empty().await;
        sqlx::raw_sql(taken).execute(db.pool()).await.unwrap();
        Store::migrate(db.url()).await.unwrap();
        works(&db).await;
        assert!(db.number("SELECT count(*) FROM jobqueue.jobs").await > 0, "{taken}");
        let ours = "SELECT count(*) FROM information_schema.views WHERE table_schema = 'public' AND table_name = 'jobs'
                    AND view_definition LIKE '%jobqueue.jobs%'";
        assert_eq!(db.number(ours).await == 0, theirs, "{taken}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_write_to_public_has_the_view_in_our_schema() {
    let db = TestDb::empty().await;
    let grants = format!(
        "CREATE ROLE guest LOGIN; GRANT CREATE ON DATABASE {} TO guest; REVOKE ALL ON SCHEMA public FROM public",
        db.name()
    );
    sqlx::raw_sql(&grants).execute(db.pool()).await.unwrap();
    let (_superuser, place) = db.url().split_once('@').unwrap();
    let url = format!("postgres://guest@{place}");
    assert!(!Store::migrate(&url).await.unwrap().now.is_empty());
    assert!(Store::migrate(&url).await.unwrap().now.is_empty());
    let mut guest = PgConnection::connect(&url).await.unwrap();
    sqlx::query("SELECT status FROM jobqueue.jobs").fetch_all(&mut guest).await.unwrap();
    let drop = "DROP OWNED BY guest; DROP ROLE guest";
    guest.close().await.unwrap();
    sqlx::raw_sql(drop).execute(db.pool()).await.unwrap();
}

#[tokio::test]
async fn settings_of_the_database_do_not_affect_our_sessions() {
    let db = TestDb::new().await;
    for setting in [
        "default_transaction_deferrable = on",
        "search_path = ''",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "standard_conforming_strings = off",
        "row_security = off",
        "bytea_output = 'escape'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "timezone = 'America/St_Johns'",
        "client_min_messages = 'debug5'",
        "extra_float_digits = -15",
        "plan_cache_mode = 'force_custom_plan'",
        "array_nulls = off",
        "quote_all_identifiers = on",
    ] {
        sqlx::raw_sql(&format!("ALTER DATABASE {} SET {setting}", db.name()))
            .execute(db.pool())
            .await
            .unwrap();
        works(&db).await;
    }
}

#[tokio::test]
async fn our_idle_sessions_are_not_ended() {
    let db = TestDb::new().await;
    let idle = format!("ALTER DATABASE {} SET idle_session_timeout = '1ms'", db.name());
    sqlx::raw_sql(&idle).execute(db.pool()).await.unwrap();
    every_verb(&production(&db, Pooler::None, 1)).await;
}

/// A statement that waited for another transaction continues with the new row version, as in READ COMMITTED.
#[tokio::test]
async fn no_call_fails_with_another_default_isolation() {
    for isolation in ["serializable", "repeatable read"] {
        for pooler in [Pooler::None, Pooler::Transaction] {
            let db = TestDb::new().await;
            let set =
                format!("ALTER DATABASE {} SET default_transaction_isolation = '{isolation}'", db.name());
            sqlx::raw_sql(&set).execute(db.pool()).await.unwrap();
            let store = production(&db, pooler, 2);
            store.enqueue(&[submission(vec![draft()])]).await.unwrap();
            let leased = store.lease(&request(None, &["default"], 1)).await.unwrap().pop().unwrap();
            let holder = db.hold("UPDATE jobqueue.lease SET expires_at = expires_at + interval '1 s'").await;
            let settling = {
                let store = store.clone();
                start(async move { store.settle(vec![end(leased, Outcome::Completed(None))]).await })
            };
            let waits = async || match db.sessions("wait_event_type = 'Lock'").await {
                1 => Ok(()),
                count => Err(count),
            };
            eventually(MINUTE, "the settle waits for the holder", waits).await;
            holder.commit().await.unwrap();
            let settled = settling.await.unwrap().unwrap();
            assert_eq!(settled, [Settled::Applied(Status::Completed)], "{isolation} {pooler:?}");
        }
    }
}

/// Replication logs every change, so Postgres rejects a change of a row that a replica could not identify.
#[tokio::test]
async fn a_publication_of_all_tables_takes_every_change() {
    let server = TestServer::with_settings(&[("wal_level", "logical")]).await;
    let pool: PgPool = server.pool();
    sqlx::raw_sql("CREATE PUBLICATION everything FOR ALL TABLES").execute(&pool).await.unwrap();
    let store = production_at(server.url(), Pooler::None, 2);
    for _ in 0..2 {
        every_verb(&store).await;
    }
    // every table, including those that are created later, has a replica identity
    sqlx::raw_sql("SELECT jobqueue.add_partitions(current_date + 30, 2)").execute(&pool).await.unwrap();
    let blind: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'jobqueue'::regnamespace AND c.relkind IN ('r', 'p')
         AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(blind.is_empty(), "{blind:?}");
}
