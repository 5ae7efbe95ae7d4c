//! A pass deletes the expired jobs of a day that cannot be dropped, because too many of its jobs must stay. It consists of small
//! transactions. Each stores how far it has come, so a crash repeats nothing and skips nothing.

use std::time::Duration;

use uuid::Uuid;

use crate::handles::Upkeep;
use crate::plumbing::error::StoreError;
use crate::readers::row::{to_count, to_ms};
use crate::upkeep::retention::Retention;

/// Number of final jobs that one transaction checks.
const AT_ONCE: i64 = 5_000;
/// Maximum number of transactions in one prune, for all days together. With a prune per minute that is 16,000 jobs a second.
pub(super) const TRANSACTIONS: u32 = 200;
/// Time between the end of a pass over a day and the start of the next one.
const PASS_EVERY: Duration = Duration::from_hours(1);

/// What to do with an old day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassProgress {
    /// Drop it. If that is not possible, begin a pass.
    Due,
    /// Continue the pass.
    Running,
    /// Nothing. The last pass ended a short time ago.
    Done,
}

impl Upkeep<'_> {
    /// The progress of the pass over this day.
    pub(super) async fn pass_progress(&self, day: &str) -> Result<PassProgress, StoreError> {
        let mut unit = self.0.one().await?;
        let due = sqlx::query_scalar!(
            r#"-- store.prune.progress
            SELECT CASE WHEN ended_at IS NULL THEN NULL
                        ELSE ended_at <= jobqueue.now() - $2::bigint * interval '1 ms' END AS due
            FROM jobqueue.prune_pass WHERE day = $1"#,
            day,
            to_ms(PASS_EVERY),
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(match due {
            None | Some(Some(true)) => PassProgress::Due,
            Some(Some(false)) => PassProgress::Done,
            Some(None) => PassProgress::Running,
        })
    }

    /// Begins a pass over a day.
    pub(super) async fn begin_pass(&self, day: &str) -> Result<(), StoreError> {
        let mut unit = self.0.one().await?;
        sqlx::query!(
            "-- store.prune.begin
            INSERT INTO jobqueue.prune_pass (day, after) VALUES ($1, '00000000-0000-0000-0000-000000000000')
            ON CONFLICT (day) DO UPDATE SET after = excluded.after, ended_at = NULL",
            day,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Deletes the progress of days that were dropped.
    pub(super) async fn delete_passes(&self) -> Result<(), StoreError> {
        let mut unit = self.0.one().await?;
        sqlx::query!(
            "-- store.prune.passes
            DELETE FROM jobqueue.prune_pass WHERE to_regclass('jobqueue.body_' || day) IS NULL"
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Continues the pass over a day with at most `transactions` transactions, and reduces that number by those that it used. Returns
    /// the number of deleted jobs.
    pub(super) async fn continue_pass(
        &self,
        day: &str,
        retention: Retention,
        transactions: &mut u32,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        while *transactions > 0 {
            *transactions -= 1;
            let (seen, deleted) = self.pass_step(day, retention).await?;
            total += to_count(deleted);
            if seen < AT_ONCE {
                break;
            }
        }
        Ok(total)
    }

    /// Checks the next final jobs of a day and deletes those whose retention has ended. Returns how many it checked and how many it
    /// deleted. A job that an operator retries at the same time is locked, and stays.
    async fn pass_step(&self, day: &str, retention: Retention) -> Result<(i64, i64), StoreError> {
        let mut unit = self.0.begin().await?;
        let bounds = sqlx::query!(
            r#"-- store.prune.bounds
            SELECT greatest(p.after, jobqueue.id_floor(to_date(p.day, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC')) AS "after!",
                   jobqueue.id_floor((to_date(p.day, 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC') AS "upto!"
            FROM jobqueue.prune_pass p WHERE p.day = $1 AND p.ended_at IS NULL FOR UPDATE"#,
            day,
        )
        .fetch_optional(&mut *unit)
        .await?;
        // another reaper has ended the pass
        let Some(bounds) = bounds else { return Ok((0, 0)) };
        let step = sqlx::query!(
            r#"-- store.prune.expired
            WITH seen AS MATERIALIZED (
                SELECT job_id FROM jobqueue.outcome WHERE job_id > $1 AND job_id < $2 ORDER BY job_id LIMIT $3),
            old AS MATERIALIZED (
                SELECT o.job_id, l.queue_id FROM seen s
                JOIN jobqueue.outcome o ON o.job_id = s.job_id JOIN jobqueue.body b ON b.id = s.job_id
                JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                WHERE o.finished_at <= jobqueue.kept_since(o.status, q.completed_retention, q.failed_retention,
                                                           $4::bigint * interval '1 ms', $5::bigint * interval '1 ms')
                FOR UPDATE OF o SKIP LOCKED),
            tally AS (INSERT INTO jobqueue.tally (queue_id, pruned) SELECT queue_id, count(*)::int FROM old GROUP BY queue_id)
            SELECT (SELECT count(*) FROM seen) AS "seen!", jobqueue.forget(ARRAY(SELECT job_id FROM old)) AS "deleted!",
                   (SELECT job_id FROM seen ORDER BY job_id DESC LIMIT 1) AS last"#,
            bounds.after,
            bounds.upto,
            AT_ONCE,
            to_ms(retention.completed),
            to_ms(retention.failed),
        )
        .fetch_one(&mut *unit)
        .await?;
        let last: Uuid = step.last.unwrap_or(bounds.after);
        sqlx::query!(
            "-- store.prune.advance
            UPDATE jobqueue.prune_pass SET after = $2, ended_at = CASE WHEN $3 THEN jobqueue.now() END WHERE day = $1",
            day,
            last,
            step.seen < AT_ONCE,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok((step.seen, step.deleted))
    }
}
