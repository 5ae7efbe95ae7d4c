//! Kinds that nothing uses any more: notes when each was last used, and deletes those that were not for as long as statistics are kept. A deleted
//! kind keeps its row and its number, like a deleted queue.

use std::time::Duration;

use jobqueue_core::statistics::HOURS_KEPT;

use crate::handles::Upkeep;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::census::CENSUS_LOCK;
use crate::readers::row::to_ms;

/// How long a kind must be unused: its use is noted once an hour, so a job may be an hour younger than the note.
const UNUSED_FOR: Duration = HOURS_KEPT.saturating_add(Duration::from_hours(1));

/// Notes that tallies named these kinds, at most once an hour for each, and restores those that were deleted. The census calls it, in the
/// transaction that deletes the tallies.
pub(crate) async fn note_use(unit: &mut Unit, kinds: &[i32]) -> Result<(), StoreError> {
    if kinds.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- store.kinds.used
        UPDATE jobqueue.kind SET used_at = jobqueue.now(), deleted_at = NULL
        WHERE id = ANY ($1) AND (used_at < jobqueue.now() - interval '1 hour' OR deleted_at IS NOT NULL)",
        kinds,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

impl Upkeep<'_> {
    /// Deletes up to `limit` kinds that no job had for as long as statistics are kept, that have no setting, and that no live worker and no
    /// schedule names. Looks at no more than `limit`, and returns how many of them it deleted; those that are in use are looked at again after
    /// the same time. Does nothing while a census is under way.
    pub async fn expire_kinds(&self, limit: u32) -> Result<u32, StoreError> {
        let mut unit = self.0.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, CENSUS_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(0);
        }
        let old = sqlx::query_scalar!(
            "-- store.kinds.unused
            SELECT id FROM jobqueue.kind
            WHERE deleted_at IS NULL AND used_at <= jobqueue.now() - $1::bigint * interval '1 ms'
              AND paused_at IS NULL AND timeout_ms IS NULL AND retry IS NULL
            LIMIT $2",
            to_ms(UNUSED_FOR),
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        let deleted = if old.is_empty() { 0 } else { delete_unused(&mut unit, &old).await? };
        unit.commit().await?;
        Ok(deleted)
    }
}

/// The tallies of younger jobs have named their kinds, so only bodies that are older than the time need a look. There are none unless a queue
/// keeps its jobs for longer.
async fn delete_unused(unit: &mut Unit, old: &[i32]) -> Result<u32, StoreError> {
    let changed = sqlx::query_scalar!(
        r#"-- store.kinds.expire
        WITH old AS MATERIALIZED (
            SELECT id, name FROM jobqueue.kind
            WHERE id = ANY ($1) AND deleted_at IS NULL AND used_at <= jobqueue.now() - $3::bigint * interval '1 ms'
              AND paused_at IS NULL AND timeout_ms IS NULL AND retry IS NULL ORDER BY id FOR UPDATE),
        seen AS MATERIALIZED (
            -- what was written by hand may name no kind, which makes a comparison unknown
            SELECT id, coalesce(id = ANY (ARRAY(SELECT unnest(t.kinds) FROM jobqueue.tally t))
                       OR id = ANY (ARRAY(SELECT DISTINCT r.kind FROM jobqueue.ready r))
                       OR id = ANY (ARRAY(SELECT DISTINCT s.kind FROM jobqueue.scheduled s))
                       OR id = ANY (ARRAY(SELECT DISTINCT unnest(l.kinds) FROM jobqueue.lease_jobs l))
                       OR id = ANY (ARRAY(
                           SELECT DISTINCT b.kind FROM jobqueue.body b
                           WHERE b.id < (lpad(to_hex((extract(epoch FROM jobqueue.now()) * 1000)::bigint - $2::bigint), 12, '0')
                                         || repeat('0', 20))::uuid))
                       OR name = ANY (ARRAY(SELECT unnest(w.kinds) FROM jobqueue.live_worker w))
                       OR name = ANY (ARRAY(SELECT c.spec->'job'->>'kind' FROM jobqueue.schedule c)), false) AS is_used
            FROM old)
        UPDATE jobqueue.kind k
        SET deleted_at = CASE WHEN NOT seen.is_used THEN jobqueue.now() END,
            used_at = CASE WHEN seen.is_used THEN jobqueue.now() ELSE k.used_at END
        FROM seen WHERE k.id = seen.id
        RETURNING k.deleted_at IS NOT NULL AS "deleted!""#,
        old,
        to_ms(HOURS_KEPT),
        to_ms(UNUSED_FOR),
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(u32::try_from(changed.into_iter().filter(|deleted| *deleted).count()).unwrap_or(u32::MAX))
}
