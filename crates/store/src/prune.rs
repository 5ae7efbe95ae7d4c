//! prune: forgets final jobs when their retention ends, a day of them at a time, and everything else that would grow for ever.

use std::time::Duration;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::row::{to_count, to_ms};

/// Days of room that are made ahead; a reaper may be away that long.
const DAYS_AHEAD: i32 = 4;
/// A day is dropped when at most this many of its jobs must stay, for they are moved while everybody waits; until then it
/// waits itself.
const MAX_KEPT: i32 = 20_000;
/// Idempotency keys are honoured for a day.
const KEYS_KEPT: Duration = Duration::from_hours(24);
/// Idempotency keys that one call forgets.
const KEYS_AT_ONCE: u32 = 50_000;
/// How many such calls one prune makes at most: with a prune a minute, 16,000 keys a second.
const KEY_CALLS: u32 = 20;
/// Stragglers that one call forgets.
const STRAGGLERS: i64 = 5_000;
/// How many such calls one prune makes at most.
const STRAGGLER_CALLS: u32 = 20;
/// Of several reapers one prunes.
const PRUNE_LOCK: i64 = 0x6a71_0001;

/// How long final jobs are kept, unless their queue says otherwise. Whole days pass, so it is a lower bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed jobs.
    pub completed: Duration,
    /// Failed and cancelled ones.
    pub failed: Duration,
}

/// What a prune did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs forgotten.
    pub jobs: u64,
    /// Days dropped whole.
    pub days: u32,
    /// Days that are old but hold too many jobs that must stay.
    pub days_waiting: u32,
    /// Days of room made.
    pub days_made: u32,
}

impl Store {
    /// Does all of it once. Safe in many processes at once: while one makes room for days the others return
    /// at once with nothing done, and the rest can be done twice.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut unit = self.begin().await?;
        if !Self::alone(&mut unit).await? {
            return Ok(pruned);
        }
        Self::be_patient(&mut unit).await?;
        let made = sqlx::query_scalar!(
            r#"SELECT jobqueue.add_partitions((jobqueue.now() AT TIME ZONE 'UTC')::date, $1) AS "made!""#,
            DAYS_AHEAD
        );
        pruned.days_made = match made.fetch_one(&mut *unit).await.map_err(StoreError::from) {
            Ok(made) => u32::try_from(made).unwrap_or(0),
            // somebody reads for long; there is room for days, the next run makes more
            Err(error) if error.is_lock_timeout() => 0,
            Err(error) => return Err(error),
        };
        // making room locks everybody out until here, so nothing else is done in that transaction
        unit.commit().await?;
        for _ in 0..KEY_CALLS {
            if self.forget_keys().await? < u64::from(KEYS_AT_ONCE) {
                break;
            }
        }
        self.forget_side_rows().await?;
        for day in self.old_days(retention).await? {
            match self.prune_day(&day, retention).await {
                Ok(Some(jobs)) => {
                    pruned.days += 1;
                    pruned.jobs += jobs;
                }
                Ok(None) => pruned.days_waiting += 1,
                Err(error) if error.is_lock_timeout() => pruned.days_waiting += 1,
                Err(error) => return Err(error),
            }
        }
        for _ in 0..STRAGGLER_CALLS {
            let gone = self.prune_stragglers(retention).await?;
            pruned.jobs += to_count(gone);
            if gone < STRAGGLERS {
                break;
            }
        }
        Ok(pruned)
    }

    /// Long work is expected; waiting for a lock is not, because all others then queue behind us. Less than the second after
    /// which a deadlock is resolved at the cost of whoever met us.
    async fn be_patient(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut **unit).await?;
        sqlx::query!("SET LOCAL statement_timeout = '10min'").execute(&mut **unit).await?;
        Ok(())
    }

    async fn alone(unit: &mut Unit) -> Result<bool, StoreError> {
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, PRUNE_LOCK);
        Ok(lock.fetch_one(&mut **unit).await?)
    }

    async fn forget_keys(&self) -> Result<u64, StoreError> {
        let mut unit = self.one().await?;
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

    async fn forget_side_rows(&self) -> Result<(), StoreError> {
        let mut unit = self.begin().await?;
        sqlx::query!(
            "-- store.prune.cancel_requests
            DELETE FROM jobqueue.cancel_request c WHERE NOT EXISTS (SELECT FROM jobqueue.lease l WHERE l.epoch = c.epoch)"
        )
        .execute(&mut *unit)
        .await?;
        sqlx::query!(
            "-- store.prune.workers
            DELETE FROM jobqueue.worker w WHERE beat_at < jobqueue.now() - interval '1 day'
            AND NOT EXISTS (SELECT FROM jobqueue.lease l WHERE l.worker_id = w.id)"
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Days all of whose jobs are older than the shortest retention of any queue.
    async fn old_days(&self, retention: Retention) -> Result<Vec<String>, StoreError> {
        let mut unit = self.one().await?;
        let days = sqlx::query_scalar!(
            r#"-- store.prune.days
            SELECT substr(c.relname, 6) AS "day!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'jobqueue' AND c.relkind = 'r' AND c.relname ~ '^body_[0-9]{8}$'
              AND to_date(substr(c.relname, 6), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' + interval '1 day' < jobqueue.now()
                  - (SELECT least($1::bigint * interval '1 ms', $2::bigint * interval '1 ms',
                                  min(completed_retention), min(failed_retention)) FROM jobqueue.queue)
            ORDER BY 1"#,
            to_ms(retention.completed),
            to_ms(retention.failed),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(days)
    }

    async fn prune_day(&self, day: &str, retention: Retention) -> Result<Option<u64>, StoreError> {
        let mut unit = self.begin().await?;
        if !Self::alone(&mut unit).await? {
            return Ok(None);
        }
        Self::be_patient(&mut unit).await?;
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

    /// Forgets jobs that outlived the drop of their day.
    async fn prune_stragglers(&self, retention: Retention) -> Result<i64, StoreError> {
        let mut unit = self.one().await?;
        let gone = sqlx::query_scalar!(
            r#"-- store.prune.stragglers
            WITH old AS MATERIALIZED (
                SELECT o.job_id, l.queue_id FROM jobqueue.outcome_default o JOIN jobqueue.body_default b ON b.id = o.job_id
                JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                WHERE o.finished_at <= jobqueue.kept_since(o.status, q.completed_retention, q.failed_retention,
                                                           $1::bigint * interval '1 ms', $2::bigint * interval '1 ms')
                ORDER BY o.job_id LIMIT $3 FOR UPDATE OF o SKIP LOCKED),
            outcome AS (DELETE FROM jobqueue.outcome_default WHERE job_id = ANY (ARRAY(SELECT job_id FROM old))),
            attempt AS (DELETE FROM jobqueue.attempt_default WHERE job_id = ANY (ARRAY(SELECT job_id FROM old))),
            report AS (DELETE FROM jobqueue.report_default WHERE job_id = ANY (ARRAY(SELECT job_id FROM old))),
            claim AS (DELETE FROM jobqueue.unique_claim WHERE job_id = ANY (ARRAY(SELECT job_id FROM old))),
            body AS (DELETE FROM jobqueue.body_default WHERE id = ANY (ARRAY(SELECT job_id FROM old))),
            tally AS (INSERT INTO jobqueue.tally (queue_id, pruned) SELECT queue_id, count(*)::int FROM old GROUP BY queue_id)
            SELECT count(*) AS "gone!" FROM old"#,
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
