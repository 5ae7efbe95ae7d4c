-- The jobs that run: those whose bit in `open` of their lease is set. Leases are looked up by key, because a join may be planned as a scan of
-- the table. Filter by `lease_jobs` too where the plan should skip other leases without taking them apart.
CREATE VIEW jobqueue.running AS
SELECT j.job_id, j.attempt, j.kind, h.lane, h.epoch, l.queue_id, l.worker_id, l.leased_at, l.expires_at, h.job_ids AS lease_jobs
  FROM jobqueue.lease_jobs h
 CROSS JOIN LATERAL unnest(h.job_ids, h.attempts, h.kinds) WITH ORDINALITY AS j (job_id, attempt, kind, place)
 CROSS JOIN LATERAL (SELECT x.queue_id, x.worker_id, x.leased_at, x.expires_at, x.open FROM jobqueue.lease x
                      WHERE x.epoch = h.epoch LIMIT 1) l
 WHERE (l.open >> (j.place - 1)::int) & 1 = 1;
