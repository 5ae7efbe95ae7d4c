//! prune: deletes final jobs when their retention ends, a whole day of them at a time, and all other rows
//! that would accumulate.

use std::time::Duration;

use sqlx::Executor as _;

use crate::handles::Upkeep;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::plumbing::time_limits;
use crate::readers::row::{to_count, to_ms};
use crate::upkeep::retention::Retention;
use pass::PassProgress;

mod pass;

/// Number of days for which partitions are created ahead. A reaper may be down for that long.
const DAYS_AHEAD: i32 = 4;
/// A day is dropped if at most this many of its jobs must stay. They are moved while all other sessions wait.
/// If more must stay, the expired jobs are deleted (`pass`).
const MAX_KEPT: i32 = 20_000;
/// How long idempotency keys are kept.
const KEYS_KEPT: Duration = Duration::from_hours(24);
/// Maximum number of idempotency keys that one transaction deletes.
const KEYS_AT_ONCE: u32 = 50_000;
/// Maximum number of such transactions in one prune. With a prune per minute that is 16,000 keys a second.
const KEY_CALLS: u32 = 20;
/// Maximum number of stragglers that one transaction deletes.
const STRAGGLERS: i64 = 5_000;
/// Maximum number of such transactions in one prune.
const STRAGGLER_CALLS: u32 = 20;
/// Key of the advisory lock: only one of several reapers prunes.
const PRUNE_LOCK: i64 = 0x6a71_0001;

/// The result of a prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of jobs that were deleted.
    pub jobs: u64,
    /// Number of days that were dropped as a whole.
    pub days: u32,
    /// Number of old days that were not dropped, because too many of their jobs must stay or because they are
    /// locked. The expired jobs of the former were deleted.
    pub days_waiting: u32,
    /// Number of days for which partitions were created.
    pub days_made: u32,
}

