//! A fresh database for one test, copied from a migrated one in a few milliseconds. Two tests never share one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use jobqueue_embedded::Server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};

use crate::Clock;
use crate::server::{MIGRATED, shared, small_pool};

/// Makes names unique inside this process, which has a server of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of one test. Dropping it drops the database in the background, connections included.
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

    /// A database without any table of ours, for tests of the migrations themselves.
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    /// The address for clients.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address, taken apart, for clients with wishes of their own.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.url.parse().unwrap()
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A small pool of the runtime that called [`new`](Self::new).
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The one number that a query gives, asked from outside of everything that is tested.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// How many sessions of this database are in a state, a condition on `pg_stat_activity`.
    pub async fn sessions(&self, state: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        self.number(&format!("{sql} AND {state}")).await
    }

    /// Somebody's transaction that did this and stays open.
    pub async fn hold(&self, sql: &str) -> Transaction<'static, Postgres> {
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut *transaction).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        transaction
    }

    /// A small pool whose every session lives in the time of `clock`.
    ///
    /// A connection learns the time when it is taken out of the pool; one that is held does not see it move.
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
        // Both names are our own constants; a name cannot be a parameter.
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
        // Best effort: the server ends with this process and takes everything along.
        thread::spawn(move || server.drop_database(&name));
    }
}
