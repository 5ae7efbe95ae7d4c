-- store.lease
-- lanes come in order and a nested loop keeps it; an outer ORDER BY would lock every candidate before the limit.
-- `at` is the row's address: locked by us, so it cannot move before the delete.
-- array_agg gathers in the order of the pick; an ORDER BY in each of the four would sort four times.
-- A share ($8 jobs) is for one worker, and a grant holds up to 64 jobs of one share and one queue.
-- Bodies never change and were committed with the row that named them first, so this snapshot has them.
WITH pick AS MATERIALIZED (
    SELECT lane.queue_id, lane.id AS lane, r.at, r.job_id, r.attempt, r.kind
    FROM (SELECT l.id, l.queue_id, coalesce(s.after, '00000000-0000-0000-0000-000000000000') AS after
          FROM unnest($1::text[]) WITH ORDINALITY AS want (name, place)
          JOIN jobqueue.queue q ON q.name = want.name AND q.paused_at IS NULL
          JOIN jobqueue.lane l ON l.queue_id = q.id
          LEFT JOIN unnest($4::int[], $5::uuid[]) AS s (lane, after) ON s.lane = l.id
          ORDER BY want.place, l.priority DESC) AS lane
    CROSS JOIN LATERAL (
          SELECT w.ctid AS at, w.job_id, w.attempt, w.kind FROM jobqueue.ready w
          WHERE w.lane = lane.id AND w.job_id > lane.after AND ($3::int[] IS NULL OR w.kind = ANY ($3))
          ORDER BY w.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS r
    LIMIT $2),
gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick))),
numbered AS (SELECT *, row_number() OVER () - 1 AS nth FROM pick),
granted AS MATERIALIZED (
    SELECT (SELECT nextval('jobqueue.lease_epoch')) + min(nth) AS epoch, gen_random_uuid() AS token, queue_id,
           array_agg(job_id) AS job_ids, array_agg((attempt + 1)::smallint) AS attempts,
           array_agg(lane) AS lanes, array_agg(kind) AS kinds, count(*)::int AS n,
           (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint AS took_micros
    FROM numbered GROUP BY queue_id, nth / $8::bigint, nth % $8 / 64),
lease AS (
    INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
    SELECT epoch, token, $6, queue_id, jobqueue.now(), jobqueue.now() + $7::bigint * interval '1 ms',
           CASE n WHEN 64 THEN -1 ELSE ~(-1::bigint << n) END FROM granted),
jobs AS (
    INSERT INTO jobqueue.lease_jobs (epoch, job_ids, attempts, lanes, kinds)
    SELECT epoch, job_ids, attempts, lanes, kinds FROM granted),
tally AS (INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(n)::int FROM granted GROUP BY queue_id)
SELECT g.epoch AS "epoch!", g.token AS "token!", j.place AS "place!", j.job_id AS "job_id!", j.attempt AS "attempt!", j.lane AS "lane!",
       b.kind AS "kind?", b.max_attempts AS "max_attempts?", b.payload::text AS payload, b.retry::text AS retry, b.timeout_ms,
       b.soft_timeout_ms, b.run_at, b.expires_at, b.unique_key, b.tags, b.metadata::text AS metadata, b.traceparent,
       CASE WHEN b.expires_at IS NULL THEN false ELSE b.expires_at <= (SELECT jobqueue.now()) END AS "overdue!",
       (SELECT jobqueue.now()) AS "now!", g.took_micros AS "took_micros!"
FROM granted g CROSS JOIN LATERAL unnest(g.job_ids, g.attempts, g.lanes) WITH ORDINALITY AS j (job_id, attempt, lane, place)
LEFT JOIN jobqueue.body b ON b.id = j.job_id
