-- cancel, retry and status in SQL, in the caller's own transaction. Each returns the status of the job, or null if there is no such job.
-- None raises an error because of the status of a job: that would end the caller's transaction.

CREATE FUNCTION jobqueue.status(id uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN b.found IS NULL THEN NULL
                WHEN o.status IS NOT NULL THEN (ARRAY['completed', 'failed', 'cancelled'])[o.status - 4]
                WHEN EXISTS (SELECT FROM jobqueue.scheduled s WHERE s.job_id = status.id) THEN 'scheduled'
                WHEN EXISTS (SELECT FROM jobqueue.ready r WHERE r.lane = b.lane AND r.job_id = status.id) THEN 'queued'
                ELSE 'running' END
      FROM (SELECT (SELECT x.id FROM jobqueue.body x WHERE x.id = status.id) AS found,
                   (SELECT x.lane FROM jobqueue.body x WHERE x.id = status.id) AS lane) b,
           (SELECT (SELECT x.status FROM jobqueue.outcome x WHERE x.job_id = status.id) AS status) o
$$;

-- Running jobs that the present transaction cancels. Their workers are asked when it commits: a request is written under the lock of the
-- lease, which must not be held while a user's transaction stays open. No other transaction ever sees a row.
CREATE TABLE jobqueue.cancel_wish (
    job_id uuid NOT NULL,
    is_first boolean NOT NULL                 -- of its transaction: the row whose trigger does the work for all
);
-- It has no key: two transactions may cancel the same job. A publication of all tables needs to know what is deleted.
ALTER TABLE jobqueue.cancel_wish REPLICA IDENTITY FULL;

-- Asks the workers of all wishes, like store.cancel.ask. A job that has gone back to the queue since is cancelled there.
CREATE FUNCTION jobqueue.ask_workers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    jobs uuid[]; job uuid; status text;
BEGIN
    SELECT array_agg(DISTINCT w.job_id ORDER BY w.job_id) INTO jobs FROM jobqueue.cancel_wish w;
    DELETE FROM jobqueue.cancel_wish;
    FOR look IN 1..10 LOOP
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
        -- what is final or gone needs nothing; what is left is on its way from one place to the next
        SELECT array_agg(j.id) INTO jobs FROM unnest(jobs) AS j (id)
         WHERE jobqueue.status(j.id) IN ('queued', 'scheduled', 'running');
        EXIT WHEN jobs IS NULL;
    END LOOP;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobqueue.cancel_wish DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.is_first) EXECUTE FUNCTION jobqueue.ask_workers();
ALTER TABLE jobqueue.cancel_wish ENABLE ALWAYS TRIGGER at_commit;

-- `cancelled`: it will never start. `running`: its worker is asked to stop when the transaction commits; it may finish first.
-- `completed`, `failed`: too late.
CREATE FUNCTION jobqueue.cancel(id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    now_is text;
BEGIN
    FOR look IN 1..10 LOOP
        now_is := jobqueue.status(id);
        IF now_is IN ('queued', 'scheduled') THEN
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

-- `queued`, `scheduled`: it runs again with all its attempts, or waited already. `running`, `completed`: nothing is done. `failed`,
-- `cancelled`: it stays so, because its expires_at has passed or because another job holds its unique key.
CREATE FUNCTION jobqueue.retry(id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job jobqueue.body; now_is text;
BEGIN
    PERFORM FROM jobqueue.outcome o WHERE o.job_id = retry.id FOR UPDATE;
    now_is := jobqueue.status(id);
    SELECT * INTO job FROM jobqueue.body b WHERE b.id = retry.id;
    IF now_is IS NULL OR now_is NOT IN ('failed', 'cancelled') OR job.expires_at <= jobqueue.now() THEN
        RETURN now_is;
    END IF;
    -- a final job may have kept its key
    IF job.unique_digest IS NOT NULL AND jobqueue.claim_key(job.unique_digest, id, job.unique_kept, false) <> id THEN
        RETURN now_is;
    END IF;
    DELETE FROM jobqueue.outcome o WHERE o.job_id = retry.id AND o.status <> 5;
    IF NOT FOUND THEN
        RETURN jobqueue.status(id);
    END IF;
    DELETE FROM jobqueue.cancel_request c WHERE c.job_id = retry.id;
    UPDATE jobqueue.snooze s SET snoozes = 0 WHERE s.job_id = retry.id;
    IF job.lane > 0 THEN
        INSERT INTO jobqueue.tally (queue_id, retried) SELECT l.queue_id, 1 FROM jobqueue.lane l WHERE l.id = job.lane;
    END IF;
    IF job.run_at > jobqueue.now() THEN
        INSERT INTO jobqueue.scheduled VALUES (id, job.run_at, job.lane, job.kind, 0);
        RETURN 'scheduled';
    END IF;
    INSERT INTO jobqueue.ready VALUES (id, job.lane, job.kind, 0);
    RETURN 'queued';
END $$;
