//! Finds jobs that were enqueued in SQL without a notification, and notifies the workers of them. Owns the connection and the statements;
//! `core::arrivals` decides when to notify.

use std::time::Duration;

use jobqueue_core::arrivals::{self, ArrivalCheck, Arrivals, InProgress};
use tokio::time::Instant;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::limited::LimitedConnection;
use crate::plumbing::pooler::Pooler;
use crate::plumbing::wakeup::CHANNEL;

/// Of several reapers one checks.
const ARRIVALS_LOCK: i64 = 0x6a71_0004;

/// Checks for calls of `jobqueue.enqueue`, on a connection that it keeps.
#[derive(Debug)]
pub struct ArrivalWatcher {
    connection: LimitedConnection,
    arrivals: Arrivals,
    changed_at: Instant,
    /// Whether the last check notified the workers.
    notified: bool,
}

impl Store {
    /// A watcher with a new connection. `None` behind a pooler in transaction mode, where workers receive no notifications.
    pub async fn watch_arrivals(&self) -> Result<Option<ArrivalWatcher>, StoreError> {
        if self.pooler == Pooler::Transaction {
            return Ok(None);
        }
        let acquired = self.side_pool().acquire().await;
        let connection = LimitedConnection::new(acquired.map_err(|error| StoreError::unreachable(&error))?);
        let watcher = ArrivalWatcher {
            connection,
            arrivals: Arrivals::default(),
            changed_at: Instant::now(),
            notified: false,
        };
        Ok((!self.sharing.found()).then_some(watcher))
    }
}

impl ArrivalWatcher {
    /// Whether this watcher is the only one that checks. If it is, it stays so until its connection ends.
    pub async fn is_leader(&mut self) -> Result<bool, StoreError> {
        let lock = sqlx::query_scalar!(
            r#"-- store.arrivals.leader
            SELECT pg_try_advisory_lock($1) AS "leader!""#,
            ARRIVALS_LOCK,
        );
        Ok(lock.fetch_one(&mut self.connection).await?)
    }

    /// Checks once, and notifies all workers if jobs became visible. Returns whether it did.
    pub async fn check(&mut self) -> Result<bool, StoreError> {
        // age() reads the number of the next transaction, without taking one. It is evaluated after the snapshot, and after
        // the sequence was read.
        let seen = sqlx::query!(
            r#"-- store.arrivals.check
            SELECT last_value + is_called::int AS "calls!", pg_current_snapshot()::text AS "snapshot!", age('3'::xid) AS "since_3!"
            FROM jobqueue.sql_calls"#
        )
        .fetch_one(&mut self.connection)
        .await?;
        let next = seen.since_3.cast_unsigned().wrapping_add(3);
        let in_progress = InProgress::parse(&seen.snapshot, next)
            .map_err(|error| StoreError::Defect(sqlx::Error::Decode(error.into())))?;
        let notify = self.arrivals.check(ArrivalCheck { calls: seen.calls, in_progress });
        if notify {
            sqlx::query!("-- store.arrivals.notify\nSELECT pg_notify($1, '')", CHANNEL)
                .execute(&mut self.connection)
                .await?;
        }
        if notify || self.arrivals.is_waiting() {
            self.changed_at = Instant::now();
        }
        self.notified = notify;
        Ok(notify)
    }

    /// The pause before the next check, at most `longest`.
    pub fn pause(&self, longest: Duration) -> Duration {
        arrivals::pause(self.notified, self.changed_at.elapsed(), longest)
    }
}
