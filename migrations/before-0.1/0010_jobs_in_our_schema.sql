-- `jobqueue.jobs`, the relation that operators query, always exists. `public.jobs` is a short name for it, made only where that name is
-- free: an application in the same database may have a table of that name, or no schema `public`.
--
-- One branch and one constant per status, so that WHERE status = 'queued' folds to the narrow table; columns that are not selected cost
-- nothing because each is a scalar sub-select.
CREATE VIEW jobqueue.jobs AS
SELECT r.job_id AS id, 'queued'::text AS status, jobqueue.queue_of(r.lane) AS queue,
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = r.kind) AS kind,
       (SELECT l.priority FROM jobqueue.lane l WHERE l.id = r.lane) AS priority,
       r.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = r.job_id) AS max_attempts,
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = r.job_id) AS payload,
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = r.job_id) AS tags,
       jobqueue.created_at(r.job_id) AS created_at,
       NULL::timestamptz AS run_at, NULL::timestamptz AS started_at, NULL::timestamptz AS finished_at,
       NULL::uuid AS worker_id, NULL::json AS result, NULL::json AS error
  FROM jobqueue.ready r
UNION ALL
SELECT s.job_id, 'scheduled'::text, jobqueue.queue_of(s.lane),
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = s.kind),
       (SELECT l.priority FROM jobqueue.lane l WHERE l.id = s.lane),
       s.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = s.job_id),
       jobqueue.created_at(s.job_id),
       s.run_at, NULL, NULL, NULL, NULL, NULL
  FROM jobqueue.scheduled s
UNION ALL
SELECT j.job_id, 'running'::text, (SELECT q.name FROM jobqueue.queue q WHERE q.id = l.queue_id),
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = j.kind),
       (SELECT p.priority FROM jobqueue.lane p WHERE p.id = h.lane),
       j.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = j.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = j.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = j.job_id),
       jobqueue.created_at(j.job_id),
       NULL, l.leased_at, NULL, l.worker_id, NULL, NULL
  FROM jobqueue.lease l
  JOIN jobqueue.lease_jobs h ON h.epoch = l.epoch
 CROSS JOIN LATERAL unnest(h.job_ids, h.attempts, h.kinds) WITH ORDINALITY AS j(job_id, attempt, kind, place)
 WHERE (l.open >> (j.place - 1)::int) & 1 = 1
UNION ALL
SELECT o.job_id, 'completed'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, o.detail, NULL
  FROM jobqueue.outcome o WHERE o.status = 5
UNION ALL
SELECT o.job_id, 'failed'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, NULL, o.detail
  FROM jobqueue.outcome o WHERE o.status = 6
UNION ALL
SELECT o.job_id, 'cancelled'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, NULL, o.detail
  FROM jobqueue.outcome o WHERE o.status = 7;

COMMENT ON VIEW jobqueue.jobs IS 'Every job with its status. Filter by status first; to look one job up by id, the REST API is cheaper.';

-- A view that an earlier version made is recognised by its comment, and is replaced in place: grants and views on top of it stay.
DO $$
DECLARE
    text_of_ours text := 'Every job with its status. Filter by status first; to look one job up by id, the REST API is cheaper.';
    found oid;
BEGIN
    IF has_schema_privilege(to_regnamespace('public'), 'USAGE') IS NOT TRUE
       OR has_schema_privilege(to_regnamespace('public'), 'CREATE') IS NOT TRUE THEN
        RETURN;
    END IF;
    found := to_regclass('public.jobs');
    IF found IS NULL AND to_regtype('public.jobs') IS NOT NULL
       OR found IS NOT NULL AND obj_description(found, 'pg_class') IS DISTINCT FROM text_of_ours THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW public.jobs AS SELECT * FROM jobqueue.jobs;
    EXECUTE format('COMMENT ON VIEW public.jobs IS %L', text_of_ours);
END $$;
