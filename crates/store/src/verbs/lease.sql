-- store.lease
-- The lanes are ordered, and a nested loop keeps their order. An outer ORDER BY would lock every candidate before the limit.
-- A lane may be scanned in two ranges, the older one first.
-- `at` is the address of the row. This statement has locked the row, so the address does not change before the delete.
-- array_agg collects in the order of `pick`. An ORDER BY in each of the three calls would sort three times.
-- A share ($8 jobs) is for one worker of $6. A grant has up to 64 jobs of one share and one lane.
-- The result has a row for each grant and a row for each body; the process joins them. A join here would read each body separately or, with a
-- plan made for few rows, scan all bodies. $10 and $11 limit the days whose tables are opened, because opening a table costs as much as
-- a lookup. Bodies outside of these limits are read by a second statement (`body.rs`).
-- The settings of kinds are in the rows of grants.
-- A body is committed together with the row that refers to it: a submission inserts both, and an edit replaces both. So this snapshot has the
-- body that belongs to the row.
WITH pick AS MATERIALIZED (
    SELECT lane.queue_id, lane.id AS lane, r.at, r.job_id, r.attempt, r.kind
    FROM (SELECT l.id, l.queue_id, coalesce(s.after, '00000000-0000-0000-0000-000000000000') AS after,
                 coalesce(s.upto, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS upto
          FROM unnest($1::text[]) WITH ORDINALITY AS want (name, place)
          JOIN jobqueue.queue q ON q.name = want.name AND q.paused_at IS NULL
          JOIN jobqueue.lane l ON l.queue_id = q.id
          LEFT JOIN unnest($4::int[], $5::uuid[], $9::uuid[]) AS s (lane, after, upto) ON s.lane = l.id
          ORDER BY want.place, l.priority DESC, s.after) AS lane
    CROSS JOIN LATERAL (
          SELECT w.ctid AS at, w.job_id, w.attempt, w.kind FROM jobqueue.ready w
          WHERE w.lane = lane.id AND w.job_id > lane.after AND w.job_id <= lane.upto AND ($3::int[] IS NULL OR w.kind = ANY ($3))
            AND w.kind <> ALL (ARRAY(SELECT k.id FROM jobqueue.kind k WHERE k.paused_at IS NOT NULL))
          ORDER BY w.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS r
    LIMIT $2),
gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick))),
numbered AS (SELECT *, row_number() OVER () - 1 AS nth FROM pick),
granted AS MATERIALIZED (
    SELECT (SELECT nextval('jobqueue.lease_epoch')) + min(nth) AS epoch, gen_random_uuid() AS token, queue_id, lane,
           array_agg(job_id) AS job_ids, array_agg((attempt + 1)::smallint) AS attempts,
           array_agg(kind) AS kinds, count(*)::int AS n, ($6::uuid[])[(min(nth) / $8::bigint + 1)::int] AS worker_id,
           (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint AS took_micros
    FROM numbered GROUP BY queue_id, lane, nth / $8::bigint, nth % $8 / 64),
lease AS (
    INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
    SELECT epoch, token, worker_id, queue_id, jobqueue.now(), jobqueue.now() + $7::bigint * interval '1 ms',
           CASE n WHEN 64 THEN -1 ELSE ~(-1::bigint << n) END FROM granted),
jobs AS (
    INSERT INTO jobqueue.lease_jobs (epoch, lane, job_ids, attempts, kinds)
    SELECT epoch, lane, job_ids, attempts, kinds FROM granted),
tally AS (INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(n)::int FROM granted GROUP BY queue_id)
SELECT g.epoch AS "epoch?", g.token AS "token?", g.job_ids AS "job_ids?", g.attempts AS "attempts?",
       g.took_micros AS "took_micros?", NULL::uuid AS "id?", g.lane AS "lane?", NULL::int AS "kind?", NULL::smallint AS "max_attempts?", NULL::text AS "payload?",
       NULL::text AS "retry?", NULL::bigint AS "timeout_ms?", NULL::bigint AS "soft_timeout_ms?", NULL::timestamptz AS "run_at?",
       NULL::timestamptz AS "expires_at?", NULL::text AS "unique_key?", NULL::text[] AS "tags?", NULL::text AS "metadata?",
       NULL::text AS "traceparent?", NULL::boolean AS "announced?", NULL::boolean AS "overdue?", (SELECT jobqueue.now()) AS "now?",
       (SELECT settings FROM jobqueue.kind_settings) AS "settings?"
FROM granted g
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL,
       id, lane, kind, max_attempts, payload::text, retry::text, timeout_ms, soft_timeout_ms, run_at, expires_at, unique_key, tags,
       metadata::text, traceparent, on_end IS NOT NULL,
       CASE WHEN expires_at IS NULL THEN false ELSE expires_at <= (SELECT jobqueue.now()) END, (SELECT jobqueue.now()), NULL
FROM jobqueue.body
WHERE id = ANY (ARRAY(SELECT job_id FROM pick)) AND id BETWEEN $10 AND $11 AND id >= (SELECT job_id FROM pick ORDER BY job_id LIMIT 1)
