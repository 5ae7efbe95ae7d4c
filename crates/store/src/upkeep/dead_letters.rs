//! Keeps the groups of dead letters right: adds what was tallied to the counts, and compares dead letters with failed jobs in passes.
//!
//! A pass finds failed jobs without a dead letter: those that failed before there were dead letters, or in a process of an earlier version.
//! It also finds dead letters without a failed job, whose day was dropped by such a process.

use std::time::Duration;

use jobqueue_core::{Failure, FailureCause, JobId};
use uuid::Uuid;

use crate::handles::Upkeep;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_ms;
use crate::verbs::dead_letters::record;

/// Rows of the tally that one step adds to the counts.
const FOLDED_AT_ONCE: i64 = 5_000;
/// Jobs that one step of a pass compares.
const COMPARED_AT_ONCE: i64 = 2_000;
/// Time between the end of a pass and the start of the next one.
const PASS_EVERY: Duration = Duration::from_mins(10);
/// How long a group without dead letters is kept, so that it is known as an old one when it returns.
const EMPTY_KEPT: Duration = Duration::from_hours(7 * 24);
/// How long a redrive is kept after its end.
const REDRIVES_KEPT: Duration = Duration::from_hours(30 * 24);
/// Rows of each kind that the end of a pass deletes at most.
const DELETED_AT_ONCE: i64 = 10_000;
/// Key of the advisory lock: only one of several reapers counts.
const FOLD_LOCK: i64 = 0x6a71_0005;

/// Where a pass is.
struct Pass {
    outcomes_after: Uuid,
    letters_after: Uuid,
}

impl Upkeep<'_> {
    /// Adds what was tallied to the counts of the groups. Returns whether there may be more.
    pub async fn count_dead_letters(&self) -> Result<bool, StoreError> {
        let mut unit = self.0.begin().await?;
        let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, FOLD_LOCK);
        if !lock.fetch_one(&mut *unit).await? {
            return Ok(false);
        }
        let folded = sqlx::query_scalar!(
            r#"-- store.dead_letters.fold
            WITH taken AS (
                DELETE FROM jobqueue.dead_letter_tally WHERE id = ANY (ARRAY(
                    SELECT id FROM jobqueue.dead_letter_tally ORDER BY id LIMIT $1))
                RETURNING queue_id, kind, fingerprint, count, first_at, last_at),
            groups AS (
                INSERT INTO jobqueue.dead_letter_group AS g (queue_id, fingerprint, kind, count, first_at, last_at)
                SELECT coalesce(queue_id, 0), fingerprint, min(kind), sum(count), coalesce(min(first_at), 'infinity'),
                       coalesce(max(last_at), '-infinity')
                FROM taken GROUP BY GROUPING SETS ((queue_id, fingerprint), (fingerprint))
                ON CONFLICT (fingerprint, queue_id) DO UPDATE SET count = g.count + excluded.count,
                    first_at = least(g.first_at, excluded.first_at), last_at = greatest(g.last_at, excluded.last_at)),
            totals AS (
                INSERT INTO jobqueue.dead_letter_total AS t (queue_id, count) SELECT queue_id, sum(count) FROM taken GROUP BY queue_id
                ON CONFLICT (queue_id) DO UPDATE SET count = t.count + excluded.count)
            SELECT count(*) AS "count!" FROM taken"#,
            FOLDED_AT_ONCE,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(folded >= FOLDED_AT_ONCE)
    }

    /// Makes the next step of the pass, if one is due. Returns how many dead letters it recorded or deleted, and whether there may be more.
    /// Several processes may call this at the same time: one makes the step.
    pub async fn compare_dead_letters(&self) -> Result<(u64, bool), StoreError> {
        let mut unit = self.0.begin().await?;
        let pass = sqlx::query_as!(
            Pass,
            r#"-- store.dead_letters.pass
            SELECT CASE WHEN ended_at IS NULL THEN outcomes_after ELSE '00000000-0000-0000-0000-000000000000' END AS "outcomes_after!",
                   CASE WHEN ended_at IS NULL THEN letters_after ELSE '00000000-0000-0000-0000-000000000000' END AS "letters_after!"
            FROM jobqueue.dead_letter_pass
            WHERE ended_at IS NULL OR ended_at NOT BETWEEN jobqueue.now() - $1::bigint * interval '1 ms' AND jobqueue.now()
            FOR UPDATE SKIP LOCKED"#,
            to_ms(PASS_EVERY),
        );
        let Some(pass) = pass.fetch_optional(&mut *unit).await? else { return Ok((0, false)) };
        let (compared, recorded) = record_missing(&mut unit, pass.outcomes_after).await?;
        let (examined, deleted) = delete_stale(&mut unit, pass.letters_after).await?;
        let ended = compared.is_none() && examined.is_none();
        if ended {
            delete_old(&mut unit).await?;
        }
        sqlx::query!(
            "-- store.dead_letters.advance
            UPDATE jobqueue.dead_letter_pass
            SET outcomes_after = $1, letters_after = $2, ended_at = CASE WHEN $3 THEN jobqueue.now() END",
            compared.unwrap_or(pass.outcomes_after),
            examined.unwrap_or(pass.letters_after),
            ended,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok((recorded + deleted, !ended))
    }
}

