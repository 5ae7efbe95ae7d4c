-- Retention. Jobs are deleted a day at a time: the jobs of the day that must be kept are moved to the default partition, and the partitions of
-- the day are dropped. If too many must be kept, the expired jobs of the day are deleted row by row instead.

-- Final jobs of a queue that finished after this timestamp are kept. Settings of the queue go before the reaper's defaults.
CREATE FUNCTION jobqueue.kept_since(status smallint, own_completed interval, own_failed interval,
                                    completed interval, failed interval) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT jobqueue.now() - CASE status WHEN 5 THEN coalesce(own_completed, completed) ELSE coalesce(own_failed, failed) END
$$;

-- Deletes everything that belongs to jobs: their rows in the queue, bodies, outcomes, attempts, reports, unique keys, expiries, snoozes and
-- cancel requests. It is the only place that lists these tables. The caller has locked the jobs: none of them runs, and none is moved
-- meanwhile. Returns how many jobs it deleted. Rights are those of the caller.
--
-- The bounds leave out the partitions of other days.
CREATE FUNCTION jobqueue.forget(ids uuid[]) RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    low uuid; high uuid; gone bigint;
BEGIN
    SELECT i.id INTO low FROM unnest(ids) AS i (id) ORDER BY i.id LIMIT 1;
    SELECT i.id INTO high FROM unnest(ids) AS i (id) ORDER BY i.id DESC LIMIT 1;
    DELETE FROM jobqueue.ready r USING jobqueue.body b
     WHERE b.id = ANY (ids) AND b.id BETWEEN low AND high AND r.lane = b.lane AND r.job_id = b.id;
    DELETE FROM jobqueue.scheduled s WHERE s.job_id = ANY (ids);
    DELETE FROM jobqueue.outcome o WHERE o.job_id = ANY (ids) AND o.job_id BETWEEN low AND high;
    DELETE FROM jobqueue.attempt a WHERE a.job_id = ANY (ids) AND a.job_id BETWEEN low AND high;
    DELETE FROM jobqueue.report p WHERE p.job_id = ANY (ids) AND p.job_id BETWEEN low AND high;
    DELETE FROM jobqueue.unique_claim c WHERE c.job_id = ANY (ids);
    DELETE FROM jobqueue.expiry e WHERE e.job_id = ANY (ids);
    DELETE FROM jobqueue.snooze s WHERE s.job_id = ANY (ids);
    DELETE FROM jobqueue.cancel_request c WHERE c.job_id = ANY (ids);
    DELETE FROM jobqueue.body b WHERE b.id = ANY (ids) AND b.id BETWEEN low AND high;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- Drops one day. Returns how many jobs it deleted, or null if it did nothing because more than max_kept jobs must be kept.
-- Set lock_timeout below deadlock_timeout before the call. Then it is this function that gives up if it meets another lock.
--
-- Only the owner of the tables can drop partitions, so the function runs as the owner. scripts/roles.sql grants it to the reaper.
CREATE FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    low uuid := jobqueue.id_floor(to_date(suffix, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC');
    high uuid := jobqueue.id_floor((to_date(suffix, 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
    bodies text := 'body_' || suffix;
    outcomes text := 'outcome_' || suffix;
    total bigint; moved bigint; stay uuid[]; part text;
BEGIN
    -- The long scans. Jobs are leased and settled meanwhile. Nothing inserts a body for an old day; a purge of one waits for this lock.
    SET LOCAL enable_seqscan = on;
    EXECUTE format('LOCK TABLE jobqueue.%I IN SHARE MODE', bodies);
    EXECUTE format('
        SELECT ARRAY(SELECT b.id FROM jobqueue.%I b
                     JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                     LEFT JOIN jobqueue.%I o ON o.job_id = b.id
                     WHERE o.job_id IS NULL OR o.finished_at >
                           jobqueue.kept_since(o.status, q.completed_retention, q.failed_retention, $1, $2) LIMIT $3)',
        bodies, outcomes) INTO stay USING completed, failed, max_kept + 1;
    IF cardinality(stay) > max_kept THEN RETURN NULL; END IF;
    EXECUTE format('INSERT INTO jobqueue.tally (queue_id, pruned) SELECT l.queue_id, count(*)::int FROM jobqueue.%I b
                    JOIN jobqueue.lane l ON l.id = b.lane GROUP BY l.queue_id', bodies);
    EXECUTE format('SELECT count(*) FROM jobqueue.%I', bodies) INTO total;

    -- From here on the tables are locked, for a short time. Nothing moves a job of that day.
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('ALTER TABLE jobqueue.%I DETACH PARTITION jobqueue.%I', part, part || '_' || suffix);
    END LOOP;
    -- an operator may have retried an old job during the scans: jobs that wait or run are kept
    stay := ARRAY(
        SELECT unnest(stay)
        UNION SELECT r.job_id FROM jobqueue.lane l JOIN jobqueue.ready r ON r.lane = l.id AND r.job_id >= low AND r.job_id < high
        UNION SELECT s.job_id FROM jobqueue.scheduled s WHERE s.job_id >= low AND s.job_id < high
        UNION SELECT j.id FROM jobqueue.lease_jobs h CROSS JOIN LATERAL unnest(h.job_ids) AS j (id) WHERE j.id >= low AND j.id < high);
    EXECUTE format('INSERT INTO jobqueue.tally (queue_id, pruned) SELECT l.queue_id, -count(*)::int FROM jobqueue.%I b
                    JOIN jobqueue.lane l ON l.id = b.lane WHERE b.id = ANY ($1) GROUP BY l.queue_id', bodies) USING stay;
    EXECUTE format('INSERT INTO jobqueue.body SELECT * FROM jobqueue.%I WHERE id = ANY ($1)', bodies) USING stay;
    GET DIAGNOSTICS moved = ROW_COUNT;
    FOREACH part IN ARRAY ARRAY['outcome', 'attempt', 'report'] LOOP
        EXECUTE format('INSERT INTO jobqueue.%I SELECT * FROM jobqueue.%I WHERE job_id = ANY ($1)', part, part || '_' || suffix)
          USING stay;
    END LOOP;
    DELETE FROM jobqueue.unique_claim WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);
    DELETE FROM jobqueue.expiry WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);
    DELETE FROM jobqueue.snooze WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);
    DELETE FROM jobqueue.cancel_request WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('DROP TABLE jobqueue.%I', part || '_' || suffix);
    END LOOP;
    RETURN total - moved;
END $$;
REVOKE EXECUTE ON FUNCTION jobqueue.prune_day(text, interval, interval, int) FROM PUBLIC;

-- How far the deletion of expired jobs has got in a day that cannot be dropped.
CREATE TABLE jobqueue.prune_pass (
    day text PRIMARY KEY,                     -- YYYYMMDD, the suffix of its partitions
    after uuid NOT NULL,                      -- final jobs up to this id have been examined
    ended_at timestamptz                      -- null while the pass is under way; the next one begins an hour later
);
