-- What workers report of themselves, and commands of operators to workers.

-- A heartbeat sets the last two; the others are set when a worker registers, and again after a command. Null: the worker does not report it, for example because it
-- has an older version.
ALTER TABLE jobqueue.worker
    ADD COLUMN host text,
    ADD COLUMN language text,
    ADD COLUMN paused boolean NOT NULL DEFAULT false,    -- it leases nothing until it is resumed
    ADD COLUMN rss_bytes bigint,                         -- memory that the process has in RAM
    ADD COLUMN jobs_per_minute int;                      -- attempts that ended in the last minute

CREATE OR REPLACE VIEW jobqueue.live_worker AS
SELECT w.id, w.name, w.queues, w.kinds, w.slots, w.version, w.started_at, w.beat_at, w.draining, w.stale_ms IS NULL AS remote,
       w.host, w.language, w.paused, w.rss_bytes, w.jobs_per_minute
FROM jobqueue.worker w
WHERE w.beat_at > jobqueue.now() - coalesce(w.stale_ms, 60000) * interval '1 ms'
   OR w.stale_ms IS NULL AND w.id IN (SELECT l.worker_id FROM jobqueue.lease l WHERE l.expires_at > jobqueue.now());

-- Each heartbeat of a worker returns its commands that are not acknowledged, so a command whose delivery was lost is delivered again. The
-- worker carries it out once and acknowledges it with the next heartbeat. Rows are kept for a day.
CREATE TABLE jobqueue.worker_command (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_id uuid NOT NULL,
    command text NOT NULL,
    arguments json NOT NULL,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,                 -- when it was first sent to the worker
    acknowledged_at timestamptz,
    result json,
    error text                                -- why the worker did not carry it out
);
CREATE INDEX worker_command_worker ON jobqueue.worker_command (worker_id, id);

-- As before. In addition a notification says at once that there is something in the answer to a heartbeat.
CREATE OR REPLACE FUNCTION jobqueue.ask_workers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    jobs uuid[]; job uuid; workers text;
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
            RETURNING job_id, worker_id)
        SELECT (SELECT array_agg(j.id) FROM unnest(jobs) AS j (id) WHERE j.id NOT IN (SELECT job_id FROM asked)),
               -- a notification has less than 8000 bytes; workers that are left out learn of it with their heartbeat
               (SELECT string_agg('!' || a.worker_id, ',') FROM (SELECT DISTINCT worker_id FROM asked WHERE worker_id IS NOT NULL LIMIT 200) a)
          INTO jobs, workers;
        IF workers IS NOT NULL THEN
            PERFORM pg_notify('jobqueue_wake', workers);
        END IF;
        -- nothing is left to do for jobs that are final or deleted; the others moved between the statements
        SELECT array_agg(j.id) INTO jobs FROM unnest(jobs) AS j (id)
         WHERE jobqueue.status(j.id) IN ('blocked', 'scheduled', 'queued', 'running');
        EXIT WHEN jobs IS NULL;
    END LOOP;
    RETURN NULL;
END $$;