/// The last row of a page, after which the next page begins. `None` if the page is not full, because then nothing follows it: failures that
/// keep coming do not make a pass last forever.
fn next_page_after(page: &[Uuid]) -> Option<Uuid> {
    page.last().copied().filter(|_| i64::try_from(page.len()).unwrap_or(i64::MAX) >= COMPARED_AT_ONCE)
}

/// Records the next failed jobs that are no dead letters but should be. Returns where the next page begins, if there is one, and how many
/// it recorded. The jobs are locked: a retry of one happens before, and it is not recorded, or after, and deletes its dead letter.
async fn record_missing(unit: &mut Unit, after: Uuid) -> Result<(Option<Uuid>, u64), StoreError> {
    let rows = sqlx::query!(
        r#"-- store.dead_letters.missing
        WITH seen AS MATERIALIZED (
            SELECT o.job_id FROM jobqueue.outcome o WHERE o.status = 6 AND o.job_id > $1 ORDER BY o.job_id LIMIT $2)
        SELECT s.job_id AS "job_id!",
               (SELECT c.kind FROM jobqueue.dead_letter_cause c
                WHERE c.fingerprint = (SELECT d.fingerprint FROM jobqueue.dead_letter d WHERE d.job_id = s.job_id)) IS NULL
               AND (SELECT r.replaced_by FROM jobqueue.replacement r WHERE r.job_id = s.job_id) IS NULL AS "is_missing!"
        FROM seen s ORDER BY s.job_id"#,
        after,
        COMPARED_AT_ONCE,
    )
    .fetch_all(&mut **unit)
    .await?;
    let next = next_page_after(&rows.iter().map(|row| row.job_id).collect::<Vec<_>>());
    let missing: Vec<Uuid> = rows.into_iter().filter(|row| row.is_missing).map(|row| row.job_id).collect();
    if missing.is_empty() {
        return Ok((next, 0));
    }
    // An error can be 72 KiB long, so only what the cause needs is read. The operator -> refuses a text with these escapes, which only a user
    // who wrote to the table by hand can have stored: such an error is read as a whole.
    let failed = sqlx::query!(
        r#"-- store.dead_letters.failed
        SELECT job_id, CASE WHEN detail::text ~* '\\u(0000|d[89a-f])' THEN detail::text
                            ELSE json_build_object('type', detail->'type', 'message', coalesce(detail->'message', '""'))::text END AS detail
        FROM jobqueue.outcome WHERE job_id = ANY ($1) AND status = 6
        ORDER BY job_id FOR UPDATE SKIP LOCKED"#,
        &missing,
    )
    .fetch_all(&mut **unit)
    .await?;
    let letters: Vec<(JobId, FailureCause)> =
        failed.into_iter().map(|row| (JobId::from_uuid(row.job_id), cause(row.detail))).collect();
    record(unit, &letters).await?;
    Ok((next, u64::try_from(letters.len()).unwrap_or(0)))
}

