//! A new database for each test, copied from a migrated one in a few milliseconds.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use jobqueue_embedded::Server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio::process::Command;

use crate::Clock;
use crate::server::{MIGRATED, shared, small_pool};

/// Makes names unique in this process, which has its own server.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The database of one test. Dropping this value ends its connections and drops the database in the
/// background.
#[derive(Debug)]
pub struct TestDb {
    server: &'static Server,
    name: String,
    url: String,
    pool: PgPool,
}

impl TestDb {
    /// A database with every migration applied. The first call in a process starts the server.
    pub async fn new() -> Self {
        Self::copy_of(MIGRATED).await
    }

    /// A database without jobqueue's schema, for tests of the migrations.
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    /// A database with what [`dump`](Self::dump) returned.
    pub async fn restored(dump: &str) -> Self {
        let db = Self::empty().await;
        // a separate connection, because a dump changes settings of the session
        let mut connection = PgConnection::connect(db.url()).await.unwrap();
        sqlx::raw_sql(dump).execute(&mut connection).await.expect("restore a dump");
        connection.close().await.unwrap();
        db
    }

    /// The connection URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The connection URL as options, for clients that change some of them.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.url.parse().unwrap()
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A small pool; it belongs to the runtime that called [`new`](Self::new).
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The number that a query returns, over a connection that is not part of the test.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// Executes statements over a connection that is not part of the test.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The number of sessions of this database that match a condition on `pg_stat_activity`.
    pub async fn sessions(&self, state: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        self.number(&format!("{sql} AND {state}")).await
    }

    /// Opens a transaction, executes the statement, and leaves the transaction open.
    pub async fn hold(&self, sql: &str) -> Transaction<'static, Postgres> {
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut *transaction).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        transaction
    }

    /// Runs a client program of the server, such as `pg_dump`, and returns its output.
    pub async fn client(&self, program: &str, arguments: &[&str]) -> String {
        let folder: String = sqlx::query_scalar("SELECT setting FROM pg_config() WHERE name = 'BINDIR'")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let output = Command::new(Path::new(&folder).join(program)).args(arguments).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The database as SQL that any role can execute on any supported version of Postgres, without a client program.
    pub async fn dump(&self) -> String {
        let wanted = ["--no-owner", "--no-toast-compression", "--inserts", "--rows-per-insert=100"];
        let text = self.client("pg_dump", &[&wanted[..], &[self.url()]].concat()).await;
        // comments, and lines that only the newest versions understand
        let left_out = ["--", "\\", "SET transaction_timeout"];
        let mut lines: Vec<&str> = text.lines().collect();
        lines.retain(|line| !left_out.iter().any(|start| line.starts_with(start)));
        lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
        lines.join("\n") + "\n"
    }

    /// A small pool whose sessions use the time of `clock`.
    ///
    /// The time of a connection is set when it is acquired from the pool; it does not change while the
    /// connection is held.
    pub fn pool_with_clock(&self, clock: &Clock) -> PgPool {
        let (on_connect, on_acquire) = (clock.clone(), clock.clone());
        small_pool()
            .after_connect(move |connection, _| {
                let clock = on_connect.clone();
                Box::pin(async move { clock.apply(connection).await })
            })
            .before_acquire(move |connection, _| {
                let clock = on_acquire.clone();
                Box::pin(async move { clock.apply(connection).await.map(|()| true) })
            })
            .connect_lazy_with(self.connect_options())
    }

    async fn copy_of(template: &str) -> Self {
        let server = shared().await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&server.database_url("postgres")).await.expect("connect");
        // a name cannot be a parameter; both names are constants of this crate
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::raw_sql(&create).execute(&mut admin).await.expect("create a test database");
        admin.close().await.expect("end the creating connection");
        let url = server.database_url(&name);
        let pool = small_pool().connect_lazy(&url).unwrap();
        Self { server, name, url, pool }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (server, name) = (self.server, std::mem::take(&mut self.name));
        // a failure does not matter, because the server and its data are removed at the end of this process
        thread::spawn(move || server.drop_database(&name));
    }
}
