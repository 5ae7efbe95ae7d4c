//! The connection pooler between this process and Postgres: what the operator configured, and a check for one that is not configured.
//! A pooler in transaction mode shares server sessions among clients. Prepared statements and session settings would fail there, or
//! reach another client's session.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::sync::OnceCell;

/// Time limit of the check. It waits for a second connection, which a pooler in session mode may not have.
const LIMIT: Duration = Duration::from_secs(2);

/// What the operator has to do.
pub(crate) const ADVICE: &str = "a connection pooler in transaction mode stands in front of Postgres; set DATABASE_POOLER=transaction, \
     or connect to Postgres itself or to a pooler in session mode";

/// The connection pooler between this process and Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// No pooler, or one in session mode.
    #[default]
    None,
    /// A pooler in transaction mode, such as PgBouncer. Session state is lost after each transaction.
    Transaction,
}

/// The result of the check; empty until the first connection of the process.
#[derive(Debug, Default)]
pub(crate) struct Sharing(OnceCell<bool>);

impl Sharing {
    /// Checks once, with the first connection. A check without a result counts as "not shared".
    pub(crate) async fn check(
        &self,
        first: &mut PgConnection,
        options: &PgConnectOptions,
    ) -> Result<bool, sqlx::Error> {
        let shared = self.0.get_or_try_init(|| async {
            // the first connection is idle while the other one is opened
            sqlx::Executor::execute(&mut *first, sqlx::raw_sql("SET idle_session_timeout = 0")).await?;
            let before = backend(first).await?;
            let other = tokio::time::timeout(LIMIT, other_backend(options)).await;
            let after = backend(first).await?;
            Ok::<_, sqlx::Error>(before != after || matches!(other, Ok(Ok(other)) if other == before))
        });
        shared.await.copied()
    }

    /// Whether the check found that sessions are shared; false before the check.
    pub(crate) fn found(&self) -> bool {
        self.0.get().copied().unwrap_or_default()
    }
}

/// The server process that runs a transaction of a second client. Behind a pooler in transaction mode it is probably the one that
/// ran the first client's last transaction. On a direct connection, and in session mode, it never is.
async fn other_backend(options: &PgConnectOptions) -> Result<i32, sqlx::Error> {
    let mut other = options.connect().await?;
    let backend = backend(&mut other).await?;
    other.close().await?;
    Ok(backend)
}

/// The server process of a connection, read without a prepared statement.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::Executor::fetch_one(connection, sqlx::raw_sql("SELECT pg_backend_pid()")).await?.try_get(0)
}
