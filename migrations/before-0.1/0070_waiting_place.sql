-- `scheduled` holds every job that waits for something: for its time, or for other jobs. Its status follows from the row: `blocked` while
-- `pending` is set, otherwise `scheduled`. Every statement that moves or deletes waiting jobs works for both.
--
-- The column is null for all jobs of today. A null takes no room: neither the row nor its log record is larger than before.
ALTER TABLE jobqueue.scheduled ADD COLUMN pending int;     -- how many other jobs it waits for; null: none

-- Only jobs that wait for nothing but their time are promoted. A blocked job is promoted when the last job it waits for has ended and its
-- run_at has passed.
DROP INDEX jobqueue.scheduled_run_at;
CREATE INDEX scheduled_run_at ON jobqueue.scheduled (run_at, job_id) WHERE pending IS NULL;

CREATE OR REPLACE FUNCTION jobqueue.status(id uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN b.found IS NULL THEN NULL
                WHEN o.status IS NOT NULL THEN (ARRAY['completed', 'failed', 'cancelled'])[o.status - 4]
                WHEN s.status IS NOT NULL THEN s.status
                WHEN EXISTS (SELECT FROM jobqueue.ready r WHERE r.lane = b.lane AND r.job_id = status.id) THEN 'queued'
                ELSE 'running' END
      FROM (SELECT (SELECT x.id FROM jobqueue.body x WHERE x.id = status.id) AS found,
                   (SELECT x.lane FROM jobqueue.body x WHERE x.id = status.id) AS lane) b,
           (SELECT (SELECT x.status FROM jobqueue.outcome x WHERE x.job_id = status.id) AS status) o,
           (SELECT (SELECT CASE WHEN x.pending IS NULL THEN 'scheduled' ELSE 'blocked' END
                      FROM jobqueue.scheduled x WHERE x.job_id = status.id) AS status) s
$$;

-- As before, and for blocked jobs too.
CREATE OR REPLACE FUNCTION jobqueue.cancel(id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    now_is text;
BEGIN
    FOR try IN 1..10 LOOP
        now_is := jobqueue.status(id);
        IF now_is IN ('blocked', 'scheduled', 'queued') THEN
            IF jobqueue.withdraw(id, '{"type":"cancelled","message":"cancelled by request"}', true) THEN
                RETURN 'cancelled';
            END IF;
            CONTINUE;   -- it moved
        END IF;
        IF now_is = 'running' THEN
            INSERT INTO jobqueue.cancel_wish VALUES (id, NOT EXISTS (SELECT FROM jobqueue.cancel_wish));
        END IF;
        RETURN now_is;
    END LOOP;
    RAISE EXCEPTION 'the job moved each time that it was cancelled' USING ERRCODE = '40001', HINT = 'run the transaction again';
END $$;

CREATE OR REPLACE FUNCTION jobqueue.ask_workers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    jobs uuid[]; job uuid;
BEGIN
    SELECT array_agg(DISTINCT w.job_id ORDER BY w.job_id) INTO jobs FROM jobqueue.cancel_wish w;
    DELETE FROM jobqueue.cancel_wish;
    FOR try IN 1..10 LOOP
        FOREACH job IN ARRAY coalesce(jobs, '{}') LOOP
            IF jobqueue.withdraw(job, '{"type":"cancelled","message":"cancelled by request"}', true) THEN
                jobs := array_remove(jobs, job);
            END IF;
        END LOOP;
        WITH held AS (
            SELECT j.job_id, l.epoch, l.worker_id
            FROM jobqueue.lease_jobs h
            CROSS JOIN LATERAL unnest(h.job_ids) WITH ORDINALITY AS j (job_id, place)
            JOIN jobqueue.lease l ON l.epoch = h.epoch
            WHERE h.job_ids && jobs AND j.job_id = ANY (jobs) AND (l.open >> (j.place - 1)::int) & 1 = 1
            ORDER BY l.epoch FOR UPDATE OF l),
        asked AS (
            INSERT INTO jobqueue.cancel_request (job_id, epoch, worker_id, requested_at)
            SELECT job_id, epoch, worker_id, jobqueue.now() FROM held
            ON CONFLICT (job_id) DO UPDATE SET epoch = excluded.epoch, worker_id = excluded.worker_id
            RETURNING job_id)
        SELECT array_agg(j.id) INTO jobs FROM unnest(jobs) AS j (id) WHERE j.id NOT IN (SELECT job_id FROM asked);
        -- nothing is left to do for jobs that are final or deleted; the others moved between the statements
        SELECT array_agg(j.id) INTO jobs FROM unnest(jobs) AS j (id)
         WHERE jobqueue.status(j.id) IN ('blocked', 'scheduled', 'queued', 'running');
        EXIT WHEN jobs IS NULL;
    END LOOP;
    RETURN NULL;
END $$;
