-- Retention by day: whoever must stay is moved to the default partition, then the day's tables are dropped whole.

-- Moments since when the outcomes of a queue are kept.
CREATE FUNCTION jobqueue.kept_since(status smallint, own_completed interval, own_failed interval,
                                    completed interval, failed interval) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT jobqueue.now() - CASE status WHEN 5 THEN coalesce(own_completed, completed) ELSE coalesce(own_failed, failed) END
$$;

-- Drops one day. Returns how many jobs were forgotten, or null if it was left for later: more than max_kept must stay.
-- Set lock_timeout below deadlock_timeout before: who meets us then never gives way.
CREATE FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    low uuid := jobqueue.id_floor(to_date(suffix, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC');
    high uuid := jobqueue.id_floor((to_date(suffix, 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
    bodies text := 'body_' || suffix;
    outcomes text := 'outcome_' || suffix;
    total bigint; moved bigint; stay uuid[]; part text;
BEGIN
    -- The long looks, while everybody works on. Nobody adds a body to an old day; a purge of one waits for us.
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

    -- A short moment alone: from here on nobody moves a job of that day.
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('ALTER TABLE jobqueue.%I DETACH PARTITION jobqueue.%I', part, part || '_' || suffix);
    END LOOP;
    -- an operator may have run an old job again while we looked: whatever is live stays
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
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('DROP TABLE jobqueue.%I', part || '_' || suffix);
    END LOOP;
    RETURN total - moved;
END $$;
