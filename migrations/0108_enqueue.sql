-- Enqueue in SQL, in the caller's own transaction, from any language: the job exists if and only if that transaction commits.
-- docs/sql.md is the page for users.
--
-- A transaction that enqueues belongs to an application and may stay open for long. If it inserted a new name (queue, priority, kind),
-- everybody else who needs that name would wait for it. So names that do not exist are created when the transaction commits.
-- docs/adr/0013-names.md says why.

-- Jobs of the present transaction whose queue, priority or kind did not exist when they were enqueued. In other tables these jobs have the
-- lane 0 and the kind 0. No other transaction ever sees a row, because a transaction deletes its own rows before it commits.
CREATE TABLE jobqueue.unnamed (
    job_id uuid PRIMARY KEY,
    queue text NOT NULL,
    priority smallint NOT NULL,
    kind text NOT NULL,
    is_first boolean NOT NULL,                -- of its transaction: the trigger of this row does the work for all
    cancelled boolean NOT NULL DEFAULT false  -- the same transaction cancelled it: it counts as created and as cancelled
);

-- Creates the names of this transaction's jobs, and replaces the zeros by their numbers. All transactions create names in the same order.
-- So two transactions that need the same names may wait for each other's commit, but never deadlock.
CREATE FUNCTION jobqueue.name_jobs() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    jobs uuid[]; lanes int[]; kinds int[]; gone boolean[];
BEGIN
    INSERT INTO jobqueue.queue (name)
        SELECT u.queue FROM jobqueue.unnamed u WHERE NOT EXISTS (SELECT FROM jobqueue.queue q WHERE q.name = u.queue)
        GROUP BY u.queue ORDER BY u.queue COLLATE "C" ON CONFLICT DO NOTHING;
    INSERT INTO jobqueue.lane (queue_id, priority)
        SELECT q.id, u.priority FROM jobqueue.unnamed u JOIN jobqueue.queue q ON q.name = u.queue
         WHERE NOT EXISTS (SELECT FROM jobqueue.lane l WHERE l.queue_id = q.id AND l.priority = u.priority)
        GROUP BY q.id, u.priority ORDER BY q.id, u.priority ON CONFLICT DO NOTHING;
    INSERT INTO jobqueue.kind (name)
        SELECT u.kind FROM jobqueue.unnamed u WHERE NOT EXISTS (SELECT FROM jobqueue.kind k WHERE k.name = u.kind)
        GROUP BY u.kind ORDER BY u.kind COLLATE "C" ON CONFLICT DO NOTHING;

    SELECT array_agg(u.job_id), array_agg(l.id), array_agg(k.id), array_agg(u.cancelled) INTO jobs, lanes, kinds, gone
      FROM jobqueue.unnamed u JOIN jobqueue.queue q ON q.name = u.queue
      JOIN jobqueue.lane l ON l.queue_id = q.id AND l.priority = u.priority JOIN jobqueue.kind k ON k.name = u.kind;
    IF coalesce(cardinality(jobs), 0) <> (SELECT count(*) FROM jobqueue.unnamed) THEN
        RAISE EXCEPTION 'a queue was deleted while a job was enqueued into it' USING ERRCODE = '40001', HINT = 'run the transaction again';
    END IF;
    DELETE FROM jobqueue.unnamed;
    UPDATE jobqueue.body b SET lane = n.lane, kind = n.kind
      FROM unnest(jobs, lanes, kinds) AS n (job_id, lane, kind) WHERE b.id = n.job_id;
    UPDATE jobqueue.ready r SET lane = n.lane, kind = n.kind
      FROM unnest(jobs, lanes, kinds) AS n (job_id, lane, kind) WHERE r.lane = 0 AND r.job_id = n.job_id;
    UPDATE jobqueue.scheduled s SET lane = n.lane, kind = n.kind
      FROM unnest(jobs, lanes, kinds) AS n (job_id, lane, kind) WHERE s.job_id = n.job_id;
    INSERT INTO jobqueue.tally (queue_id, created, cancelled)
        SELECT l.queue_id, count(*)::int, (count(*) FILTER (WHERE n.gone))::int
          FROM unnest(lanes, gone) AS n (lane, gone) JOIN jobqueue.lane l ON l.id = n.lane GROUP BY l.queue_id;
END $$;

