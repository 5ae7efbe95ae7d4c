-- Retention by day: whoever must stay is moved to the default partition, then the day's tables are dropped whole.

-- Moments since when the outcomes of a queue are kept.
CREATE FUNCTION jobqueue.kept_since(status smallint, own_completed interval, own_failed interval,
                                    completed interval, failed interval) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT jobqueue.now() - CASE status WHEN 5 THEN coalesce(own_completed, completed) ELSE coalesce(own_failed, failed) END
$$;

-- Drops one day. Returns how many jobs were forgotten, or null if it was left for later: more than max_kept must stay.
CREATE FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE total bigint; kept bigint; part text;
    keepers text := format($q$
        SELECT b.id, l.queue_id FROM jobqueue.%1$I b
          JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
          LEFT JOIN jobqueue.%2$I o ON o.job_id = b.id
         WHERE o.job_id IS NULL
            OR o.finished_at > jobqueue.kept_since(o.status, q.completed_retention, q.failed_retention, $1, $2)$q$,
        'body_' || suffix, 'outcome_' || suffix);
BEGIN
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_hashjoin = on;
    EXECUTE format('SELECT count(*) FROM (%s LIMIT $3) k', keepers) INTO kept USING completed, failed, max_kept + 1;
    IF kept > max_kept THEN RETURN NULL; END IF;
    -- from here on nobody moves a job of that day
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('ALTER TABLE jobqueue.%I DETACH PARTITION jobqueue.%I', part, part || '_' || suffix);
    END LOOP;
    EXECUTE format('CREATE TEMP TABLE kept_jobs ON COMMIT DROP AS %s', keepers) USING completed, failed;
    EXECUTE format('INSERT INTO jobqueue.tally (queue_id, pruned) SELECT l.queue_id, count(*)::int FROM jobqueue.%I b
                    JOIN jobqueue.lane l ON l.id = b.lane WHERE NOT EXISTS (SELECT FROM kept_jobs k WHERE k.id = b.id)
                    GROUP BY l.queue_id', 'body_' || suffix);
    EXECUTE format('DELETE FROM jobqueue.unique_claim c USING jobqueue.%I b WHERE b.id = c.job_id
                    AND NOT EXISTS (SELECT FROM kept_jobs k WHERE k.id = b.id)', 'body_' || suffix);
    EXECUTE format('SELECT count(*) FROM jobqueue.%I', 'body_' || suffix) INTO total;
    SELECT count(*) INTO kept FROM kept_jobs;
    EXECUTE format('INSERT INTO jobqueue.body SELECT b.* FROM jobqueue.%I b JOIN kept_jobs k ON k.id = b.id', 'body_' || suffix);
    FOREACH part IN ARRAY ARRAY['outcome', 'attempt', 'report'] LOOP
        EXECUTE format('INSERT INTO jobqueue.%I SELECT p.* FROM jobqueue.%I p JOIN kept_jobs k ON k.id = p.job_id',
                       part, part || '_' || suffix);
    END LOOP;
    FOREACH part IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
        EXECUTE format('DROP TABLE jobqueue.%I', part || '_' || suffix);
    END LOOP;
    DROP TABLE kept_jobs;
    RETURN total - kept;
END $$;
