//! Causes of an unusable database: they are distinguished, and none counts as an error of the data.

use std::time::Duration;

use jobqueue_store::{Pooler, Store, StoreError, StoreOptions};
use jobqueue_testkit::{FaultProxy, TestDb};

use crate::bench::{draft, submission};

/// A store on the database of a URL, with one connection and short timeouts.
fn store(url: &str) -> Store {
    let options = StoreOptions {
        url: url.into(),
        application_name: "unreachable".to_owned(),
        max_connections: 1,
        connect_timeout: Duration::from_millis(300),
        pooler: Pooler::None,
    };
    Store::connect_lazy(&options).unwrap()
}

/// Creates a role for this test, and returns its URL.
async fn role(db: &TestDb, grants: &str) -> (String, String) {
    let role = format!("app_{}", db.name());
    sqlx::raw_sql(&format!("CREATE ROLE {role} LOGIN; {}", grants.replace("ROLE", &role)))
        .execute(db.pool())
        .await
        .unwrap();
    let (scheme, rest) = db.url().split_once("://").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    (format!("{scheme}://{role}@{host}"), role)
}

/// The cause of a submission that fails.
async fn cause(store: &Store) -> &'static str {
    let error = store.enqueue(&[submission(vec![draft()])]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.is_transient() && error.concerns_everyone() && !error.may_concern_one_row(), "{error:?}");
    error.word()
}

#[tokio::test]
async fn a_rejected_login_is_not_a_rejection_of_the_data() {
    let db = TestDb::new().await;
    let (url, role) = role(&db, "").await;
    let other = TestDb::empty().await;
    for (change, word) in [
        (format!("ALTER ROLE {role} NOLOGIN"), "password"),
        (format!("ALTER ROLE {role} LOGIN CONNECTION LIMIT 0"), "too_many_connections"),
        (
            format!(
                "ALTER ROLE {role} CONNECTION LIMIT -1; REVOKE CONNECT ON DATABASE {} FROM public",
                db.name()
            ),
            "missing_grant",
        ),
        (
            format!(
                "GRANT CONNECT ON DATABASE {} TO public; ALTER DATABASE {} ALLOW_CONNECTIONS false",
                db.name(),
                db.name()
            ),
            "not_accepting",
        ),
    ] {
        sqlx::raw_sql(&change).execute(other.pool()).await.unwrap();
        assert_eq!(cause(&store(&url)).await, word, "{change}");
    }
    let (server, _) = url.rsplit_once('/').unwrap();
    assert_eq!(cause(&store(&format!("{server}/no_such_database"))).await, "no_database");
}

#[tokio::test]
async fn an_unreachable_server_and_a_busy_pool_are_distinguished() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let through = proxy.through(db.url());
    assert_eq!(cause(&store(&format!("{through}?sslmode=require"))).await, "tls");
    proxy.set(jobqueue_testkit::Fault::Blackhole);
    assert_eq!(cause(&store(&through)).await, "no_answer");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let no_server = format!("postgres://nobody@{free}/none");
    assert_eq!(cause(&store(&no_server)).await, "connection_refused");
    let busy = store(db.url());
    let held = db.hold("LOCK TABLE jobqueue.body").await;
    let first = [submission(vec![draft()])];
    let meanwhile = async {
        jobqueue_testkit::eventually(
            Duration::from_secs(20),
            "the submission waits for the lock",
            async || {
                let waits =
                    db.sessions("application_name = 'unreachable' AND wait_event_type = 'Lock'").await;
                if waits == 1 { Ok(()) } else { Err(waits) }
            },
        )
        .await;
        assert_eq!(cause(&busy).await, "all_in_use");
        held.rollback().await.unwrap();
    };
    let (stored, ()) = tokio::join!(busy.enqueue(&first), meanwhile);
    stored.unwrap();
}

#[tokio::test]
async fn a_database_that_stores_nothing_is_unreachable_for_everyone() {
    let db = TestDb::new().await;
    let (url, role) = role(
        &db,
        "GRANT USAGE ON SCHEMA jobqueue TO ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobqueue TO ROLE;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobqueue TO ROLE; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA jobqueue TO ROLE",
    )
    .await;
    store(&url).enqueue(&[submission(vec![draft()])]).await.unwrap();
    for (change, word) in [
        (format!("ALTER ROLE {role} SET default_transaction_read_only = on"), "read_only"),
        (
            format!(
                "ALTER ROLE {role} RESET default_transaction_read_only; REVOKE INSERT ON jobqueue.body FROM {role}"
            ),
            "missing_grant",
        ),
    ] {
        sqlx::raw_sql(&change).execute(db.pool()).await.unwrap();
        assert_eq!(cause(&store(&url)).await, word, "{change}");
    }
    sqlx::raw_sql(&format!("ALTER TABLE jobqueue.body RENAME TO other; DROP OWNED BY {role}"))
        .execute(db.pool())
        .await
        .unwrap();
    let error = store(db.url()).enqueue(&[submission(vec![draft()])]).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema(_)) && error.is_transient(), "{error:?}");
}