CREATE FUNCTION jobqueue.name_jobs_at_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM jobqueue.name_jobs();
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobqueue.unnamed DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.is_first) EXECUTE FUNCTION jobqueue.name_jobs_at_commit();
-- also if session_replication_role disables triggers
ALTER TABLE jobqueue.unnamed ENABLE ALWAYS TRIGGER at_commit;

-- The identity of a unique key, as in core::unique: the first 128 bits of SHA-256 over the parts, each with its length before it.
CREATE FUNCTION jobqueue.unique_digest(scope text, within text, key text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(substring(sha256(
        int8send(octet_length(convert_to(scope, 'UTF8'))) || convert_to(scope, 'UTF8')
        || int8send(octet_length(convert_to(within, 'UTF8'))) || convert_to(within, 'UTF8')
        || int8send(octet_length(convert_to(key, 'UTF8'))) || convert_to(key, 'UTF8')) FOR 16), 'hex')::uuid
$$;

-- Cancels a waiting job. Returns false if the job does not wait. `free` releases its unique key.
CREATE FUNCTION jobqueue.withdraw(job uuid, reason json, free boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    job_lane int; begun smallint;
BEGIN
    SELECT b.lane INTO job_lane FROM jobqueue.body b WHERE b.id = job;
    DELETE FROM jobqueue.ready r WHERE r.lane = job_lane AND r.job_id = job RETURNING r.attempt INTO begun;
    IF NOT FOUND THEN
        DELETE FROM jobqueue.scheduled s WHERE s.job_id = job RETURNING s.attempt INTO begun;
        IF NOT FOUND THEN RETURN false; END IF;
    END IF;
    INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at, detail)
        VALUES (job, 7, begun, jobqueue.now() - now() + clock_timestamp(), reason);
    IF job_lane = 0 THEN
        UPDATE jobqueue.unnamed u SET cancelled = true WHERE u.job_id = job;
    ELSE
        INSERT INTO jobqueue.tally (queue_id, cancelled) SELECT l.queue_id, 1 FROM jobqueue.lane l WHERE l.id = job_lane;
    END IF;
    IF free THEN
        DELETE FROM jobqueue.unique_claim c WHERE c.job_id = job AND c.kept & 4 = 0;
    END IF;
    RETURN true;
END $$;

-- Claims a unique key for a job. Returns that job, or the job that holds the key and keeps it. `replaces` cancels a holder that waits.
CREATE FUNCTION jobqueue.claim_key(claim uuid, job uuid, keeps smallint, replaces boolean) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    LOOP
        INSERT INTO jobqueue.unique_claim VALUES (claim, job, keeps) ON CONFLICT DO NOTHING;
        IF FOUND THEN RETURN job; END IF;
        SELECT c.job_id INTO holder FROM jobqueue.unique_claim c WHERE c.digest = claim;
        CONTINUE WHEN holder IS NULL;   -- it was freed meanwhile
        IF NOT replaces THEN RETURN holder; END IF;
        IF NOT jobqueue.withdraw(holder, json_build_object('type', 'replaced', 'message', 'replaced by job ' || job), false) THEN
            PERFORM FROM jobqueue.outcome o WHERE o.job_id = holder FOR UPDATE;
            IF NOT FOUND THEN RETURN holder; END IF;
        END IF;
        UPDATE jobqueue.unique_claim c SET job_id = job, kept = keeps WHERE c.digest = claim AND c.job_id = holder;
        IF FOUND THEN RETURN job; END IF;
    END LOOP;
END $$;

-- Calls of jobqueue.enqueue and jobqueue.retry that made a job ready without a notification. The reaper reads this sequence to notify the
-- workers when such a call commits; docs/adr/0014-sql-arrivals.md says why. A sequence has no rows to clean up, no call waits for another, and
-- only one call in 32 writes to the log. Do not set CACHE: a session would then draw many numbers at once, and the next calls would not show.
CREATE SEQUENCE jobqueue.sql_calls;

-- Returns the id of the new job, or of the job that holds its unique key. JSON may be given as json, as jsonb or as text; anycompatible
-- makes all JSON parameters of one call the same type. A null parameter means its default, but kind and payload must not be null.
-- wake := true also notifies workers at commit. Commits that notify wait for each other, so leave it off on busy paths.
CREATE FUNCTION jobqueue.enqueue(
    kind text,
    payload anycompatible DEFAULT '{}',
    queue text DEFAULT 'default',
    priority int DEFAULT 0,
    run_at timestamptz DEFAULT NULL,
    delay_seconds float8 DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    max_attempts int DEFAULT 10,
    max_snoozes int DEFAULT NULL,
    retry anycompatible DEFAULT NULL,
    timeout_seconds float8 DEFAULT NULL,
    soft_timeout_seconds float8 DEFAULT NULL,
    "unique" anycompatible DEFAULT NULL,
    tags text[] DEFAULT NULL,
    metadata anycompatible DEFAULT NULL,
    traceparent text DEFAULT NULL,
    unique_key text DEFAULT NULL,             -- short for "unique" := '{"key": …}'
    wake boolean DEFAULT false
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_job uuid := jobqueue.new_id();
    present CONSTANT timestamptz := jobqueue.now();
    content CONSTANT text := payload::text;
    document CONSTANT json := content::json;
    policy json; wish json; about json;
    start_at timestamptz := run_at;
    lane_number int; queue_number int; kind_number int; holder uuid; claim uuid; keeps smallint; at int; word text;
BEGIN
    queue := coalesce(queue, 'default');
    priority := coalesce(priority, 0);
    max_attempts := coalesce(max_attempts, 10);
    -- a known name needs no check
    SELECT l.id, l.queue_id, k.id INTO lane_number, queue_number, kind_number
      FROM jobqueue.queue q JOIN jobqueue.lane l ON l.queue_id = q.id CROSS JOIN jobqueue.kind k
     WHERE q.name = queue AND l.priority = priority AND k.name = kind;
    IF lane_number IS NULL THEN
        IF queue !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
            PERFORM jobqueue.refuse('queue', 'must be 1 to 64 letters, digits, "_", "-", "." or ":"');
        END IF;
        IF kind IS NULL OR kind !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' THEN
            PERFORM jobqueue.refuse('kind', 'must be 1 to 128 letters, digits, "_", "-", "." or ":"');
        END IF;
    END IF;
    IF content IS NULL THEN
        PERFORM jobqueue.refuse('payload', 'must not be null; JSON''s null is ''null''');
    ELSIF octet_length(content) > 1048576 THEN
        PERFORM jobqueue.refuse('payload', 'must have at most 1048576 bytes of JSON');
    ELSIF content <> '{}' THEN
        PERFORM jobqueue.check_json('payload', content);
    END IF;
    IF priority NOT BETWEEN -100 AND 100 THEN
        PERFORM jobqueue.refuse('priority', 'must be between -100 and 100');
    END IF;
    IF run_at IS NOT NULL OR delay_seconds IS NOT NULL OR expires_at IS NOT NULL THEN
        IF delay_seconds BETWEEN 0 AND 3153600000 THEN
            start_at := coalesce(run_at, present + delay_seconds * interval '1 second');
        ELSIF delay_seconds IS NOT NULL THEN
            PERFORM jobqueue.refuse('delay_seconds', 'must be between 0 and 3153600000');
        END IF;
        IF run_at NOT BETWEEN '1970-01-01Z' AND present + interval '3153600000 s' THEN
            PERFORM jobqueue.refuse('run_at', 'must be from 1970 on, and at most 36500 days ahead');
        ELSIF run_at IS NOT NULL AND delay_seconds IS NOT NULL THEN
            PERFORM jobqueue.refuse('delay_seconds', 'cannot be combined with run_at');
        ELSIF expires_at NOT BETWEEN '1970-01-01Z' AND present + interval '3153600000 s' THEN
            PERFORM jobqueue.refuse('expires_at', 'must be from 1970 on, and at most 36500 days ahead');
        ELSIF expires_at <= start_at THEN
            PERFORM jobqueue.refuse('expires_at', 'must be after the start');
        END IF;
    END IF;
    IF max_attempts NOT BETWEEN 1 AND 1000 THEN
        PERFORM jobqueue.refuse('max_attempts', 'must be between 1 and 1000');
    ELSIF max_snoozes NOT BETWEEN 0 AND 1000000 THEN
        PERFORM jobqueue.refuse('max_snoozes', 'must be between 0 and 1000000');
    END IF;
    IF retry IS NOT NULL THEN
        policy := retry::text::json;
        PERFORM jobqueue.check_retry(policy);
    END IF;
    IF timeout_seconds NOT BETWEEN 0.001 AND 604800 THEN
        PERFORM jobqueue.refuse('timeout_seconds', 'must be between 0.001 and 604800 seconds');
    ELSIF soft_timeout_seconds NOT BETWEEN 0.001 AND 604800 THEN
        PERFORM jobqueue.refuse('soft_timeout_seconds', 'must be between 0.001 and 604800 seconds');
    ELSIF soft_timeout_seconds >= timeout_seconds THEN
        PERFORM jobqueue.refuse('soft_timeout_seconds', 'must be below timeout_seconds');
    END IF;
    IF "unique" IS NOT NULL OR unique_key IS NOT NULL THEN
        IF "unique" IS NULL THEN
            PERFORM jobqueue.check_text('unique_key', unique_key, 255);
            wish := json_build_object('key', unique_key);
            keeps := 0;
        ELSIF unique_key IS NOT NULL THEN
            PERFORM jobqueue.refuse('unique_key', 'cannot be combined with unique');
        ELSE
            wish := "unique"::text::json;
            keeps := jobqueue.check_unique(wish);
        END IF;
    END IF;
    IF tags IS NOT NULL THEN
        IF cardinality(tags) > 20 OR array_ndims(tags) > 1 THEN
            PERFORM jobqueue.refuse('tags', 'must be a plain array of at most 20 entries');
        END IF;
        at := 0;
        FOREACH word IN ARRAY tags LOOP
            PERFORM jobqueue.check_text('tags/' || at, word, 64);
            at := at + 1;
        END LOOP;
    END IF;
    IF metadata IS NOT NULL THEN
        about := metadata::text::json;
        IF json_typeof(about) <> 'object' THEN
            PERFORM jobqueue.refuse('metadata', 'must be a JSON object');
        ELSIF octet_length(about::text) > 16384 THEN
            PERFORM jobqueue.refuse('metadata', 'must have at most 16384 bytes of JSON');
        END IF;
        PERFORM jobqueue.check_json('metadata', about::text);
    END IF;
    IF traceparent !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        PERFORM jobqueue.refuse('traceparent', 'must be a W3C traceparent such as 00-<32 hex>-<16 hex>-01');
    END IF;

    IF wish IS NOT NULL THEN
        unique_key := wish->>'key';
        word := coalesce(wish->>'scope', 'kind');
        claim := jobqueue.unique_digest(word, CASE word WHEN 'kind' THEN kind WHEN 'queue' THEN queue ELSE '' END, unique_key);
        word := coalesce(wish->>'on_conflict', 'return');
        holder := jobqueue.claim_key(claim, new_job, keeps, word = 'replace');
        IF holder <> new_job THEN
            IF word = 'reject' THEN
                RAISE EXCEPTION 'job % holds the unique key', holder USING ERRCODE = '23505', DETAIL = holder::text;
            END IF;
            RETURN holder;
        END IF;
    END IF;

    IF lane_number IS NULL THEN
        INSERT INTO jobqueue.unnamed VALUES (new_job, queue, priority, kind, NOT EXISTS (SELECT FROM jobqueue.unnamed));
        lane_number := 0;
        kind_number := 0;
    ELSE
        INSERT INTO jobqueue.tally (queue_id, created) VALUES (queue_number, 1);
    END IF;
    INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, run_at, expires_at,
                               unique_key, unique_digest, unique_kept, tags, metadata, traceparent)
    VALUES (new_job, lane_number, kind_number, max_attempts, document, policy, (timeout_seconds * 1000)::bigint,
            (soft_timeout_seconds * 1000)::bigint, start_at, expires_at, unique_key, claim, keeps, tags, about, traceparent);
    IF start_at > present THEN
        INSERT INTO jobqueue.scheduled VALUES (new_job, start_at, lane_number, kind_number, 0);
    ELSE
        INSERT INTO jobqueue.ready VALUES (new_job, lane_number, kind_number, 0);
    END IF;
    IF expires_at IS NOT NULL THEN
        INSERT INTO jobqueue.expiry VALUES (new_job, expires_at);
    END IF;
    IF max_snoozes IS NOT NULL THEN
        INSERT INTO jobqueue.snooze (job_id, max_snoozes) VALUES (new_job, max_snoozes);
    END IF;
    IF wake THEN
        PERFORM pg_notify('jobqueue_wake', queue);
    ELSIF start_at IS NULL OR start_at <= present THEN
        PERFORM nextval('jobqueue.sql_calls');
    END IF;
    RETURN new_job;
END $$;
