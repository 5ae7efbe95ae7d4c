-- store.settle.others
-- Leases are read by key, because a join may be planned as a scan, and are locked in the order of the arrays, which is by epoch.
-- The number of the attempt comes from the grant. The number in the text of a lease is only for readers.
WITH held AS MATERIALIZED (
    SELECT i.low, i.high, l.epoch, l.token, l.open, l.open & i.mask AS taken, l.worker_id, l.queue_id, l.leased_at,
           j.lane, j.job_ids, j.attempts, j.kinds
    FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::int[], $5::int[]) AS i (epoch, token, mask, low, high)
    CROSS JOIN LATERAL (SELECT epoch, token, open, worker_id, queue_id, leased_at FROM jobqueue.lease
                        WHERE epoch = i.epoch AND token = i.token LIMIT 1 FOR UPDATE) l
    CROSS JOIN LATERAL (SELECT job_ids, attempts, lane, kinds FROM jobqueue.lease_jobs WHERE epoch = i.epoch LIMIT 1) j
    WHERE NOT EXISTS (SELECT FROM unnest(($6::int[])[i.low:i.high], ($7::uuid[])[i.low:i.high]) AS e (ordinal, job_id)
                      WHERE j.job_ids[e.ordinal + 1] IS DISTINCT FROM e.job_id)),
kept AS (UPDATE jobqueue.lease l SET open = h.open & ~h.taken FROM held h
         WHERE l.epoch = h.epoch AND l.epoch = ANY (ARRAY(SELECT epoch FROM held WHERE taken NOT IN (0, open)))),
gone AS (DELETE FROM jobqueue.lease WHERE epoch = ANY (ARRAY(SELECT epoch FROM held WHERE open = taken))),
gone_jobs AS (DELETE FROM jobqueue.lease_jobs WHERE epoch = ANY (ARRAY(SELECT epoch FROM held WHERE open = taken))),
ended AS MATERIALIZED (
    SELECT h.epoch, h.worker_id, h.queue_id, h.job_ids[e.ordinal + 1] AS job_id, h.lane,
           h.kinds[e.ordinal + 1] AS kind, h.attempts[e.ordinal + 1] AS attempt,
           (h.attempts[e.ordinal + 1] - e.given_back)::smallint AS attempt_after,
           e.status, e.delay_ms, e.error, e.ended, e.sample, t.now,
           CASE WHEN $13 THEN greatest(h.leased_at, t.now - e.ran_ms * interval '1 ms') END AS started_at
    FROM (SELECT jobqueue.now() AS now) t CROSS JOIN held h
    CROSS JOIN LATERAL unnest(($6::int[])[h.low:h.high], ($8::bigint[])[h.low:h.high], ($9::smallint[])[h.low:h.high],
                              ($10::smallint[])[h.low:h.high], ($11::bigint[])[h.low:h.high],
                              ($12::text[])[h.low:h.high], ($14::text[])[h.low:h.high], ($15::int[])[h.low:h.high])
                    AS e (ordinal, ran_ms, status, given_back, delay_ms, error, ended, sample)
    WHERE (h.taken >> e.ordinal) & 1 = 1),
outcome AS (
    INSERT INTO jobqueue.outcome (job_id, status, attempt, started_at, finished_at, worker_id, epoch, detail)
    SELECT job_id, status, attempt_after, started_at, now, worker_id, epoch, error::json FROM ended WHERE status >= 5),
later AS (
    INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt)
    SELECT job_id, now + delay_ms * interval '1 ms', lane, kind, attempt_after FROM ended WHERE status = 2),
ready AS (
    INSERT INTO jobqueue.ready (job_id, lane, kind, attempt)
    SELECT job_id, lane, kind, attempt_after FROM ended WHERE status = 3),
history AS (
    INSERT INTO jobqueue.attempt (job_id, epoch, attempt, ended, worker_id, started_at, finished_at, error)
    SELECT job_id, epoch, attempt, ended, worker_id, started_at, now, error::json FROM ended WHERE ended IS NOT NULL),
tally AS (
    INSERT INTO jobqueue.tally (queue_id, failed, cancelled, retried, lost, attempts, run_ms, kinds, samples)
    SELECT queue_id, count(*) FILTER (WHERE status = 6)::int, count(*) FILTER (WHERE status = 7)::int,
           count(*) FILTER (WHERE ended = 'retried')::int, count(*) FILTER (WHERE ended = 'lost')::int,
           count(started_at) FILTER (WHERE ended NOT IN ('released', 'lost'))::int,
           coalesce(sum(extract(epoch FROM now - started_at) * 1000) FILTER (WHERE ended NOT IN ('released', 'lost')), 0)::bigint,
           ARRAY[kind],
           array_agg(jobqueue.timed_sample(sample, now - started_at))
             FILTER (WHERE started_at IS NOT NULL AND ended NOT IN ('released', 'lost'))
    FROM ended GROUP BY queue_id, kind)
SELECT epoch AS "epoch!", token AS "token!", taken AS "taken!" FROM held
