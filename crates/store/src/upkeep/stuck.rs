//! stuck: ends sessions of jobqueue whose process froze or vanished in the middle of a transaction. The rows that they lock (leases,
//! waiting jobs, unique keys) would stay locked as long as the session exists. Other sessions skip these rows or wait for them.
//!
//! Postgres itself ends a session that is idle in a transaction (`sessions.rs`). It does not end a session that waits for its client
//! in the middle of a statement: for the rows of a COPY, or until the client reads an answer.

use std::time::Duration;

use crate::handles::Upkeep;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_ms;

/// A session that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// Process id of the session on the server.
    pub pid: i32,
    /// Name of the program that opened it.
    pub application_name: String,
    /// Address of the client; `None` for a unix socket.
    pub client: Option<String>,
}

impl Upkeep<'_> {
    /// Ends sessions of jobqueue in this database that have written in their transaction and have waited for their client for longer
    /// than `max_wait`. Sessions of roles whose rights this role does not have are not ended.
    pub async fn end_stuck_sessions(&self, max_wait: Duration) -> Result<Vec<EndedSession>, StoreError> {
        let mut unit = self.0.one().await?;
        let ended = sqlx::query_as!(
            EndedSession,
            r#"-- store.stuck
            WITH stuck AS MATERIALIZED (
                SELECT pid, application_name, host(client_addr) AS client FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'jobqueue-%'
                  AND backend_xid IS NOT NULL AND wait_event_type = 'Client' AND wait_event IN ('ClientRead', 'ClientWrite')
                  AND state_change < clock_timestamp() - $1::bigint * interval '1 ms' AND pg_has_role(usesysid, 'USAGE'))
            SELECT pid AS "pid!", application_name AS "application_name!", client
            FROM stuck WHERE pg_terminate_backend(pid)"#,
            to_ms(max_wait),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(ended)
    }
}
