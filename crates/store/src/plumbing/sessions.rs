//! The sessions of a pool: the settings of each, and which idle ones are used again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::{Connection as _, Executor as _, PgConnection, PgExecutor, Row as _};
use tokio::time::{Instant, timeout};

use crate::plumbing::pooler::Pooler;
use crate::plumbing::time_limits;

/// Settings of every session.
///
/// Plans must not depend on statistics. The hot tables change between empty and millions of rows within a minute, and a
/// plan that was cached while a table was empty would later scan all of it. Every hot statement has exactly one index to
/// use, so one generic plan is right. Otherwise Postgres would plan a lease or a settle of few jobs at each call, which
/// takes longer than to run it. Filters are planned at each call (`before_walk`).
///
/// The time limits bound how long a process that freezes or vanishes keeps its locks: between two statements by
/// `idle_in_transaction_session_timeout`, with a vanished host by the keepalives, and with an answer that is not received
/// by `tcp_user_timeout`. A process that loses its server ends its own call (`limited.rs`). The reaper ends a COPY or an answer of a
/// process that is frozen on a live host (`stuck.rs`).
///
/// The first line resets what a role or a shared database may set for every session. Statements qualify all our names
/// with the schema. They are written for READ COMMITTED: they read again after a conflict.
fn session() -> String {
    let seconds = time_limits::STATEMENT.as_secs();
    format!(
        "SET search_path = pg_catalog; SET default_transaction_isolation = 'read committed'; \
     SET default_table_access_method = heap; SET standard_conforming_strings = on; SET lock_timeout = 0; SET idle_session_timeout = 0; \
     SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
     SET enable_mergejoin = off; SET jit = off; SET plan_cache_mode = force_generic_plan; SET statement_timeout = '{seconds}s'; \
     SET idle_in_transaction_session_timeout = '10s'; SET tcp_user_timeout = '20s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
    )
}

/// The same settings for one transaction, for poolers that share sessions among clients. Prepared statements are shared
/// too, so every transaction first drops those of the previous client. Each statement is then planned at each call.
pub(crate) fn pooled() -> String {
    let seconds = time_limits::STATEMENT.as_secs();
    format!(
        "DEALLOCATE ALL; SET LOCAL search_path = pg_catalog; SET LOCAL default_table_access_method = heap; \
     SET LOCAL standard_conforming_strings = on; SET LOCAL lock_timeout = 0; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
     SET LOCAL statement_timeout = '{seconds}s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
    )
}

/// A connection that was idle for longer is checked before use.
const RESTED: Duration = Duration::from_secs(1);

/// Sets up a new connection.
pub(crate) async fn prepare(connection: &mut PgConnection, pooler: Pooler) -> sqlx::Result<()> {
    if pooler == Pooler::None {
        connection.execute(session().as_str()).await?;
    }
    Ok(())
}

/// Decides which idle connections of a pool are used again. A session on a read-only server is dropped after a second: the
/// server is a standby or a demoted primary, and a new connection may reach the promoted one.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Whether a connection stays with one server. A pooler in transaction mode chooses the server for each transaction.
    own_server: bool,
    /// When a read-only session was last opened. Older sessions may be read-only too.
    read_only_at: Mutex<Option<Instant>>,
}

impl Sessions {
    pub(crate) fn new(pooler: Pooler) -> Self {
        Self { own_server: pooler == Pooler::None, read_only_at: Mutex::default() }
    }

    /// Records whether a new session is read-only.
    pub(crate) async fn opened(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.own_server && is_read_only(&mut *connection).await? {
            *self.read_only_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether an idle connection may be used. Asks the server only if the connection was idle for a second, or may be
    /// read-only. A connection whose server does not answer in time is not used, because the server has probably vanished.
    pub(crate) async fn is_usable(
        &self,
        connection: &mut PgConnection,
        state: &PoolConnectionMetadata,
    ) -> bool {
        timeout(time_limits::CHECK, self.check(connection, state)).await.unwrap_or(false)
    }

    async fn check(&self, connection: &mut PgConnection, state: &PoolConnectionMetadata) -> bool {
        let read_only_at = *self.read_only_at.lock().unwrap_or_else(PoisonError::into_inner);
        let suspect = read_only_at.is_some_and(|at| at.elapsed() <= state.age + RESTED);
        if state.idle_for < RESTED && !suspect {
            return true;
        }
        if !self.own_server {
            return connection.ping().await.is_ok();
        }
        let young = state.age < RESTED;
        is_read_only(connection).await.is_ok_and(|read_only| !read_only || young)
    }
}

/// Whether transactions of this session are read-only.
pub(crate) async fn is_read_only(connection: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    let row = connection.fetch_one("SELECT current_setting('transaction_read_only')").await?;
    row.try_get_unchecked::<String, _>(0).map(|setting| setting == "on")
}
