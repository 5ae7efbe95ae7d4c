//! Timeouts of remote workers. Our worker stops its handlers itself. A remote worker may not, and could renew
//! its lease forever.

use jobqueue_core::Outcome;
use jobqueue_core::limits::REMOTE_TIMEOUT_GRACE;

use super::{LostLease, Reclaimed};
use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::readers::row::to_ms;

impl Store {
    /// Ends attempts of remote workers that have exceeded their job's timeout, for up to `limit` leases. They
    /// fail like a handler that times out.
    pub async fn end_overruns(&self, limit: u32) -> Result<Reclaimed, StoreError> {
        retry_on_conflict(|| self.end_overruns_once(limit)).await
    }

    async fn end_overruns_once(&self, limit: u32) -> Result<Reclaimed, StoreError> {
        let mut unit = self.begin().await?;
        // `open` has only the bits of the jobs that exceeded their timeout
        let leases = sqlx::query_as!(
            LostLease,
            r#"-- store.overruns
            SELECT l.epoch, l.token, t.open AS "open!", j.job_ids, j.attempts
            FROM jobqueue.lease l
            CROSS JOIN LATERAL (SELECT job_ids, attempts FROM jobqueue.lease_jobs WHERE epoch = l.epoch LIMIT 1) j
            CROSS JOIN LATERAL (
                SELECT bit_or(1::bigint << (o.place - 1)::int) AS open
                FROM unnest(j.job_ids) WITH ORDINALITY AS o (id, place)
                CROSS JOIN LATERAL (SELECT timeout_ms, kind FROM jobqueue.body WHERE id = o.id LIMIT 1) b
                WHERE (l.open >> (o.place - 1)::int) & 1 = 1
                  AND l.leased_at + (coalesce(b.timeout_ms, (SELECT k.timeout_ms FROM jobqueue.kind k WHERE k.id = b.kind)) + $1::bigint) * interval '1 ms' < jobqueue.now()) t
            LEFT JOIN jobqueue.worker w ON w.id = l.worker_id
            WHERE (l.worker_id IS NULL OR w.id IS NOT NULL AND w.stale_ms IS NULL) AND l.leased_at < jobqueue.now() - $1::bigint * interval '1 ms' AND t.open IS NOT NULL
            ORDER BY l.epoch LIMIT $2 FOR UPDATE OF l SKIP LOCKED"#,
            to_ms(REMOTE_TIMEOUT_GRACE),
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        if leases.is_empty() {
            return Ok(Reclaimed::default());
        }
        let (ends, queues) =
            self.end_open(&mut unit, leases, |job| Outcome::Overran(job.timeout.unwrap_or_default())).await?;
        Self::settle_lost(unit, ends, queues).await
    }
}