/// The cause of a stored error.
fn cause(detail: Option<String>) -> FailureCause {
    let failure = detail.and_then(|text| serde_json::from_str::<Failure>(&text).ok());
    FailureCause::of(
        &failure.unwrap_or_else(|| Failure::new("unreadable", "the stored error cannot be read")),
    )
}

/// Deletes the next dead letters whose job is not failed. Returns where the next page begins, if there is one, and how many it deleted.
/// They are locked before they are examined again: a settle that records one waits, and then records it anew.
async fn delete_stale(unit: &mut Unit, after: Uuid) -> Result<(Option<Uuid>, u64), StoreError> {
    let rows = sqlx::query!(
        r#"-- store.dead_letters.examine
        WITH seen AS MATERIALIZED (
            SELECT d.job_id FROM jobqueue.dead_letter d WHERE d.job_id > $1 ORDER BY d.job_id LIMIT $2)
        SELECT s.job_id AS "job_id!", (SELECT o.status = 6 FROM jobqueue.outcome o WHERE o.job_id = s.job_id) IS NOT TRUE AS "is_stale!"
        FROM seen s ORDER BY s.job_id"#,
        after,
        COMPARED_AT_ONCE,
    )
    .fetch_all(&mut **unit)
    .await?;
    let next = next_page_after(&rows.iter().map(|row| row.job_id).collect::<Vec<_>>());
    let stale: Vec<Uuid> = rows.into_iter().filter(|row| row.is_stale).map(|row| row.job_id).collect();
    if stale.is_empty() {
        return Ok((next, 0));
    }
    let locked = sqlx::query_scalar!(
        "-- store.dead_letters.stale
        SELECT job_id FROM jobqueue.dead_letter WHERE job_id = ANY ($1) ORDER BY job_id FOR UPDATE SKIP LOCKED",
        &stale,
    )
    .fetch_all(&mut **unit)
    .await?;
    let deleted = sqlx::query!(
        "-- store.dead_letters.delete
        DELETE FROM jobqueue.dead_letter d
        WHERE d.job_id = ANY ($1) AND (SELECT o.status = 6 FROM jobqueue.outcome o WHERE o.job_id = d.job_id) IS NOT TRUE",
        &locked,
    )
    .execute(&mut **unit)
    .await?;
    Ok((next, deleted.rows_affected()))
}

/// Deletes groups that have been empty for long, causes without a group, and old redrives. A cause that a settle needs at the same time is
/// recorded again by the next pass.
async fn delete_old(unit: &mut Unit) -> Result<(), StoreError> {
    sqlx::query!(
        "-- store.dead_letters.empty
        WITH empty AS (
            DELETE FROM jobqueue.dead_letter_group WHERE (fingerprint, queue_id) IN (
                SELECT fingerprint, queue_id FROM jobqueue.dead_letter_group
                WHERE count = 0 AND last_at < jobqueue.now() - $1::bigint * interval '1 ms' ORDER BY last_at LIMIT $2)
                AND count = 0
            RETURNING fingerprint, queue_id)
        DELETE FROM jobqueue.dead_letter_cause WHERE fingerprint = ANY (ARRAY(SELECT fingerprint FROM empty WHERE queue_id = 0))",
        to_ms(EMPTY_KEPT),
        DELETED_AT_ONCE,
    )
    .execute(&mut **unit)
    .await?;
    sqlx::query!(
        "-- store.redrives.old
        DELETE FROM jobqueue.redrive WHERE id = ANY (ARRAY(
            SELECT id FROM jobqueue.redrive WHERE ended_at < jobqueue.now() - $1::bigint * interval '1 ms' ORDER BY id LIMIT $2))",
        to_ms(REDRIVES_KEPT),
        DELETED_AT_ONCE,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}
