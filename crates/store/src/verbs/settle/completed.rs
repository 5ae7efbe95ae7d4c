//! Ends attempts as completed, the most common end. It inserts an `outcome` row, and clears a bit of the lease or deletes it.

use super::columns::{Covered, EndColumns};
use super::end::AttemptEnd;
use crate::plumbing::columns::used;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// Ends attempts, which are sorted by lease. Returns those that their leases still covered.
pub(super) async fn settle(unit: &mut Unit, ends: &[&AttemptEnd]) -> Result<Covered, StoreError> {
    if ends.is_empty() {
        return Ok(Covered::new());
    }
    let columns = EndColumns::completed(ends);
    // Leases are looked up by key, because a join may be planned as a scan of the table. They are locked in the order of the
    // arrays, which are sorted by epoch. Usually all jobs of a lease are ended, were timed by the worker and have one kind. The samples of
    // such leases are one slice of the array if the leases follow each other, so they share a tally: a tally costs each reader of the census.
    // Any other lease has a tally of its own.
    let rows = sqlx::query!(
        r#"-- store.settle.completed
            WITH held AS MATERIALIZED (
                SELECT i.low, i.high, i.mask, i.run_ms, l.epoch, l.token, l.open, l.open & i.mask AS taken,
                       l.worker_id, l.queue_id, l.leased_at, j.job_ids, j.attempts, j.kinds
                FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::int[], $5::int[], $10::bigint[])
                  AS i (epoch, token, mask, low, high, run_ms)
                CROSS JOIN LATERAL (SELECT epoch, token, open, worker_id, queue_id, leased_at FROM jobqueue.lease
                                    WHERE epoch = i.epoch AND token = i.token LIMIT 1 FOR UPDATE) l
                CROSS JOIN LATERAL (SELECT job_ids, attempts, kinds FROM jobqueue.lease_jobs WHERE epoch = i.epoch LIMIT 1) j
                WHERE NOT EXISTS (SELECT FROM unnest(($6::int[])[i.low:i.high], ($7::uuid[])[i.low:i.high]) AS e (ordinal, job_id)
                                  WHERE j.job_ids[e.ordinal + 1] IS DISTINCT FROM e.job_id)),
            kept AS (UPDATE jobqueue.lease l SET open = h.open & ~h.taken FROM held h
                     WHERE l.epoch = h.epoch AND l.epoch = ANY (ARRAY(SELECT epoch FROM held WHERE taken NOT IN (0, open)))),
            gone AS (DELETE FROM jobqueue.lease WHERE epoch = ANY (ARRAY(SELECT epoch FROM held WHERE open = taken))),
            gone_jobs AS (DELETE FROM jobqueue.lease_jobs WHERE epoch = ANY (ARRAY(SELECT epoch FROM held WHERE open = taken))),
            outcome AS (
                INSERT INTO jobqueue.outcome (job_id, status, attempt, started_at, finished_at, worker_id, epoch, detail)
                SELECT h.job_ids[e.ordinal + 1], 5, h.attempts[e.ordinal + 1],
                       greatest(h.leased_at, t.now - e.ran_ms * interval '1 ms'), t.now, h.worker_id, h.epoch, e.result::json
                FROM (SELECT jobqueue.now() AS now) t CROSS JOIN held h
                CROSS JOIN LATERAL unnest(($6::int[])[h.low:h.high], ($8::bigint[])[h.low:h.high], ($9::text[])[h.low:h.high])
                                AS e (ordinal, ran_ms, result)
                WHERE (h.taken >> e.ordinal) & 1 = 1),
            usual AS (
                SELECT *, run_ms IS NOT NULL AND taken = mask AND kinds[1] = ALL (kinds) AS usual,
                       bit_count(taken::bit(64))::int AS n, jobqueue.now() - leased_at AS age FROM held WHERE taken <> 0),
            parts AS (
                SELECT queue_id, kinds[1] AS kind, n, low, high,
                       n * least(run_ms::float8 / bit_count(mask::bit(64)), greatest(extract(epoch FROM age), 0) * 1000) AS run_ms,
                       CASE WHEN usual THEN high - sum(n) OVER (PARTITION BY usual, queue_id, kinds[1] ORDER BY low) ELSE -low END AS run_of_leases,
                       CASE WHEN usual THEN NULL WHEN kinds[1] = ALL (kinds) THEN kinds[1:1]
                            ELSE ARRAY(SELECT u.kinds[o + 1] FROM unnest(($6::int[])[low:high]) AS o WHERE (taken >> o) & 1 = 1) END AS own_kinds,
                       CASE WHEN usual THEN NULL WHEN run_ms IS NOT NULL AND taken = mask THEN ($11::int[])[low:high]
                            ELSE ARRAY(SELECT jobqueue.timed_sample(e.sample, age)
                                       FROM unnest(($6::int[])[low:high], ($11::int[])[low:high]) AS e (ordinal, sample)
                                       WHERE (taken >> e.ordinal) & 1 = 1) END AS own_samples
                FROM usual u),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, completed, attempts, run_ms, kinds, samples)
                SELECT queue_id, sum(n)::int, sum(n)::int, sum(run_ms)::bigint, coalesce(max(own_kinds), ARRAY[kind]),
                       coalesce(max(own_samples), ($11::int[])[min(low):max(high)])
                FROM parts GROUP BY queue_id, kind, run_of_leases)
            SELECT epoch AS "epoch!", token AS "token!", taken AS "taken!" FROM held"#,
        &columns.epochs,
        &columns.tokens,
        &columns.masks,
        &columns.lows,
        &columns.highs,
        &columns.ordinals,
        &columns.job_ids,
        &columns.rans as _,
        used(&columns.results) as _,
        &columns.run_ms as _,
        &columns.samples,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.epoch, row.token), row.taken)).collect())
}