impl Upkeep<'_> {
    /// Does all of this once. Several processes may call it at the same time: while one creates partitions, the
    /// others return immediately, and everything else may be done twice.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut unit = self.0.begin().await?;
        if !Self::lock_prune(&mut unit).await? {
            return Ok(pruned);
        }
        Self::set_maintenance_timeouts(&mut unit).await?;
        let made = sqlx::query_scalar!(
            r#"SELECT jobqueue.add_partitions((jobqueue.now() AT TIME ZONE 'UTC')::date, $1) AS "made!""#,
            DAYS_AHEAD
        );
        pruned.days_made = match made.fetch_one(&mut *unit).await.map_err(StoreError::from) {
            Ok(made) => u32::try_from(made).unwrap_or(0),
            // a long read holds a lock; partitions exist for some days, and the next run creates more
            Err(error) if error.is_lock_timeout() => 0,
            Err(error) => return Err(error),
        };
        // creating partitions blocks all other sessions until this commit, so the transaction does nothing
        // else
        unit.commit().await?;
        for _ in 0..KEY_CALLS {
            if self.delete_keys().await? < u64::from(KEYS_AT_ONCE) {
                break;
            }
        }
        self.delete_side_rows().await?;
        self.prune_statistics().await?;
        let mut transactions = pass::TRANSACTIONS;
        for day in self.old_days(retention).await? {
            self.prune_old_day(&day, retention, &mut transactions, &mut pruned).await?;
        }
        self.delete_passes().await?;
        for _ in 0..STRAGGLER_CALLS {
            let gone = self.prune_stragglers(retention).await?;
            pruned.jobs += to_count(gone);
            if gone < STRAGGLERS {
                break;
            }
        }
        Ok(pruned)
    }

    /// Allows long statements, but only a short wait for a lock, because other sessions queue behind a
    /// waiting lock request. The wait is shorter than `deadlock_timeout`, so a deadlock ends this transaction
    /// and no other.
    async fn set_maintenance_timeouts(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut **unit).await?;
        let allowed = format!("SET LOCAL statement_timeout = '{}s'", time_limits::MAINTENANCE.as_secs());
        unit.execute(allowed.as_str()).await?;
        unit.set_statement_limit(time_limits::MAINTENANCE);
        Ok(())
    }

    /// Whether no other process holds the lock.
    async fn lock_prune(unit: &mut Unit) -> Result<bool, StoreError> {
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, PRUNE_LOCK);
        Ok(lock.fetch_one(&mut **unit).await?)
    }

    async fn delete_keys(&self) -> Result<u64, StoreError> {
        let mut unit = self.0.one().await?;
        let gone = sqlx::query!(
            "-- store.prune.keys
            DELETE FROM jobqueue.idempotency WHERE key = ANY (ARRAY(
                SELECT key FROM jobqueue.idempotency WHERE created_at < jobqueue.now() - $1::bigint * interval '1 ms'
                ORDER BY created_at LIMIT $2))",
            to_ms(KEYS_KEPT),
            i64::from(KEYS_AT_ONCE),
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(gone.rows_affected())
    }

    async fn delete_side_rows(&self) -> Result<(), StoreError> {
        let mut unit = self.0.begin().await?;
        sqlx::query!(
            "-- store.prune.cancel_requests
            DELETE FROM jobqueue.cancel_request c WHERE NOT EXISTS (SELECT FROM jobqueue.lease l WHERE l.epoch = c.epoch)"
        )
        .execute(&mut *unit)
        .await?;
        sqlx::query!(
            "-- store.prune.workers
            DELETE FROM jobqueue.worker w
            WHERE beat_at < jobqueue.now() - CASE WHEN stale_ms IS NULL THEN interval '10 min' ELSE interval '1 day' END
            AND NOT EXISTS (SELECT FROM jobqueue.lease l WHERE l.worker_id = w.id)"
        )
        .execute(&mut *unit)
        .await?;
        sqlx::query!(
            "-- store.prune.commands
            DELETE FROM jobqueue.worker_command WHERE created_at < jobqueue.now() - interval '1 day'"
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Days all of whose jobs are older than the shortest retention of any queue.
    async fn old_days(&self, retention: Retention) -> Result<Vec<String>, StoreError> {
        let mut unit = self.0.one().await?;
        let days = sqlx::query_scalar!(
            r#"-- store.prune.days
            SELECT substr(c.relname, 6) AS "day!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'jobqueue' AND c.relkind = 'r' AND c.relname ~ '^body_[0-9]{8}$'
              AND to_date(substr(c.relname, 6), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' + interval '1 day' < jobqueue.now()
                  - (SELECT least($1::bigint * interval '1 ms', $2::bigint * interval '1 ms',
                                  min(completed_retention), min(failed_retention)) FROM jobqueue.queue WHERE deleted_at IS NULL)
            ORDER BY 1"#,
            to_ms(retention.completed),
            to_ms(retention.failed),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(days)
    }

    /// Drops a day, or deletes its expired jobs if too many of its jobs must stay.
    async fn prune_old_day(
        &self,
        day: &str,
        retention: Retention,
        transactions: &mut u32,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let progress = self.pass_progress(day).await?;
        if progress == PassProgress::Due {
            match self.prune_day(day, retention).await {
                Ok(Some(jobs)) => {
                    pruned.days += 1;
                    pruned.jobs += jobs;
                    return Ok(());
                }
                Ok(None) => self.begin_pass(day).await?,
                // a long read holds a lock: the next prune tries again
                Err(error) if error.is_lock_timeout() => {
                    pruned.days_waiting += 1;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        pruned.days_waiting += 1;
        if progress != PassProgress::Done {
            pruned.jobs += self.continue_pass(day, retention, transactions).await?;
        }
        Ok(())
    }

    async fn prune_day(&self, day: &str, retention: Retention) -> Result<Option<u64>, StoreError> {
        let mut unit = self.0.begin().await?;
        if !Self::lock_prune(&mut unit).await? {
            return Ok(None);
        }
        Self::set_maintenance_timeouts(&mut unit).await?;
        let jobs = sqlx::query_scalar!(
            "-- store.prune.day
            SELECT jobqueue.prune_day($1, $2::bigint * interval '1 ms', $3::bigint * interval '1 ms', $4)",
            day,
            to_ms(retention.completed),
            to_ms(retention.failed),
            MAX_KEPT,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(jobs.map(to_count))
    }

    /// Deletes stragglers: expired jobs that were not yet final when their day was dropped.
    async fn prune_stragglers(&self, retention: Retention) -> Result<i64, StoreError> {
        let mut unit = self.0.one().await?;
        let gone = sqlx::query_scalar!(
            r#"-- store.prune.stragglers
            WITH old AS MATERIALIZED (
                SELECT o.job_id, l.queue_id FROM jobqueue.outcome_default o JOIN jobqueue.body_default b ON b.id = o.job_id
                JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                WHERE o.finished_at <= jobqueue.kept_since(o.status, q.completed_retention, q.failed_retention,
                                                           $1::bigint * interval '1 ms', $2::bigint * interval '1 ms')
                ORDER BY o.job_id LIMIT $3 FOR UPDATE OF o SKIP LOCKED),
            tally AS (INSERT INTO jobqueue.tally (queue_id, pruned) SELECT queue_id, count(*)::int FROM old GROUP BY queue_id)
            SELECT jobqueue.forget(ARRAY(SELECT job_id FROM old)) AS "gone!""#,
            to_ms(retention.completed),
            to_ms(retention.failed),
            STRAGGLERS,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(gone)
    }
}
