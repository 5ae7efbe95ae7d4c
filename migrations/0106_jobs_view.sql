-- `jobqueue.jobs` is the view that operators query. `public.jobs` is a short name for it, created only where that name is free: an application
-- in the same database may have a table of that name, or no schema `public`.
--
-- The view has one branch for each status, with the status as a constant, so that WHERE status = 'queued' reads only one table. Each column
-- is a scalar sub-select, so columns that are not selected cost nothing.
CREATE VIEW jobqueue.jobs AS
SELECT r.job_id AS id, 'queued'::text AS status, jobqueue.queue_of(r.lane) AS queue,
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = r.kind) AS kind,
       (SELECT l.priority FROM jobqueue.lane l WHERE l.id = r.lane) AS priority,
       r.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = r.job_id) AS max_attempts,
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = r.job_id) AS payload,
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = r.job_id) AS tags,
       jobqueue.created_at(r.job_id) AS created_at,
       NULL::timestamptz AS run_at, NULL::timestamptz AS started_at, NULL::timestamptz AS finished_at,
       NULL::uuid AS worker_id, NULL::json AS result, NULL::json AS error,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = r.job_id), 0) AS snoozes
  FROM jobqueue.ready r
UNION ALL
SELECT s.job_id, 'scheduled'::text, jobqueue.queue_of(s.lane),
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = s.kind),
       (SELECT l.priority FROM jobqueue.lane l WHERE l.id = s.lane),
       s.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = s.job_id),
       jobqueue.created_at(s.job_id),
       s.run_at, NULL, NULL, NULL, NULL, NULL,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = s.job_id), 0)
  FROM jobqueue.scheduled s WHERE s.pending IS NULL
UNION ALL
SELECT s.job_id, 'blocked'::text, jobqueue.queue_of(s.lane),
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = s.kind),
       (SELECT l.priority FROM jobqueue.lane l WHERE l.id = s.lane),
       s.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = s.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = s.job_id),
       jobqueue.created_at(s.job_id),
       s.run_at, NULL, NULL, NULL, NULL, NULL,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = s.job_id), 0)
  FROM jobqueue.scheduled s WHERE s.pending IS NOT NULL
UNION ALL
SELECT j.job_id, 'running'::text, (SELECT q.name FROM jobqueue.queue q WHERE q.id = j.queue_id),
       (SELECT k.name FROM jobqueue.kind k WHERE k.id = j.kind),
       (SELECT p.priority FROM jobqueue.lane p WHERE p.id = j.lane),
       j.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = j.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = j.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = j.job_id),
       jobqueue.created_at(j.job_id),
       NULL, j.leased_at, NULL, j.worker_id, NULL, NULL,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = j.job_id), 0)
  FROM jobqueue.running j
UNION ALL
SELECT o.job_id, 'completed'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, o.detail, NULL,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = o.job_id), 0)
  FROM jobqueue.outcome o WHERE o.status = 5
UNION ALL
SELECT o.job_id, 'failed'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, NULL, o.detail,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = o.job_id), 0)
  FROM jobqueue.outcome o WHERE o.status = 6
UNION ALL
SELECT o.job_id, 'cancelled'::text, (SELECT jobqueue.queue_of(b.lane) FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT k.name FROM jobqueue.kind k JOIN jobqueue.body b ON b.kind = k.id WHERE b.id = o.job_id),
       (SELECT p.priority FROM jobqueue.lane p JOIN jobqueue.body b ON b.lane = p.id WHERE b.id = o.job_id),
       o.attempt, (SELECT b.max_attempts FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.payload FROM jobqueue.body b WHERE b.id = o.job_id),
       (SELECT b.tags FROM jobqueue.body b WHERE b.id = o.job_id),
       jobqueue.created_at(o.job_id),
       NULL, o.started_at, o.finished_at, o.worker_id, NULL, o.detail,
       coalesce((SELECT z.snoozes FROM jobqueue.snooze z WHERE z.job_id = o.job_id), 0)
  FROM jobqueue.outcome o WHERE o.status = 7;

COMMENT ON VIEW jobqueue.jobs IS 'Every job with its status. Filter by status first; to look one job up by id, the REST API is cheaper.';

DO $$ BEGIN
    IF has_schema_privilege(to_regnamespace('public'), 'USAGE') IS NOT TRUE
       OR has_schema_privilege(to_regnamespace('public'), 'CREATE') IS NOT TRUE
       OR to_regclass('public.jobs') IS NOT NULL OR to_regtype('public.jobs') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE VIEW public.jobs AS SELECT * FROM jobqueue.jobs;
    -- scripts/roles.sql recognises the view by this comment
    EXECUTE format('COMMENT ON VIEW public.jobs IS %L', obj_description('jobqueue.jobs'::regclass, 'pg_class'));
END $$;
