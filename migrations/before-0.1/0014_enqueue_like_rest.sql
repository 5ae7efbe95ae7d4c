-- `jobqueue.enqueue` has the parameters of `POST /v1/jobs`, with the same names, meanings and checks. A refusal names the parameter by
-- its JSON pointer, without the first slash, and has the SQLSTATE 22023. docs/sql.md is the page for users.

-- The function has other parameters now. Privileges that were granted on the former one end with it.
DROP FUNCTION jobqueue.enqueue(text, json, text, int, timestamptz, interval, timestamptz, int, json, interval, text, text[], json, text, boolean);
DROP FUNCTION jobqueue.retry_problem(json);

-- Jobs of unknown names that the same transaction cancelled again: they count as created and as cancelled when it commits.
ALTER TABLE jobqueue.unnamed ADD COLUMN cancelled boolean NOT NULL DEFAULT false;

CREATE FUNCTION jobqueue.refuse(pointer text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% %', pointer, message USING ERRCODE = '22023';
END $$;

-- Refuses a short text, such as a tag, with the rules of core::job::check.
CREATE FUNCTION jobqueue.check_text(pointer text, value text, max_bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF value IS NULL OR value = '' THEN
        PERFORM jobqueue.refuse(pointer, 'must not be empty');
    ELSIF octet_length(value) > max_bytes THEN
        PERFORM jobqueue.refuse(pointer, format('must have at most %s bytes', max_bytes));
    ELSIF value ~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]' THEN
        PERFORM jobqueue.refuse(pointer, 'must not hold control or text-direction characters');
    END IF;
END $$;

-- Refuses JSON that lists and readers cannot take.
CREATE FUNCTION jobqueue.check_json(pointer text, content text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    -- most documents are short and have one key at most: nothing in them can be wrong but an escaped character or a large exponent
    IF length(content) > 64 OR content ~ E'\\\\u|[eE][+]?[0-9]{3}|:.*:' THEN
        problem := jobqueue.json_problem(content::json);
        IF problem IS NOT NULL THEN
            PERFORM jobqueue.refuse(pointer, problem);
        END IF;
    END IF;
END $$;

-- Refuses what core::retry refuses.
CREATE FUNCTION jobqueue.check_retry(retry json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    policy text; known text[]; field text; value json; low int; high int; at int := 0;
BEGIN
    PERFORM jobqueue.check_json('retry', retry::text);
    IF json_typeof(retry) <> 'object' THEN
        PERFORM jobqueue.refuse('retry', 'must be an object');
    ELSIF retry->'strategy' IS NULL THEN
        PERFORM jobqueue.refuse('retry/strategy', 'is required');
    ELSIF json_typeof(retry->'strategy') <> 'string' OR retry->>'strategy' NOT IN ('exponential', 'fixed', 'linear', 'list') THEN
        PERFORM jobqueue.refuse('retry/strategy', 'must be exponential, fixed, linear or list');
    END IF;
    policy := retry->>'strategy';
    known := CASE policy WHEN 'exponential' THEN '{base_seconds,factor,max_seconds,jitter}' WHEN 'fixed' THEN '{delay_seconds}'
                         WHEN 'linear' THEN '{step_seconds,max_seconds}' ELSE '{delays_seconds}' END;
    FOR field IN SELECT k.name FROM json_object_keys(retry) AS k (name) WHERE k.name <> 'strategy' LOOP
        IF field <> ALL (known) THEN
            PERFORM jobqueue.refuse('retry/' || left(field, 100), 'is not a field of this strategy');
        END IF;
    END LOOP;
    -- the first field of each strategy but `exponential` is required
    IF policy <> 'exponential' AND retry->known[1] IS NULL THEN
        PERFORM jobqueue.refuse('retry/' || known[1], 'is required');
    END IF;
    FOR field, value IN SELECT e.key, e.value FROM json_each(retry) e WHERE e.key <> 'strategy' LOOP
        low := CASE WHEN field = 'factor' THEN 1 ELSE 0 END;
        high := CASE field WHEN 'factor' THEN 10 WHEN 'jitter' THEN 1 ELSE 604800 END;
        IF field <> 'delays_seconds' THEN
            IF json_typeof(value) <> 'number' THEN
                PERFORM jobqueue.refuse('retry', field || ' must be a number');
            ELSIF (value::text)::numeric NOT BETWEEN low AND high THEN
                PERFORM jobqueue.refuse('retry/' || field, format('must be between %s and %s', low, high));
            END IF;
        ELSIF json_typeof(value) <> 'array' THEN
            PERFORM jobqueue.refuse('retry', 'delays_seconds must be an array');
        ELSE
            FOR value IN SELECT * FROM json_array_elements(value) LOOP
                IF json_typeof(value) <> 'number' THEN
                    PERFORM jobqueue.refuse('retry', 'delays_seconds must hold numbers only');
                ELSIF (value::text)::numeric NOT BETWEEN 0 AND 604800 THEN
                    PERFORM jobqueue.refuse('retry/delays_seconds/' || at, 'must be between 0 and 604800');
                END IF;
                at := at + 1;
            END LOOP;
            IF at NOT BETWEEN 1 AND 100 THEN
                PERFORM jobqueue.refuse('retry/delays_seconds', 'must have 1 to 100 entries');
            END IF;
        END IF;
    END LOOP;
END $$;

-- Refuses what the wire type and core refuse in `unique`. Returns the bits of the final statuses that keep the key, as in `unique_claim`.
CREATE FUNCTION jobqueue.check_unique(wish json) RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
    field text; value json; word text; words text[];
BEGIN
    PERFORM jobqueue.check_json('unique', wish::text);
    IF json_typeof(wish) <> 'object' THEN
        PERFORM jobqueue.refuse('unique', 'must be an object');
    END IF;
    FOR field, value IN SELECT * FROM json_each(wish) LOOP
        IF field NOT IN ('key', 'scope', 'statuses', 'on_conflict') THEN
            PERFORM jobqueue.refuse('unique/' || left(field, 100), 'is not a field of `unique`');
        ELSIF field = 'key' AND json_typeof(value) NOT IN ('string', 'null') THEN
            PERFORM jobqueue.refuse('unique/key', 'must be a string');
        ELSIF field = 'scope' AND (json_typeof(value) <> 'string' OR value #>> '{}' NOT IN ('kind', 'queue', 'global')) THEN
            PERFORM jobqueue.refuse('unique/scope', 'must be kind, queue or global');
        ELSIF field = 'on_conflict' AND (json_typeof(value) <> 'string' OR value #>> '{}' NOT IN ('return', 'replace', 'reject')) THEN
            PERFORM jobqueue.refuse('unique/on_conflict', 'must be return, replace or reject');
        ELSIF field = 'statuses' AND json_typeof(value) <> 'null' THEN
            IF json_typeof(value) <> 'array' THEN
                PERFORM jobqueue.refuse('unique/statuses', 'must be an array');
            END IF;
            words := '{}';
            FOR value IN SELECT * FROM json_array_elements(value) LOOP
                word := value #>> '{}';
                IF json_typeof(value) <> 'string'
                   OR word NOT IN ('blocked', 'scheduled', 'queued', 'running', 'completed', 'failed', 'cancelled') THEN
                    PERFORM jobqueue.refuse('unique/statuses/' || cardinality(words), 'must be a status');
                END IF;
                words := words || word;
            END LOOP;
        END IF;
    END LOOP;
    PERFORM jobqueue.check_text('unique/key', wish->>'key', 255);
    IF NOT words @> '{blocked,scheduled,queued,running}' THEN
        PERFORM jobqueue.refuse('unique/statuses',
            'must hold blocked, scheduled, queued and running; completed, failed and cancelled are optional');
    END IF;
    RETURN CASE WHEN 'completed' = ANY (words) THEN 1 ELSE 0 END + CASE WHEN 'failed' = ANY (words) THEN 2 ELSE 0 END
         + CASE WHEN 'cancelled' = ANY (words) THEN 4 ELSE 0 END;
END $$;

-- The identity of a unique key, as core::unique has it: SHA-256 over parts with their lengths before them, first 128 bits.
CREATE FUNCTION jobqueue.unique_digest(scope text, within text, key text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(substring(sha256(
        int8send(octet_length(convert_to(scope, 'UTF8'))) || convert_to(scope, 'UTF8')
        || int8send(octet_length(convert_to(within, 'UTF8'))) || convert_to(within, 'UTF8')
        || int8send(octet_length(convert_to(key, 'UTF8'))) || convert_to(key, 'UTF8')) FOR 16), 'hex')::uuid
$$;

-- Takes a waiting job out of the queue and makes it cancelled. False if it does not wait. `free` gives its unique key free.
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

-- Claims a unique key for a job. Returns the job itself, or the job that holds the key and keeps it.
CREATE FUNCTION jobqueue.claim_key(claim uuid, job uuid, keeps smallint, replaces boolean) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    LOOP
        INSERT INTO jobqueue.unique_claim VALUES (claim, job, keeps) ON CONFLICT DO NOTHING;
        IF FOUND THEN RETURN job; END IF;
        SELECT c.job_id INTO holder FROM jobqueue.unique_claim c WHERE c.digest = claim;
        CONTINUE WHEN holder IS NULL;   -- it was freed just now
        IF NOT replaces THEN RETURN holder; END IF;
        IF NOT jobqueue.withdraw(holder, json_build_object('type', 'replaced', 'message', 'replaced by job ' || job), false) THEN
            PERFORM FROM jobqueue.outcome o WHERE o.job_id = holder FOR UPDATE;
            IF NOT FOUND THEN RETURN holder; END IF;
        END IF;
        UPDATE jobqueue.unique_claim c SET job_id = job, kept = keeps WHERE c.digest = claim AND c.job_id = holder;
        IF FOUND THEN RETURN job; END IF;
    END LOOP;
END $$;

-- As before, and with jobs that were cancelled before their names existed.
CREATE OR REPLACE FUNCTION jobqueue.name_jobs() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
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

-- Returns the id of the new job, or of the job that holds its unique key. JSON may be given as json, as jsonb or as text; anycompatible
-- makes all JSON parameters of one call the same type. A parameter that is null has its default, but kind and payload must not be null.
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
    END IF;
    RETURN new_job;
END $$;
