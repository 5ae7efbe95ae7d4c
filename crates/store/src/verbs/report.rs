//! Stores progress and log lines of running attempts. Like every write of a worker it is guarded by the
//! lease.

use jobqueue_core::limits::MAX_LOG_BYTES;
use jobqueue_core::{Json, Lease};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;

/// What a handler reported since the previous report.
#[derive(Clone, Debug, Default)]
pub struct AttemptReport {
    /// The latest progress value, if it changed.
    pub progress: Option<Json>,
    /// Log text to append, with newlines. The store keeps the last 16 KiB of an attempt.
    pub log: String,
}

impl Store {
    /// Stores reports. Returns for each, in order, whether its lease was still valid.
    pub async fn report(&self, reports: &[(&Lease, AttemptReport)]) -> Result<Vec<bool>, StoreError> {
        if reports.is_empty() {
            return Ok(vec![]);
        }
        let epochs: Vec<i64> = reports.iter().map(|(lease, _)| lease.epoch()).collect();
        let tokens: Vec<Uuid> = reports.iter().map(|(lease, _)| lease.token()).collect();
        let ordinals: Vec<i32> = reports.iter().map(|(lease, _)| i32::from(lease.ordinal())).collect();
        let jobs: Vec<Uuid> = reports.iter().map(|(lease, _)| lease.job_id().as_uuid()).collect();
        let progress: Vec<Option<&str>> =
            reports.iter().map(|(_, report)| report.progress.as_ref().map(Json::as_str)).collect();
        let logs: Vec<String> =
            reports.iter().map(|(_, report)| report.log.replace('\0', "\u{fffd}")).collect();
        let mut unit = self.one().await?;
        let stored = sqlx::query_scalar!(
            r#"-- store.report
            WITH live AS MATERIALIZED (
                SELECT i.*
                FROM (SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::text[]) WITH ORDINALITY
                        AS i (epoch, token, ordinal, job_id, progress, log, place) ORDER BY epoch, ordinal) i
                CROSS JOIN LATERAL (SELECT open FROM jobqueue.lease WHERE epoch = i.epoch AND token = i.token LIMIT 1 FOR SHARE) l
                CROSS JOIN LATERAL (SELECT job_ids FROM jobqueue.lease_jobs WHERE epoch = i.epoch LIMIT 1) j
                WHERE (l.open >> i.ordinal) & 1 = 1 AND j.job_ids[i.ordinal + 1] = i.job_id),
            stored AS (
                INSERT INTO jobqueue.report AS r (job_id, epoch, progress, log, updated_at, logged_bytes)
                SELECT job_id, epoch,
                       (array_agg(progress ORDER BY place DESC) FILTER (WHERE progress IS NOT NULL))[1]::json,
                       jobqueue.tail(string_agg(log, '' ORDER BY place), $7), jobqueue.now(), sum(octet_length(log))
                FROM live GROUP BY job_id, epoch
                ON CONFLICT (job_id, epoch) DO UPDATE
                SET progress = coalesce(excluded.progress, r.progress), updated_at = excluded.updated_at,
                    logged_bytes = coalesce(r.logged_bytes, octet_length(r.log)) + excluded.logged_bytes,
                    log = CASE WHEN octet_length(excluded.log) > $7 - 4 THEN excluded.log
                               ELSE jobqueue.tail(r.log || excluded.log, $7) END)
            SELECT place AS "place!" FROM live"#,
            &epochs,
            &tokens,
            &ordinals,
            &jobs,
            &progress as _,
            &logs,
            i32::try_from(MAX_LOG_BYTES).unwrap_or(i32::MAX),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let places = 1..=i64::try_from(reports.len()).unwrap_or(i64::MAX);
        Ok(places.map(|place| stored.contains(&place)).collect())
    }
}
