-- Dead letters: jobs that are `failed`. docs/dead-letters.md describes them; docs/adr/0019-dead-letters.md says why they are stored so.

-- One row for each dead letter, written in the transaction that ends the job. It follows the row of `outcome`: what deletes that deletes this.
CREATE TABLE jobqueue.dead_letter (
    job_id uuid PRIMARY KEY,
    failed_at timestamptz NOT NULL,
    fingerprint uuid NOT NULL,                -- its group
    queue_id int NOT NULL,
    kind int NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX dead_letter_failed_at ON jobqueue.dead_letter (failed_at, job_id);
CREATE INDEX dead_letter_of_group ON jobqueue.dead_letter (fingerprint, failed_at, job_id);
CREATE INDEX dead_letter_queue ON jobqueue.dead_letter (queue_id, failed_at, job_id);

-- What the dead letters of a group have in common. Written with the first of them.
CREATE TABLE jobqueue.dead_letter_cause (
    fingerprint uuid PRIMARY KEY,
    kind int NOT NULL,
    error_type text COLLATE "C" NOT NULL,
    message text NOT NULL                     -- normalised (core::fingerprint)
);
CREATE INDEX dead_letter_cause_type ON jobqueue.dead_letter_cause (error_type);

-- What has been inserted and deleted since the last count. The reaper adds the rows to the next two tables.
CREATE TABLE jobqueue.dead_letter_tally (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_id int NOT NULL,
    kind int NOT NULL,
    fingerprint uuid NOT NULL,
    count int NOT NULL,                       -- negative: deleted
    first_at timestamptz,                     -- failed_at of the oldest and newest that were inserted
    last_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- The groups of each queue, and with queue 0 those of all queues.
CREATE TABLE jobqueue.dead_letter_group (
    queue_id int NOT NULL,
    fingerprint uuid NOT NULL,
    kind int NOT NULL,
    count bigint NOT NULL,
    first_at timestamptz NOT NULL,            -- when a dead letter of the group first failed, whether or not it still is one
    last_at timestamptz NOT NULL,
    PRIMARY KEY (fingerprint, queue_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX dead_letter_group_last ON jobqueue.dead_letter_group (queue_id, last_at, fingerprint) WHERE count > 0;
CREATE INDEX dead_letter_group_count ON jobqueue.dead_letter_group (queue_id, count, fingerprint) WHERE count > 0;
CREATE INDEX dead_letter_group_empty ON jobqueue.dead_letter_group (last_at) WHERE count = 0;

-- The number of dead letters of each queue.
CREATE TABLE jobqueue.dead_letter_total (
    queue_id int PRIMARY KEY,
    count bigint NOT NULL
) WITH (fillfactor = 50);

-- Dead letters that a user retried with another payload: the new job took their place. The old job stays failed, but is no dead letter.
CREATE TABLE jobqueue.replacement (
    job_id uuid PRIMARY KEY,
    replaced_by uuid NOT NULL
);

-- How far the reaper has compared `outcome` with `dead_letter`. A pass finds the jobs that failed before this migration, or in a process of an
-- earlier version, and the dead letters whose job was deleted with its day.
CREATE TABLE jobqueue.dead_letter_pass (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    outcomes_after uuid NOT NULL,
    letters_after uuid NOT NULL,
    ended_at timestamptz                      -- null while a pass is under way
);
INSERT INTO jobqueue.dead_letter_pass (outcomes_after, letters_after)
VALUES ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000');

-- Redrives: dead letters are retried at a rate, until none is left or their failures return. The reaper holds the lock of the row during a step.
CREATE TABLE jobqueue.redrive (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,          -- what fails later is not redriven
    filter json NOT NULL,
    rate float8 NOT NULL,                     -- jobs per second
    stop_share float8 NOT NULL,
    stop_window int NOT NULL,
    total bigint,                             -- how many matched when it began; null: not known
    state text NOT NULL,                      -- running, done, stopped (by a user) or failing (it stopped by itself)
    after_at timestamptz NOT NULL,            -- up to here, the dead letters have been examined, in the order of failed_at and job_id
    after_id uuid NOT NULL,
    is_examined boolean NOT NULL DEFAULT false,
    paced_at timestamptz NOT NULL,            -- when credit was computed
    credit float8 NOT NULL DEFAULT 1,         -- how many jobs it may retry
    redriven bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,        -- could not be retried
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    other bigint NOT NULL DEFAULT 0,          -- cancelled or deleted before their end
    recent text NOT NULL DEFAULT '',          -- the last results, oldest first: s or f
    ended_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX redrive_running ON jobqueue.redrive (id) WHERE state = 'running';

-- Jobs that a redrive has retried and whose result is not known yet.
CREATE TABLE jobqueue.redriven (
    redrive_id uuid NOT NULL,
    job_id uuid NOT NULL,
    redriven_at timestamptz NOT NULL,
    PRIMARY KEY (redrive_id, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- The fingerprint of a kind, an error type and a normalised message. The parts cannot contain the separator.
CREATE FUNCTION jobqueue.fingerprint(kind text, error_type text, message text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(encode(sha256(convert_to(kind || E'\x1f' || error_type || E'\x1f' || message, 'UTF8')), 'hex'), 32)::uuid
$$;

-- Every change of `dead_letter` is counted, so that the groups are right whoever makes it. It runs as the owner, because what makes a change is
-- a settle, a retry or a deletion, whose roles have no other right to the counts.
CREATE FUNCTION jobqueue.tally_dead_letters() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO jobqueue.dead_letter_tally (queue_id, kind, fingerprint, count)
        SELECT g.queue_id, g.kind, g.fingerprint, -count(*)::int FROM gone g GROUP BY 1, 2, 3;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO jobqueue.dead_letter_tally (queue_id, kind, fingerprint, count, first_at, last_at)
        SELECT n.queue_id, n.kind, n.fingerprint, count(*)::int, min(n.failed_at), max(n.failed_at) FROM new n GROUP BY 1, 2, 3;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_inserts AFTER INSERT ON jobqueue.dead_letter REFERENCING NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.tally_dead_letters();
CREATE TRIGGER tally_deletes AFTER DELETE ON jobqueue.dead_letter REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.tally_dead_letters();
CREATE TRIGGER tally_updates AFTER UPDATE ON jobqueue.dead_letter REFERENCING OLD TABLE AS gone NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.tally_dead_letters();

-- A job that is no longer failed is no dead letter: it was retried or deleted. Inserts into `outcome` have no trigger, so a completed job costs
-- what it did. A day that is dropped fires none; prune_day sees to its dead letters.
CREATE FUNCTION jobqueue.drop_dead_letters() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT g.job_id FROM gone g WHERE g.status = 6);
BEGIN
    IF cardinality(ids) > 0 THEN
        DELETE FROM jobqueue.dead_letter d WHERE d.job_id = ANY (ids);
        DELETE FROM jobqueue.replacement r WHERE r.job_id = ANY (ids);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_dead_letters AFTER DELETE ON jobqueue.outcome REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.drop_dead_letters();

-- As in 0109_sql_verbs.sql, and it refuses a job that was replaced.
-- `queued`, `scheduled`: the job will run again with all its attempts, or it waited already. `running`, `completed`: nothing was done.
-- `failed`, `cancelled`: it stays so, because its expires_at has passed, because another job holds its unique key, or because a new job with
-- another payload took its place.
CREATE OR REPLACE FUNCTION jobqueue.retry(id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job jobqueue.body; now_is text;
BEGIN
    PERFORM FROM jobqueue.outcome o WHERE o.job_id = retry.id FOR UPDATE;
    now_is := jobqueue.status(id);
    SELECT * INTO job FROM jobqueue.body b WHERE b.id = retry.id;
    IF now_is IS NULL OR now_is NOT IN ('failed', 'cancelled') OR job.expires_at <= jobqueue.now() THEN
        RETURN now_is;
    END IF;
    IF EXISTS (SELECT FROM jobqueue.replacement r WHERE r.job_id = retry.id) THEN
        RETURN now_is;
    END IF;
    -- a final job may still hold its key
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
    PERFORM nextval('jobqueue.sql_calls');
    RETURN 'queued';
END $$;

-- As in 0105_retention.sql, and it deletes the dead letters of the day.
CREATE OR REPLACE FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    low uuid := jobqueue.id_floor(to_date(suffix, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC');
    high uuid := jobqueue.id_floor((to_date(suffix, 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
    bodies text := 'body_' || suffix;
    outcomes text := 'outcome_' || suffix;
    total bigint; moved bigint; stay uuid[]; part text;
BEGIN
    -- planned for the given array, which is then hashed; a generic plan compares each row with each element
    SET LOCAL plan_cache_mode = force_custom_plan;
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

    -- their dead letters, before the tables are locked, because there may be many; a retry of one meanwhile makes this function give up
    DELETE FROM jobqueue.dead_letter WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);
    DELETE FROM jobqueue.replacement WHERE job_id >= low AND job_id < high AND job_id <> ALL (stay);

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
