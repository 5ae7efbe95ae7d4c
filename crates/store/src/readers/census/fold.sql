-- store.census.fold
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($3::int[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                         $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
      AS i (queue_id, used, created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms)),
deleted AS MATERIALIZED (
    SELECT id FROM jobqueue.queue WHERE id = ANY (ARRAY(SELECT queue_id FROM new)) AND deleted_at IS NOT NULL),
restored AS (
    UPDATE jobqueue.queue SET deleted_at = NULL, changed_at = jobqueue.now()
    WHERE id = ANY (ARRAY(SELECT d.id FROM deleted d JOIN new n ON n.queue_id = d.id WHERE n.used))),
total AS (
    INSERT INTO jobqueue.counter AS c
           (queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms)
    SELECT CASE WHEN d.id IS NOT NULL AND NOT n.used THEN $2 ELSE n.queue_id END AS target, sum(n.created), sum(n.completed),
           sum(n.failed), sum(n.cancelled), sum(n.retried), sum(n.leased), sum(n.lost), sum(n.pruned), sum(n.snoozed),
           sum(n.attempts), sum(n.run_ms)
    FROM new n LEFT JOIN deleted d ON d.id = n.queue_id GROUP BY target
    UNION ALL
    SELECT $1, sum(n.created), sum(n.completed), sum(n.failed), sum(n.cancelled), sum(n.retried), sum(n.leased),
           sum(n.lost), sum(n.pruned), sum(n.snoozed), sum(n.attempts), sum(n.run_ms)
    FROM new n JOIN jobqueue.census q ON q.queue_id = n.queue_id WHERE NOT q.named HAVING count(*) > 0
    ON CONFLICT (queue_id) DO UPDATE SET
        created = c.created + excluded.created, completed = c.completed + excluded.completed,
        failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled,
        retried = c.retried + excluded.retried, leased = c.leased + excluded.leased,
        lost = c.lost + excluded.lost, pruned = c.pruned + excluded.pruned, snoozed = c.snoozed + excluded.snoozed,
        attempts = c.attempts + excluded.attempts, run_ms = c.run_ms + excluded.run_ms)
UPDATE jobqueue.census c SET
    rates_at = jobqueue.now(), rates_queued = c.queued,
    active_at = CASE WHEN w.moved THEN jobqueue.now() ELSE c.active_at END,
    arrivals = CASE WHEN w.arrived = 0 AND c.arrivals < 1e-6 THEN 0
                    ELSE c.arrivals + w.weight * (w.arrived / w.seconds - c.arrivals) END,
    attempts = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 THEN c.attempts
                    ELSE c.attempts + w.weight * (w.attempts / w.seconds - c.attempts) END,
    run_ms = CASE WHEN w.attempts = 0 AND c.attempts < 1e-6 OR w.run_ms = 0 AND c.run_ms < 1e-6 THEN c.run_ms
                  ELSE c.run_ms + w.weight * (w.run_ms / w.seconds - c.run_ms) END
FROM (SELECT s.queue_id, s.seconds, n.queue_id IS NOT NULL AS moved,
             CASE WHEN s.known THEN 1 - exp(-least(s.seconds, 600) / 60) ELSE 0 END AS weight,
             greatest(coalesce(n.leased, 0) + s.grown, 0)::float8 AS arrived,
             coalesce(n.attempts, 0)::float8 AS attempts, coalesce(n.run_ms, 0)::float8 AS run_ms
      FROM (SELECT queue_id, rates_at IS NOT NULL AS known, queued - rates_queued AS grown, arrivals, attempts,
                   greatest(extract(epoch FROM jobqueue.now()
                       - coalesce((SELECT taken_at FROM jobqueue.census_state), rates_at))::float8, 1) AS seconds
            FROM jobqueue.census) s
      LEFT JOIN new n ON n.queue_id = s.queue_id
      WHERE n.queue_id IS NOT NULL OR NOT s.known OR s.grown <> 0 OR s.arrivals >= 1e-6 OR s.attempts >= 1e-6) w
WHERE c.queue_id = w.queue_id
