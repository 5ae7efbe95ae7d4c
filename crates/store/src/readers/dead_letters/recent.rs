//! When the dead letters of a group failed. Statistics count kinds and queues, so this reads the dead letters that the group has now.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// A number of dead letters of an hour stops here, so that a group of millions costs no more than one of thousands.
pub const MAX_OF_AN_HOUR: u32 = 1000;

/// The dead letters of a group that failed in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHour {
    /// When the hour began, in UTC.
    pub at: DateTime<Utc>,
    /// How many of the dead letters that the group has now failed in it, up to [`MAX_OF_AN_HOUR`].
    pub count: u64,
}

/// The present hour and the 23 before it, oldest first. Each is a range of an index.
pub(super) async fn recent(unit: &mut Unit, fingerprint: Uuid) -> Result<Vec<GroupHour>, StoreError> {
    let rows = sqlx::query!(
        r#"-- store.dead_letters.group.recent
        SELECT h.at AS "at!", (
            SELECT count(*) FROM (
                SELECT d.failed_at FROM jobqueue.dead_letter d
                WHERE d.fingerprint = $1 AND d.failed_at >= h.at AND d.failed_at < h.at + interval '1 hour'
                ORDER BY d.failed_at, d.job_id LIMIT $2) few) AS "count!"
        FROM (SELECT date_trunc('hour', jobqueue.now(), 'UTC') - n * interval '1 hour' AS at FROM generate_series(0, 23) n) h
        ORDER BY h.at"#,
        fingerprint,
        i64::from(MAX_OF_AN_HOUR),
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(rows.into_iter().map(|row| GroupHour { at: row.at, count: to_count(row.count) }).collect())
}
