//! Keeps slow scans from blocking others: scans by filter have a short time limit, and urgent work has
//! connections of its own.

use std::sync::Arc;

use tokio::time::Instant;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::time_limits;

/// Any healthy database scans fewer jobs than this within the limit.
const MANY_JOBS: i64 = 10_000;

impl Store {
    /// The same queue through a separate pool of up to `most` connections. Calls that use up one pool do not
    /// block the other.
    #[must_use]
    pub fn apart(&self, most: u32) -> Self {
        let connect = (*self.pool.connect_options()).clone();
        let pool = self.pool.options().clone().max_connections(most.max(1)).connect_lazy_with(connect);
        // each pool has to learn of a changed URL
        let url_file = self.url_file.as_ref().map(|file| Arc::new(file.for_pool()));
        Self { pool, url_file, ..self.clone() }
    }

    /// Most connections that it opens.
    pub fn max_connections(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// The error of a transaction that scanned since `began`. It is the filter's fault only if our own limit
    /// ended it and there are many jobs. Otherwise the database is slow, a table is locked, or an operator
    /// cancelled the statement.
    pub(crate) async fn after_walk(&self, error: StoreError, began: Instant) -> StoreError {
        if !error.is_statement_timeout() || began.elapsed() < time_limits::WALK {
            return error;
        }
        match self.has_many_jobs().await {
            Ok(true) => StoreError::TooBroad,
            Ok(false) | Err(_) => error,
        }
    }

    async fn has_many_jobs(&self) -> Result<bool, StoreError> {
        let mut unit = self.begin().await?;
        Self::before_walk(&mut unit).await?;
        let many = sqlx::query_scalar!(
            r#"-- store.walk.many
            SELECT count(*) > $1 AS "many!" FROM (SELECT FROM jobqueue.body LIMIT $1::bigint + 1) b"#,
            MANY_JOBS,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(many)
    }

    /// Limits the statements of this transaction, because a filter that matches nothing can scan millions of
    /// jobs. Also has them planned for the given values, because most parts of a filter are usually not set.
    pub(crate) async fn before_walk(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- store.walk
            SELECT set_config('statement_timeout', '5s', true) AS "timeout!",
                   set_config('lock_timeout', '2s', true) AS "locks!",
                   set_config('plan_cache_mode', 'force_custom_plan', true) AS "plans!""#
        )
        .fetch_one(&mut **unit)
        .await?;
        unit.set_statement_limit(time_limits::WALK);
        Ok(())
    }
}

/// Lets the planner read and join whole tables in the rest of this transaction, for statements that do, or
/// forbids it again, as sessions have it. Nested loops are forbidden meanwhile: over many queues they take
/// the square of the time. Among many dead rows an index must not be read instead: with statistics that saw
/// an empty table it looks like one page. A cached plan would ignore all this.
pub(crate) async fn joins(unit: &mut Unit, whole: bool, among_dead: bool) -> Result<(), StoreError> {
    sqlx::query!(
        "-- store.joins
        SELECT set_config(setting, CASE WHEN chosen THEN one ELSE other END, true) AS now
        FROM (VALUES ('enable_seqscan', $1::boolean, 'on', 'off'), ('enable_hashjoin', $1, 'on', 'off'),
                     ('enable_nestloop', $1, 'off', 'on'),
                     ('enable_indexscan', $2::boolean, 'off', 'on'), ('enable_indexonlyscan', $2, 'off', 'on'),
                     ('plan_cache_mode', $1, 'force_custom_plan', 'force_generic_plan')) s (setting, chosen, one, other)",
        whole,
        among_dead,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(())
}
