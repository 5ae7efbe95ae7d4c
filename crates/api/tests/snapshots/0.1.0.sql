
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA jobqueue;

CREATE FUNCTION jobqueue.add_partitions(from_day date, days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $$
DECLARE day date; parent text; suffix text; low uuid; high uuid; made int := 0; taken boolean;
BEGIN
    FOR day IN SELECT from_day + n FROM generate_series(0, days - 1) n LOOP
        suffix := '_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('jobqueue.body' || suffix) IS NOT NULL;
        low := jobqueue.id_floor(day::timestamp AT TIME ZONE 'UTC');
        high := jobqueue.id_floor((day + 1)::timestamp AT TIME ZONE 'UTC');
        SELECT EXISTS (SELECT FROM jobqueue.body_default WHERE id >= low AND id < high)
            OR EXISTS (SELECT FROM jobqueue.outcome_default WHERE job_id >= low AND job_id < high)
            OR EXISTS (SELECT FROM jobqueue.attempt_default WHERE job_id >= low AND job_id < high)
            OR EXISTS (SELECT FROM jobqueue.report_default WHERE job_id >= low AND job_id < high) INTO taken;
        CONTINUE WHEN taken;
        FOREACH parent IN ARRAY ARRAY['body', 'outcome', 'attempt', 'report'] LOOP
            EXECUTE format('CREATE TABLE jobqueue.%I PARTITION OF jobqueue.%I FOR VALUES FROM (%L) TO (%L)
                            WITH (autovacuum_vacuum_insert_threshold = -1)',
                           parent || suffix, parent, low, high);
        END LOOP;
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION jobqueue.ask_workers() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $$
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

CREATE FUNCTION jobqueue.cancel(id uuid) RETURNS text
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION jobqueue.check_json(pointer text, content text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    problem text;
BEGIN
    -- Most documents are short and have at most one key. Only an escaped character or a large exponent can be wrong in them.
    IF length(content) > 64 OR content ~ E'\\\\u|[eE][+]?[0-9]{3}|:.*:' THEN
        problem := jobqueue.json_problem(content::json);
        IF problem IS NOT NULL THEN
            PERFORM jobqueue.refuse(pointer, problem);
        END IF;
    END IF;
END $$;

CREATE FUNCTION jobqueue.check_retry(retry json) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION jobqueue.check_text(pointer text, value text, max_bytes integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF value IS NULL OR value = '' THEN
        PERFORM jobqueue.refuse(pointer, 'must not be empty');
    ELSIF octet_length(value) > max_bytes THEN
        PERFORM jobqueue.refuse(pointer, format('must have at most %s bytes', max_bytes));
    ELSIF value ~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]' THEN
        PERFORM jobqueue.refuse(pointer, 'must not hold control or text-direction characters');
    END IF;
END $$;

CREATE FUNCTION jobqueue.check_unique(wish json) RETURNS smallint
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION jobqueue.claim_key(claim uuid, job uuid, keeps smallint, replaces boolean) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION jobqueue.created_at(id uuid) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;

CREATE FUNCTION jobqueue.enqueue(kind text, payload anycompatible DEFAULT '{}', queue text DEFAULT 'default'::text, priority integer DEFAULT 0, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay_seconds double precision DEFAULT NULL::double precision, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT 10, max_snoozes integer DEFAULT NULL::integer, retry anycompatible DEFAULT NULL::unknown, timeout_seconds double precision DEFAULT NULL::double precision, soft_timeout_seconds double precision DEFAULT NULL::double precision, "unique" anycompatible DEFAULT NULL::unknown, tags text[] DEFAULT NULL::text[], metadata anycompatible DEFAULT NULL::unknown, traceparent text DEFAULT NULL::text, unique_key text DEFAULT NULL::text, wake boolean DEFAULT false) RETURNS uuid
    LANGUAGE plpgsql
    AS $_$
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
END $_$;

CREATE FUNCTION jobqueue.forget(ids uuid[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE FUNCTION jobqueue.id_floor(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

CREATE FUNCTION jobqueue.json_problem(document json) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    content text := document::text;
    escaped boolean := strpos(content, E'\\u') > 0;
    bare text; brackets text; literal text; depth int := 0; members int;
BEGIN
    -- The usual document has no escaped character, no long number and few brackets. jsonb keeps one of equal keys, so if the document
    -- has the same key twice, its jsonb has fewer colons.
    IF NOT escaped AND length(content) - length(translate(content, '[{', '')) <= 64
       AND content !~ '[0-9]{209}|[eE][+]?[0-9]{3}' THEN
        members := length(content) - length(replace(content, ':', ''));
        IF members > 1 THEN
            bare := content::jsonb::text;
            IF members <> length(bare) - length(replace(bare, ':', '')) THEN
                RETURN 'must not have the same key twice in an object';
            END IF;
        END IF;
        RETURN NULL;
    END IF;
    IF escaped THEN
        BEGIN
            PERFORM content::jsonb;
        EXCEPTION
            WHEN untranslatable_character THEN RETURN 'must not hold the character U+0000';
            WHEN invalid_text_representation THEN RETURN 'must not hold a lone surrogate';
            WHEN numeric_value_out_of_range THEN NULL;   -- named below
        END;
    END IF;
    -- without its strings, every colon belongs to a member and every bracket to an object or an array
    bare := regexp_replace(content, E'"(?:[^"\\\\]|\\\\.)*"', 's', 'g');
    IF bare ~ '[0-9]{209}|[eE][+]?[0-9]{3}' THEN
        FOR literal IN SELECT m[1] FROM regexp_matches(bare, '([0-9]+(?:[.][0-9]+)?(?:[eE][-+]?[0-9]+)?)', 'g') m LOOP
            CONTINUE WHEN literal !~ '^[0.]*[1-9]' OR literal ~ '[eE]-0*[1-9][0-9]{3}';
            IF literal ~ '[eE][+]?0*[1-9][0-9]{3}' OR literal::numeric >= 1.797693134862315807937e308 THEN
                RETURN 'must not hold a number beyond the range of a double';
            END IF;
        END LOOP;
    END IF;
    brackets := translate(regexp_replace(bare, '[^][{}]+', '', 'g'), '{}', '[]');
    WHILE brackets <> '' LOOP
        depth := depth + 1;
        IF depth > 64 THEN RETURN 'must not be nested deeper than 64 levels'; END IF;
        brackets := replace(brackets, '[]', '');
    END LOOP;
    members := length(bare) - length(replace(bare, ':', ''));
    IF members > 1 THEN
        bare := regexp_replace(content::jsonb::text, E'"(?:[^"\\\\]|\\\\.)*"', 's', 'g');
        IF members <> length(bare) - length(replace(bare, ':', '')) THEN
            RETURN 'must not have the same key twice in an object';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION jobqueue.kept_since(status smallint, own_completed interval, own_failed interval, completed interval, failed interval) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT jobqueue.now() - CASE status WHEN 5 THEN coalesce(own_completed, completed) ELSE coalesce(own_failed, failed) END
$$;

CREATE FUNCTION jobqueue.kind_id(kind_name text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE found_id int;
BEGIN
    SELECT id INTO found_id FROM jobqueue.kind WHERE name = kind_name;
    IF found_id IS NULL THEN
        INSERT INTO jobqueue.kind (name) VALUES (kind_name) ON CONFLICT DO NOTHING;
        SELECT id INTO found_id FROM jobqueue.kind WHERE name = kind_name;
    END IF;
    RETURN found_id;
END $$;

CREATE FUNCTION jobqueue.lane_id(queue_name text, lane_priority smallint) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE found_id int;
BEGIN
    SELECT l.id INTO found_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
     WHERE q.name = queue_name AND l.priority = lane_priority;
    IF found_id IS NULL THEN
        INSERT INTO jobqueue.queue (name) VALUES (queue_name) ON CONFLICT DO NOTHING;
        INSERT INTO jobqueue.lane (queue_id, priority)
            SELECT q.id, lane_priority FROM jobqueue.queue q WHERE q.name = queue_name ON CONFLICT DO NOTHING;
        SELECT l.id INTO found_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
         WHERE q.name = queue_name AND l.priority = lane_priority;
    END IF;
    RETURN found_id;
END $$;

CREATE FUNCTION jobqueue.name_jobs() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE FUNCTION jobqueue.name_jobs_at_commit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $$
BEGIN
    PERFORM jobqueue.name_jobs();
    RETURN NULL;
END $$;

CREATE FUNCTION jobqueue.new_id() RETURNS uuid
    LANGUAGE sql
    AS $$
    SELECT (overlay(lpad(to_hex((extract(epoch FROM jobqueue.now() - now() + clock_timestamp()) * 4096000)::bigint), 15, '0')
                    PLACING '7' FROM 13 FOR 0) || right(gen_random_uuid()::text, 17))::uuid
$$;

CREATE FUNCTION jobqueue.now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT now() + coalesce(nullif(current_setting('jobqueue.clock_offset', true), ''), '0')::interval
$$;

CREATE FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $_$
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
END $_$;

CREATE FUNCTION jobqueue.queue_of(lane_number integer) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT q.name FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = lane_number
$$;

CREATE FUNCTION jobqueue.refuse(pointer text, message text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% %', pointer, message USING ERRCODE = '22023';
END $$;

CREATE FUNCTION jobqueue.retry(id uuid) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
    job jobqueue.body; now_is text;
BEGIN
    PERFORM FROM jobqueue.outcome o WHERE o.job_id = retry.id FOR UPDATE;
    now_is := jobqueue.status(id);
    SELECT * INTO job FROM jobqueue.body b WHERE b.id = retry.id;
    IF now_is IS NULL OR now_is NOT IN ('failed', 'cancelled') OR job.expires_at <= jobqueue.now() THEN
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

CREATE FUNCTION jobqueue.status(id uuid) RETURNS text
    LANGUAGE sql STABLE
    AS $$
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

CREATE FUNCTION jobqueue.tail(log text, max_bytes integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN octet_length(log) <= max_bytes THEN log ELSE (
        SELECT convert_from(substring(t.bytes FROM CASE WHEN get_byte(t.bytes, 0) & 192 <> 128 THEN 1
                                                        WHEN get_byte(t.bytes, 1) & 192 <> 128 THEN 2
                                                        WHEN get_byte(t.bytes, 2) & 192 <> 128 THEN 3 ELSE 4 END), 'UTF8')
          FROM (SELECT substring(convert_to(log, 'UTF8') FROM octet_length(log) - max_bytes + 1) AS bytes) t) END
$$;

CREATE FUNCTION jobqueue.unique_digest(scope text, within text, key text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT encode(substring(sha256(
        int8send(octet_length(convert_to(scope, 'UTF8'))) || convert_to(scope, 'UTF8')
        || int8send(octet_length(convert_to(within, 'UTF8'))) || convert_to(within, 'UTF8')
        || int8send(octet_length(convert_to(key, 'UTF8'))) || convert_to(key, 'UTF8')) FOR 16), 'hex')::uuid
$$;

CREATE FUNCTION jobqueue.withdraw(job uuid, reason json, free boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

SET default_tablespace = '';

CREATE TABLE jobqueue.attempt (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
PARTITION BY RANGE (job_id);

SET default_table_access_method = heap;

CREATE TABLE jobqueue.attempt_20261129 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.attempt_20261130 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.attempt_20261201 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.attempt_20261202 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.attempt_20261203 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.attempt_default (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    error json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
PARTITION BY RANGE (id);

CREATE TABLE jobqueue.body_20261129 (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body_20261130 (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body_20261201 (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body_20261202 (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body_20261203 (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.body_default (
    id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamp with time zone,
    expires_at timestamp with time zone,
    unique_key text,
    unique_digest uuid,
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.cancel_request (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    worker_id uuid,
    requested_at timestamp with time zone NOT NULL
);

CREATE TABLE jobqueue.cancel_wish (
    job_id uuid NOT NULL,
    is_first boolean NOT NULL
);

ALTER TABLE ONLY jobqueue.cancel_wish REPLICA IDENTITY FULL;

CREATE TABLE jobqueue.census (
    queue_id integer NOT NULL,
    scheduled bigint NOT NULL,
    queued bigint NOT NULL,
    running bigint NOT NULL,
    oldest_at timestamp with time zone,
    taken_at timestamp with time zone NOT NULL,
    rates_at timestamp with time zone,
    rates_queued bigint DEFAULT 0 NOT NULL,
    arrivals double precision DEFAULT 0 NOT NULL,
    attempts double precision DEFAULT 0 NOT NULL,
    run_ms double precision DEFAULT 0 NOT NULL,
    named boolean DEFAULT false NOT NULL,
    active_at timestamp with time zone
)
WITH (fillfactor='50');

CREATE TABLE jobqueue.census_state (
    id boolean DEFAULT true NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    named_queues integer NOT NULL,
    CONSTRAINT census_state_id_check CHECK (id)
);

CREATE TABLE jobqueue.counter (
    queue_id integer NOT NULL,
    created bigint DEFAULT 0 NOT NULL,
    completed bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    cancelled bigint DEFAULT 0 NOT NULL,
    retried bigint DEFAULT 0 NOT NULL,
    leased bigint DEFAULT 0 NOT NULL,
    lost bigint DEFAULT 0 NOT NULL,
    pruned bigint DEFAULT 0 NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    run_ms bigint DEFAULT 0 NOT NULL,
    snoozed bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE jobqueue.expiry (
    job_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE jobqueue.idempotency (
    key uuid NOT NULL,
    fingerprint uuid NOT NULL,
    answer json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    void_at timestamp with time zone
);

CREATE TABLE jobqueue.kind (
    id integer NOT NULL,
    name text NOT NULL
);

CREATE TABLE jobqueue.lane (
    id integer NOT NULL,
    queue_id integer NOT NULL,
    priority smallint NOT NULL
);

CREATE TABLE jobqueue.lease (
    epoch bigint NOT NULL,
    token uuid NOT NULL,
    worker_id uuid,
    queue_id integer NOT NULL,
    leased_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    open bigint NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE jobqueue.lease_jobs (
    epoch bigint NOT NULL,
    lane integer NOT NULL,
    job_ids uuid[] NOT NULL,
    attempts smallint[] NOT NULL,
    kinds integer[] NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE jobqueue.outcome (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
PARTITION BY RANGE (job_id);

CREATE TABLE jobqueue.queue (
    id integer NOT NULL,
    name text NOT NULL,
    paused_at timestamp with time zone,
    completed_retention interval,
    failed_retention interval,
    created_at timestamp with time zone DEFAULT jobqueue.now() NOT NULL,
    deleted_at timestamp with time zone,
    changed_at timestamp with time zone DEFAULT jobqueue.now() NOT NULL
);

CREATE TABLE jobqueue.ready (
    job_id uuid NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    attempt smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000', autovacuum_vacuum_cost_delay='0', autovacuum_vacuum_insert_scale_factor='0.2', vacuum_truncate=off);

CREATE VIEW jobqueue.running AS
 SELECT j.job_id,
    j.attempt,
    j.kind,
    h.lane,
    h.epoch,
    l.queue_id,
    l.worker_id,
    l.leased_at,
    l.expires_at,
    h.job_ids AS lease_jobs
   FROM ((jobqueue.lease_jobs h
     CROSS JOIN LATERAL UNNEST(h.job_ids, h.attempts, h.kinds) WITH ORDINALITY j(job_id, attempt, kind, place))
     CROSS JOIN LATERAL ( SELECT x.queue_id,
            x.worker_id,
            x.leased_at,
            x.expires_at,
            x.open
           FROM jobqueue.lease x
          WHERE (x.epoch = h.epoch)
         LIMIT 1) l)
  WHERE (((l.open >> ((j.place - 1))::integer) & (1)::bigint) = 1);

CREATE TABLE jobqueue.scheduled (
    job_id uuid NOT NULL,
    run_at timestamp with time zone NOT NULL,
    lane integer NOT NULL,
    kind integer NOT NULL,
    attempt smallint NOT NULL,
    pending integer
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE jobqueue.snooze (
    job_id uuid NOT NULL,
    snoozes integer DEFAULT 0 NOT NULL,
    max_snoozes integer
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

CREATE VIEW jobqueue.jobs AS
 SELECT r.job_id AS id,
    'queued'::text AS status,
    jobqueue.queue_of(r.lane) AS queue,
    ( SELECT k.name
           FROM jobqueue.kind k
          WHERE (k.id = r.kind)) AS kind,
    ( SELECT l.priority
           FROM jobqueue.lane l
          WHERE (l.id = r.lane)) AS priority,
    r.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = r.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = r.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = r.job_id)) AS tags,
    jobqueue.created_at(r.job_id) AS created_at,
    NULL::timestamp with time zone AS run_at,
    NULL::timestamp with time zone AS started_at,
    NULL::timestamp with time zone AS finished_at,
    NULL::uuid AS worker_id,
    NULL::json AS result,
    NULL::json AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = r.job_id)), 0) AS snoozes
   FROM jobqueue.ready r
UNION ALL
 SELECT s.job_id AS id,
    'scheduled'::text AS status,
    jobqueue.queue_of(s.lane) AS queue,
    ( SELECT k.name
           FROM jobqueue.kind k
          WHERE (k.id = s.kind)) AS kind,
    ( SELECT l.priority
           FROM jobqueue.lane l
          WHERE (l.id = s.lane)) AS priority,
    s.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS tags,
    jobqueue.created_at(s.job_id) AS created_at,
    s.run_at,
    NULL::timestamp with time zone AS started_at,
    NULL::timestamp with time zone AS finished_at,
    NULL::uuid AS worker_id,
    NULL::json AS result,
    NULL::json AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = s.job_id)), 0) AS snoozes
   FROM jobqueue.scheduled s
  WHERE (s.pending IS NULL)
UNION ALL
 SELECT s.job_id AS id,
    'blocked'::text AS status,
    jobqueue.queue_of(s.lane) AS queue,
    ( SELECT k.name
           FROM jobqueue.kind k
          WHERE (k.id = s.kind)) AS kind,
    ( SELECT l.priority
           FROM jobqueue.lane l
          WHERE (l.id = s.lane)) AS priority,
    s.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = s.job_id)) AS tags,
    jobqueue.created_at(s.job_id) AS created_at,
    s.run_at,
    NULL::timestamp with time zone AS started_at,
    NULL::timestamp with time zone AS finished_at,
    NULL::uuid AS worker_id,
    NULL::json AS result,
    NULL::json AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = s.job_id)), 0) AS snoozes
   FROM jobqueue.scheduled s
  WHERE (s.pending IS NOT NULL)
UNION ALL
 SELECT j.job_id AS id,
    'running'::text AS status,
    ( SELECT q.name
           FROM jobqueue.queue q
          WHERE (q.id = j.queue_id)) AS queue,
    ( SELECT k.name
           FROM jobqueue.kind k
          WHERE (k.id = j.kind)) AS kind,
    ( SELECT p.priority
           FROM jobqueue.lane p
          WHERE (p.id = j.lane)) AS priority,
    j.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = j.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = j.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = j.job_id)) AS tags,
    jobqueue.created_at(j.job_id) AS created_at,
    NULL::timestamp with time zone AS run_at,
    j.leased_at AS started_at,
    NULL::timestamp with time zone AS finished_at,
    j.worker_id,
    NULL::json AS result,
    NULL::json AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = j.job_id)), 0) AS snoozes
   FROM jobqueue.running j
UNION ALL
 SELECT o.job_id AS id,
    'completed'::text AS status,
    ( SELECT jobqueue.queue_of(b.lane) AS queue_of
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS queue,
    ( SELECT k.name
           FROM (jobqueue.kind k
             JOIN jobqueue.body b ON ((b.kind = k.id)))
          WHERE (b.id = o.job_id)) AS kind,
    ( SELECT p.priority
           FROM (jobqueue.lane p
             JOIN jobqueue.body b ON ((b.lane = p.id)))
          WHERE (b.id = o.job_id)) AS priority,
    o.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS tags,
    jobqueue.created_at(o.job_id) AS created_at,
    NULL::timestamp with time zone AS run_at,
    o.started_at,
    o.finished_at,
    o.worker_id,
    o.detail AS result,
    NULL::json AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = o.job_id)), 0) AS snoozes
   FROM jobqueue.outcome o
  WHERE (o.status = 5)
UNION ALL
 SELECT o.job_id AS id,
    'failed'::text AS status,
    ( SELECT jobqueue.queue_of(b.lane) AS queue_of
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS queue,
    ( SELECT k.name
           FROM (jobqueue.kind k
             JOIN jobqueue.body b ON ((b.kind = k.id)))
          WHERE (b.id = o.job_id)) AS kind,
    ( SELECT p.priority
           FROM (jobqueue.lane p
             JOIN jobqueue.body b ON ((b.lane = p.id)))
          WHERE (b.id = o.job_id)) AS priority,
    o.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS tags,
    jobqueue.created_at(o.job_id) AS created_at,
    NULL::timestamp with time zone AS run_at,
    o.started_at,
    o.finished_at,
    o.worker_id,
    NULL::json AS result,
    o.detail AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = o.job_id)), 0) AS snoozes
   FROM jobqueue.outcome o
  WHERE (o.status = 6)
UNION ALL
 SELECT o.job_id AS id,
    'cancelled'::text AS status,
    ( SELECT jobqueue.queue_of(b.lane) AS queue_of
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS queue,
    ( SELECT k.name
           FROM (jobqueue.kind k
             JOIN jobqueue.body b ON ((b.kind = k.id)))
          WHERE (b.id = o.job_id)) AS kind,
    ( SELECT p.priority
           FROM (jobqueue.lane p
             JOIN jobqueue.body b ON ((b.lane = p.id)))
          WHERE (b.id = o.job_id)) AS priority,
    o.attempt,
    ( SELECT b.max_attempts
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS max_attempts,
    ( SELECT b.payload
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS payload,
    ( SELECT b.tags
           FROM jobqueue.body b
          WHERE (b.id = o.job_id)) AS tags,
    jobqueue.created_at(o.job_id) AS created_at,
    NULL::timestamp with time zone AS run_at,
    o.started_at,
    o.finished_at,
    o.worker_id,
    NULL::json AS result,
    o.detail AS error,
    COALESCE(( SELECT z.snoozes
           FROM jobqueue.snooze z
          WHERE (z.job_id = o.job_id)), 0) AS snoozes
   FROM jobqueue.outcome o
  WHERE (o.status = 7);

COMMENT ON VIEW jobqueue.jobs IS 'Every job with its status. Filter by status first; to look one job up by id, the REST API is cheaper.';

ALTER TABLE jobqueue.kind ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME jobqueue.kind_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE jobqueue.lane ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME jobqueue.lane_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE jobqueue.lease_epoch
    START WITH 1
    INCREMENT BY 1000
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE jobqueue.worker (
    id uuid NOT NULL,
    name text NOT NULL,
    queues text[] NOT NULL,
    slots integer,
    version text,
    started_at timestamp with time zone NOT NULL,
    beat_at timestamp with time zone NOT NULL,
    stale_ms bigint,
    draining boolean DEFAULT false NOT NULL,
    steady_since timestamp with time zone,
    kinds text[] DEFAULT '{}'::text[] NOT NULL
)
WITH (fillfactor='50');

CREATE VIEW jobqueue.live_worker AS
 SELECT w.id,
    w.name,
    w.queues,
    w.kinds,
    w.slots,
    w.version,
    w.started_at,
    w.beat_at,
    w.draining,
    (w.stale_ms IS NULL) AS remote
   FROM jobqueue.worker w
  WHERE ((w.beat_at > (jobqueue.now() - ((COALESCE(w.stale_ms, (60000)::bigint))::double precision * '00:00:00.001'::interval))) OR ((w.stale_ms IS NULL) AND (w.id IN ( SELECT l.worker_id
           FROM jobqueue.lease l
          WHERE (l.expires_at > jobqueue.now())))));

CREATE TABLE jobqueue.migration (
    version bigint NOT NULL,
    description text NOT NULL,
    checksum bytea NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE jobqueue.outage (
    ended_at timestamp with time zone NOT NULL,
    began_at timestamp with time zone NOT NULL
);

CREATE TABLE jobqueue.outcome_20261129 (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.outcome_20261130 (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.outcome_20261201 (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.outcome_20261202 (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.outcome_20261203 (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.outcome_default (
    job_id uuid NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.tally (
    queue_id integer NOT NULL,
    created integer DEFAULT 0 NOT NULL,
    completed integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    cancelled integer DEFAULT 0 NOT NULL,
    retried integer DEFAULT 0 NOT NULL,
    leased integer DEFAULT 0 NOT NULL,
    lost integer DEFAULT 0 NOT NULL,
    pruned integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    run_ms bigint DEFAULT 0 NOT NULL,
    snoozed integer DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

ALTER TABLE ONLY jobqueue.tally REPLICA IDENTITY FULL;

CREATE VIEW jobqueue.present_queue AS
 SELECT q.id,
    q.name,
    q.paused_at,
    q.completed_retention,
    q.failed_retention
   FROM jobqueue.queue q
  WHERE (q.deleted_at IS NULL)
UNION ALL
 SELECT q.id,
    q.name,
    q.paused_at,
    q.completed_retention,
    q.failed_retention
   FROM jobqueue.queue q
  WHERE ((q.deleted_at IS NOT NULL) AND (q.id = ANY (ARRAY( SELECT t.queue_id
           FROM jobqueue.tally t
          WHERE ((t.created > 0) OR (t.retried > 0) OR (t.leased > 0))))));

CREATE TABLE jobqueue.prune_pass (
    day text NOT NULL,
    after uuid NOT NULL,
    ended_at timestamp with time zone
);

ALTER TABLE jobqueue.queue ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME jobqueue.queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE jobqueue.report (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (job_id);

CREATE TABLE jobqueue.report_20261129 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.report_20261130 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.report_20261201 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.report_20261202 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.report_20261203 (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.report_default (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_insert_threshold='-1');

CREATE TABLE jobqueue.schema_version (
    version integer NOT NULL,
    oldest_binary integer NOT NULL
);

ALTER TABLE ONLY jobqueue.schema_version REPLICA IDENTITY FULL;

CREATE SEQUENCE jobqueue.sql_calls
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE jobqueue.unique_claim (
    digest uuid NOT NULL,
    job_id uuid NOT NULL,
    kept smallint NOT NULL
);

CREATE TABLE jobqueue.unnamed (
    job_id uuid NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    kind text NOT NULL,
    is_first boolean NOT NULL,
    cancelled boolean DEFAULT false NOT NULL
);

CREATE TABLE jobqueue.watch (
    only_row boolean DEFAULT true NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    CONSTRAINT watch_only_row_check CHECK (only_row)
)
WITH (fillfactor='10');

CREATE VIEW public.jobs AS
 SELECT jobs.id,
    jobs.status,
    jobs.queue,
    jobs.kind,
    jobs.priority,
    jobs.attempt,
    jobs.max_attempts,
    jobs.payload,
    jobs.tags,
    jobs.created_at,
    jobs.run_at,
    jobs.started_at,
    jobs.finished_at,
    jobs.worker_id,
    jobs.result,
    jobs.error,
    jobs.snoozes
   FROM jobqueue.jobs;

COMMENT ON VIEW public.jobs IS 'Every job with its status. Filter by status first; to look one job up by id, the REST API is cheaper.';

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_20261129 FOR VALUES FROM ('01a22499-f800-0000-0000-000000000000') TO ('01a229c0-5400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_20261201 FOR VALUES FROM ('01a22ee6-b000-0000-0000-000000000000') TO ('01a2340d-0c00-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_20261202 FOR VALUES FROM ('01a2340d-0c00-0000-0000-000000000000') TO ('01a23933-6800-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_20261203 FOR VALUES FROM ('01a23933-6800-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.attempt ATTACH PARTITION jobqueue.attempt_default DEFAULT;

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_20261129 FOR VALUES FROM ('01a22499-f800-0000-0000-000000000000') TO ('01a229c0-5400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_20261201 FOR VALUES FROM ('01a22ee6-b000-0000-0000-000000000000') TO ('01a2340d-0c00-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_20261202 FOR VALUES FROM ('01a2340d-0c00-0000-0000-000000000000') TO ('01a23933-6800-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_20261203 FOR VALUES FROM ('01a23933-6800-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.body ATTACH PARTITION jobqueue.body_default DEFAULT;

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_20261129 FOR VALUES FROM ('01a22499-f800-0000-0000-000000000000') TO ('01a229c0-5400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_20261201 FOR VALUES FROM ('01a22ee6-b000-0000-0000-000000000000') TO ('01a2340d-0c00-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_20261202 FOR VALUES FROM ('01a2340d-0c00-0000-0000-000000000000') TO ('01a23933-6800-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_20261203 FOR VALUES FROM ('01a23933-6800-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.outcome ATTACH PARTITION jobqueue.outcome_default DEFAULT;

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_20261129 FOR VALUES FROM ('01a22499-f800-0000-0000-000000000000') TO ('01a229c0-5400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_20261201 FOR VALUES FROM ('01a22ee6-b000-0000-0000-000000000000') TO ('01a2340d-0c00-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_20261202 FOR VALUES FROM ('01a2340d-0c00-0000-0000-000000000000') TO ('01a23933-6800-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_20261203 FOR VALUES FROM ('01a23933-6800-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY jobqueue.report ATTACH PARTITION jobqueue.report_default DEFAULT;

INSERT INTO jobqueue.attempt_20261130 VALUES
	('01a22a34-0d12-703d-bc98-824a812cc5d6', 2001, 1, 'failed', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.022801+00', '2026-11-30 02:06:24.042287+00', '{"type":"gone","message":"not there","details":{"code": 404}}'),
	('01a22a34-0d35-7c4d-bf27-7a537ba0e69e', 3001, 1, 'failed', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.061237+00', '2026-11-30 02:06:24.069434+00', '{"type":"last","message":"the only attempt"}'),
	('01a22a34-0d51-76e9-86bb-9520c7ad8aa9', 4001, 1, 'cancelled', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.089924+00', '2026-11-30 02:06:24.100282+00', '{"type":"cancelled","message":"cancelled while it was running"}'),
	('01a22a34-0e0f-7ac4-912d-19cd16aed993', 6001, 1, 'retried', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.287712+00', '2026-11-30 02:06:24.306272+00', '{"type":"x","message":"again"}'),
	('01a22a34-0e50-7204-ba22-7362c49be59f', 7001, 1, 'snoozed', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.358801+00', '2026-11-30 02:06:24.382791+00', NULL),
	('01a22a34-0ea3-7d85-b5c1-9498d159a399', 8001, 1, 'released', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.425193+00', '2026-11-30 02:06:24.455055+00', NULL),
	('01a22a34-0ee1-7414-b820-7d4908585e61', 9001, 1, 'retried', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.491404+00', '2026-11-30 02:06:24.506614+00', '{"type":"first","message":""}'),
	('01a22a34-0f3b-7a20-9f7c-56ca33297532', 11001, 1, 'failed', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.574401+00', '2026-11-30 02:06:24.58462+00', '{"type":"x","message":""}'),
	('01a22a34-0f5c-748b-a9ea-1e32a6b40132', 12001, 1, 'lost', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:24.617618+00', '2026-11-30 02:06:55.703792+00', '{"type":"lease_lost","message":"the worker died or lost its lease before it reported"}'),
	('01a22a34-89c8-7608-8611-64bb5db1298b', 14001, 1, 'failed', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:55.947187+00', '2026-11-30 02:06:55.95804+00', '{"type":"x","message":""}');

INSERT INTO jobqueue.body_20261130 VALUES
	('01a22a34-0cb4-728f-9eac-93630bcbb8a2', 1, 1, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0cfb-75df-ba44-df9c5669d962', 1, 1, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0d12-703d-bc98-824a812cc5d6', 1, 1, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0d35-7c4d-bf27-7a537ba0e69e', 1, 1, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0d51-76e9-86bb-9520c7ad8aa9', 1, 1, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0d73-7c39-a709-f9df64865ba5', 1, 1, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0d8e-7028-8977-d3df4f4eee75', 1, 1, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0e0f-7ac4-912d-19cd16aed993', 2, 2, 10, '{}', '{"strategy":"fixed","delay_seconds":86400.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0e50-7204-ba22-7362c49be59f', 3, 2, 10, '{}', '{"strategy":"fixed","delay_seconds":86400.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0ea3-7d85-b5c1-9498d159a399', 4, 2, 10, '{}', '{"strategy":"fixed","delay_seconds":86400.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0ee1-7414-b820-7d4908585e61', 5, 2, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0f3b-7a20-9f7c-56ca33297532', 6, 2, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0f5c-748b-a9ea-1e32a6b40132', 7, 2, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-0f86-75fc-afb9-e21a2498179b', 8, 2, 10, '{}', NULL, NULL, NULL, NULL, '2026-11-30 02:06:25.642791+00', NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-1021-78bc-a757-5c08490b7de6', 9, 3, 10, '{"order":42}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8960-745e-865a-b122d791b5b0', 9, 4, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8960-747e-ad91-c8aa629d6fff', 9, 5, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8968-7f85-8c10-394869acc69b', 10, 6, 10, '{}', NULL, NULL, NULL, NULL, NULL, 'waits', '39347c8d-31f8-dfa3-b5d1-22f5c045ef7d', 0, NULL, NULL, NULL),
	('01a22a34-8976-758d-80ae-aa33d7a131f8', 11, 6, 10, '{}', NULL, NULL, NULL, NULL, NULL, 'é', 'bb17f421-e604-4091-91c1-a04db2807abf', 0, NULL, NULL, NULL),
	('01a22a34-8980-7087-baee-528717292859', 12, 6, 10, '{}', NULL, NULL, NULL, NULL, NULL, 'ended', 'b3f6d0f1-ad1c-e5a4-51f2-d4167bc137a9', 7, NULL, NULL, NULL),
	('01a22a34-89c8-7608-8611-64bb5db1298b', 13, 6, 10, '{}', NULL, NULL, NULL, NULL, NULL, 'dead', '96e2f1e0-2eb9-dc4e-6bc9-6e896575a194', 7, NULL, NULL, NULL),
	('01a22a34-89df-7312-a168-5d5591ba78d9', 14, 7, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-89e7-7c3d-9b9a-1dc23ecf7028', 15, 7, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8a0b-7808-b724-930e4b79cc67', 16, 8, 3, '{ "n":18446744073709551616, "price": 0.10, "text": "\u00e9" }', '{"strategy":"list","delays_seconds":[1.0,2.5]}', 60000, 50500, NULL, '2100-01-01 00:00:00+00', NULL, NULL, NULL, '{x,"é 😀"}', '{"by": "ann"}', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
	('01a22a34-8a14-7d53-a999-cfb05dd5aefc', 17, 8, 10, '{}', '{"strategy":"exponential","base_seconds":1.0,"factor":3.0,"max_seconds":60.0,"jitter":0.5}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8a17-7200-9865-7733a63a5644', 17, 8, 10, '{}', '{"strategy":"linear","step_seconds":5.0,"max_seconds":60.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8a1c-78e5-83df-36f3446bd797', 18, 8, 10, '{}', NULL, NULL, NULL, '2100-01-01 00:00:00+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-110f-713f-92e3-e5b5ba63bb74', 18, 9, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-110f-7dec-95d1-5d2905bd832d', 20, 9, 10, '{"a": 1.0}', NULL, NULL, NULL, '2026-12-01 02:06:25.03881+00', NULL, 'sql', 'deb9a27b-ce1c-85ff-c829-2621888c4de5', 0, '{t}', NULL, NULL),
	('01a22a34-1112-7bd3-b11d-81198ed8f292', 19, 9, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8a3f-76b0-819b-3a71d547ddf9', 21, 10, 1, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8a80-77fb-94ea-690c41d6c075', 21, 10, 2, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8ac5-75db-90f0-8355e8e53ad0', 21, 10, 3, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8ae5-76dd-ac82-01b73365d9b0', 22, 10, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8af0-7435-ba1d-38444c8c9c86', 22, 10, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8afe-721c-9a63-16ccecae184e', 22, 10, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('01a22a34-8b00-7f33-8a29-201e2c417258', 22, 10, 10, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO jobqueue.cancel_request VALUES
	('01a22a34-8a3f-76b0-819b-3a71d547ddf9', 15001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', '2026-11-30 02:06:56.087116+00');

INSERT INTO jobqueue.census VALUES
	(22, 0, 0, 3, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(11, 0, 1, 0, '2026-11-30 02:06:55.862+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(9, 0, 3, 0, '2026-11-30 02:06:24.801+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 3, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(15, 0, 1, 0, '2026-11-30 02:06:55.975+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(21, 1, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(3, 1, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(17, 1, 4, 0, '2026-11-30 02:06:25.039+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 4, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(5, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(4, 0, 1, 0, '2026-11-30 02:06:24.419+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(10, 0, 1, 0, '2026-11-30 02:06:55.848+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(6, 0, 1, 0, '2026-11-30 02:06:24.571+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(14, 0, 1, 0, '2026-11-30 02:06:55.967+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(13, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(2, 1, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(7, 0, 1, 0, '2026-11-30 02:06:55.703792+00', '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 1, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(16, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, NULL),
	(12, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(20, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(1, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(23, 0, 0, 3, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00'),
	(8, 0, 0, 0, NULL, '2026-11-30 02:06:56.305914+00', '2026-11-30 02:06:56.305914+00', 0, 0, 0, 0, true, '2026-11-30 02:06:56.305914+00');

INSERT INTO jobqueue.census_state VALUES
	(true, '2026-11-30 02:06:56.305914+00', 200);

INSERT INTO jobqueue.counter VALUES
	(22, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0),
	(11, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(9, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(15, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(21, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(3, 1, 0, 0, 0, 0, 1, 0, 0, 1, 24, 1),
	(17, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(5, 1, 1, 0, 0, 1, 2, 0, 0, 2, 33, 0),
	(4, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0),
	(10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(6, 1, 0, 1, 0, 1, 1, 0, 0, 1, 10, 0),
	(14, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(13, 1, 0, 1, 0, 0, 1, 0, 0, 1, 11, 0),
	(2, 1, 0, 0, 0, 1, 1, 0, 0, 1, 19, 0),
	(7, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0),
	(12, 1, 1, 0, 0, 0, 1, 0, 0, 1, 28, 0),
	(20, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0),
	(1, 7, 3, 2, 2, 0, 6, 0, 0, 6, 146, 0),
	(23, 4, 1, 0, 0, 0, 4, 0, 0, 1, 27, 0),
	(8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);

INSERT INTO jobqueue.expiry VALUES
	('01a22a34-8a0b-7808-b724-930e4b79cc67', '2100-01-01 00:00:00+00');

INSERT INTO jobqueue.idempotency VALUES
	('2c547260-bc39-bf54-b42c-7ea507bf5924', '24027897-297f-39ab-e8d9-b6c5105c7a2a', '[{"Created":{"id":"01a22a34-1021-78bc-a757-5c08490b7de6","status":"queued"}}]', '2026-11-30 02:06:55.799321+00', NULL),
	('0bf385e2-97b7-9dc3-7384-2e902c3f9c5e', '22b19db1-0b39-fc98-c5cf-f17e9f817726', '[{"Created":{"id":"01a22a34-8960-745e-865a-b122d791b5b0","status":"queued"}},{"Created":{"id":"01a22a34-8960-747e-ad91-c8aa629d6fff","status":"queued"}}]', '2026-11-30 02:06:55.83703+00', NULL);

INSERT INTO jobqueue.kind OVERRIDING SYSTEM VALUE VALUES
	(1, 'report.build'),
	(2, 'sync'),
	(3, 'invoice'),
	(4, 'a'),
	(5, 'b'),
	(6, 'import'),
	(7, 'mail'),
	(8, 'mail.send'),
	(9, 'in.sql'),
	(10, 'encode');

INSERT INTO jobqueue.lane OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 0),
	(2, 2, 0),
	(3, 3, 0),
	(4, 4, 0),
	(5, 5, 0),
	(6, 6, 0),
	(7, 7, 0),
	(8, 8, 0),
	(9, 9, 0),
	(10, 10, 0),
	(11, 11, 0),
	(12, 12, 0),
	(13, 13, 0),
	(14, 14, 0),
	(15, 15, 0),
	(16, 17, 7),
	(17, 17, -100),
	(18, 17, 0),
	(19, 20, 0),
	(20, 21, 0),
	(21, 22, 0),
	(22, 23, 0);

INSERT INTO jobqueue.lease VALUES
	(15001, 'ff45cb2d-0f3c-48d9-be74-7ba3457ef0d4', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 22, '2026-11-30 02:06:56.0762+00', '2026-11-30 03:06:56.0762+00', 1),
	(16001, '1df29e6d-9bf9-4065-860a-2f5dcf505d86', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 22, '2026-11-30 02:06:56.163685+00', '2026-11-30 03:06:56.163685+00', 1),
	(17001, 'a1e1671c-a941-42c8-98d5-e8cef405eac3', '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 22, '2026-11-30 02:06:56.209822+00', '2026-11-30 03:06:56.209822+00', 1),
	(18001, 'd0e910fe-d73d-4d10-8729-7a15088a2486', '0190d5a0-0000-7000-8000-000000000001', 23, '2026-11-30 02:06:56.261786+00', '2026-11-30 02:11:56.261786+00', 13);

INSERT INTO jobqueue.lease_jobs VALUES
	(15001, 21, '{01a22a34-8a3f-76b0-819b-3a71d547ddf9}', '{1}', '{10}'),
	(16001, 21, '{01a22a34-8a80-77fb-94ea-690c41d6c075}', '{1}', '{10}'),
	(17001, 21, '{01a22a34-8ac5-75db-90f0-8355e8e53ad0}', '{1}', '{10}'),
	(18001, 22, '{01a22a34-8ae5-76dd-ac82-01b73365d9b0,01a22a34-8af0-7435-ba1d-38444c8c9c86,01a22a34-8afe-721c-9a63-16ccecae184e,01a22a34-8b00-7f33-8a29-201e2c417258}', '{1,1,1,1}', '{10,10,10,10}');

INSERT INTO jobqueue.migration VALUES
	(101, 'names and clock', '\x9e8e1454178bda02d0f69614b3130e200603c3cdbfaaa679cfc41174e789b6e335ba95eba1072dca72617aa8983018ee', '2026-11-30 02:06:23.488277+00'),
	(102, 'jobs', '\xd1a3778a4c5086c5e253339930b05951d469312b1f06b9017be1d8d1058b5793cf8fa1505db57d7e95befd9fb04b2df4', '2026-11-30 02:06:23.527921+00'),
	(103, 'side tables', '\xa730fb9fb60cc0a609e7919ec7ad38eabdd5ee63121a41eecfa4d3455423e7c28ab9e5cc306e826f020e00c192400587', '2026-11-30 02:06:23.602667+00'),
	(104, 'counts', '\xa09280cfd9e8a1080e7c93a1d54cb23375b3edb104a0e84adcee446cb5db001dd2c32fa85cef897955b7568c685bcb7a', '2026-11-30 02:06:23.616538+00'),
	(105, 'retention', '\xf527fcf0f460a6713d71727f2674ccbcf24962088580c41806d6151241dc8d654539e10ce7cfaf04e461860b5d9bcbb6', '2026-11-30 02:06:23.625766+00'),
	(106, 'jobs view', '\xd19a96d3efba7a35f7f9803879fb35ce76f018a701cbf1518532b1560b60b3dda55b61da1a51acc02c517da635842792', '2026-11-30 02:06:23.628556+00'),
	(107, 'checks', '\x9b38cd0a621c6078052754ac86aee50412c41bcd6bf8914ad0f1b5646b86914a9f10a3716f8b9ada9e9fde1c29690f1a', '2026-11-30 02:06:23.640606+00'),
	(108, 'enqueue', '\x3b8dfed0cac852cf9eca15db0c31387c660f06dfb5a1a8b3b9256279f41deeb7af078ca58e36bfcd9a5c3fca41591d6a', '2026-11-30 02:06:23.642713+00'),
	(109, 'sql verbs', '\xd83ef40d079cd1f1f7ae3db0d70e7b075c5cad4d6428cb81397437498ab6117b8703ba2f6d192d9a73743a718023c44f', '2026-11-30 02:06:23.650873+00');

INSERT INTO jobqueue.outcome_20261130 VALUES
	('01a22a34-0cb4-728f-9eac-93630bcbb8a2', '2026-11-30 02:06:23.95543+00', '2026-11-30 02:06:23.974789+00', 1, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 5, 1, NULL),
	('01a22a34-0cfb-75df-ba44-df9c5669d962', '2026-11-30 02:06:23.999286+00', '2026-11-30 02:06:24.00904+00', 1001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 5, 1, '{ "n":18446744073709551616, "price": 1.10, "text": "é 😀" }'),
	('01a22a34-0d12-703d-bc98-824a812cc5d6', '2026-11-30 02:06:24.022801+00', '2026-11-30 02:06:24.042287+00', 2001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 6, 1, '{"type":"gone","message":"not there","details":{"code": 404}}'),
	('01a22a34-0d35-7c4d-bf27-7a537ba0e69e', '2026-11-30 02:06:24.061237+00', '2026-11-30 02:06:24.069434+00', 3001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 6, 1, '{"type":"last","message":"the only attempt"}'),
	('01a22a34-0d51-76e9-86bb-9520c7ad8aa9', '2026-11-30 02:06:24.089924+00', '2026-11-30 02:06:24.100282+00', 4001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 7, 1, '{"type":"cancelled","message":"cancelled while it was running"}'),
	('01a22a34-0d73-7c39-a709-f9df64865ba5', NULL, '2026-11-30 02:06:24.118373+00', NULL, NULL, 7, 0, '{"type":"cancelled","message":"cancelled by request"}'),
	('01a22a34-0d8e-7028-8977-d3df4f4eee75', '2026-11-30 02:06:24.148394+00', '2026-11-30 02:06:24.22843+00', 5001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 5, 1, '[]'),
	('01a22a34-0ee1-7414-b820-7d4908585e61', '2026-11-30 02:06:24.534794+00', '2026-11-30 02:06:24.552643+00', 10001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 5, 2, '"second"'),
	('01a22a34-0f86-75fc-afb9-e21a2498179b', NULL, '2026-11-30 02:06:55.746803+00', NULL, NULL, 7, 0, '{"type":"expired","message":"expires_at passed before the job started"}'),
	('01a22a34-8980-7087-baee-528717292859', '2026-11-30 02:06:55.903339+00', '2026-11-30 02:06:55.931048+00', 13001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 5, 1, NULL),
	('01a22a34-89c8-7608-8611-64bb5db1298b', '2026-11-30 02:06:55.947187+00', '2026-11-30 02:06:55.95804+00', 14001, '0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 6, 1, '{"type":"x","message":""}'),
	('01a22a34-1112-7bd3-b11d-81198ed8f292', NULL, '2026-11-30 02:06:25.046123+00', NULL, NULL, 7, 0, '{"type":"cancelled","message":"cancelled by request"}'),
	('01a22a34-8af0-7435-ba1d-38444c8c9c86', '2026-11-30 02:06:56.261786+00', '2026-11-30 02:06:56.289266+00', 18001, '0190d5a0-0000-7000-8000-000000000001', 5, 1, NULL);

INSERT INTO jobqueue.queue OVERRIDING SYSTEM VALUE VALUES
	(1, 'ended', NULL, NULL, NULL, '2026-11-30 02:06:23.784276+00', NULL, '2026-11-30 02:06:23.784276+00'),
	(2, 'tried-failed', NULL, NULL, NULL, '2026-11-30 02:06:24.242964+00', NULL, '2026-11-30 02:06:24.242964+00'),
	(3, 'tried-snoozed', NULL, NULL, NULL, '2026-11-30 02:06:24.33097+00', NULL, '2026-11-30 02:06:24.33097+00'),
	(4, 'tried-released', NULL, NULL, NULL, '2026-11-30 02:06:24.402955+00', NULL, '2026-11-30 02:06:24.402955+00'),
	(5, 'twice', NULL, NULL, NULL, '2026-11-30 02:06:24.466797+00', NULL, '2026-11-30 02:06:24.466797+00'),
	(6, 'again', NULL, NULL, NULL, '2026-11-30 02:06:24.563129+00', NULL, '2026-11-30 02:06:24.563129+00'),
	(7, 'lost', NULL, NULL, NULL, '2026-11-30 02:06:24.601115+00', NULL, '2026-11-30 02:06:24.601115+00'),
	(8, 'expired', NULL, NULL, NULL, '2026-11-30 02:06:24.642791+00', NULL, '2026-11-30 02:06:24.642791+00'),
	(9, 'keyed', NULL, NULL, NULL, '2026-11-30 02:06:55.77522+00', NULL, '2026-11-30 02:06:55.77522+00'),
	(10, 'unique', NULL, NULL, NULL, '2026-11-30 02:06:55.846091+00', NULL, '2026-11-30 02:06:55.846091+00'),
	(11, 'unique-global', NULL, NULL, NULL, '2026-11-30 02:06:55.859051+00', NULL, '2026-11-30 02:06:55.859051+00'),
	(12, 'unique-queue', NULL, NULL, NULL, '2026-11-30 02:06:55.867038+00', NULL, '2026-11-30 02:06:55.867038+00'),
	(13, 'unique-kept', NULL, NULL, NULL, '2026-11-30 02:06:55.939176+00', NULL, '2026-11-30 02:06:55.939176+00'),
	(14, 'paused', '2026-11-30 02:06:55.978018+00', NULL, NULL, '2026-11-30 02:06:55.961546+00', NULL, '2026-11-30 02:06:55.978018+00'),
	(15, 'kept', NULL, '01:00:00', '02:00:00', '2026-11-30 02:06:55.968971+00', NULL, '2026-11-30 02:06:55.983033+00'),
	(16, 'empty', NULL, NULL, '00:00:00', '2026-11-30 02:06:55.989826+00', NULL, '2026-11-30 02:06:55.990778+00'),
	(17, 'waiting', NULL, NULL, NULL, '2026-11-30 02:06:56.003042+00', NULL, '2026-11-30 02:06:56.003042+00'),
	(20, 'cancelled-in-sql', NULL, NULL, NULL, '2026-11-30 02:06:25.03881+00', NULL, '2026-11-30 02:06:25.03881+00'),
	(21, 'new-in-sql', NULL, NULL, NULL, '2026-11-30 02:06:25.03881+00', NULL, '2026-11-30 02:06:25.03881+00'),
	(22, 'remote', NULL, NULL, NULL, '2026-11-30 02:06:56.053913+00', NULL, '2026-11-30 02:06:56.053913+00'),
	(23, 'local', NULL, NULL, NULL, '2026-11-30 02:06:56.227015+00', NULL, '2026-11-30 02:06:56.227015+00');

INSERT INTO jobqueue.ready VALUES
	('01a22a34-0ea3-7d85-b5c1-9498d159a399', 4, 2, 0),
	('01a22a34-0f3b-7a20-9f7c-56ca33297532', 6, 2, 0),
	('01a22a34-0f5c-748b-a9ea-1e32a6b40132', 7, 2, 1),
	('01a22a34-1021-78bc-a757-5c08490b7de6', 9, 3, 0),
	('01a22a34-8960-745e-865a-b122d791b5b0', 9, 4, 0),
	('01a22a34-8960-747e-ad91-c8aa629d6fff', 9, 5, 0),
	('01a22a34-8968-7f85-8c10-394869acc69b', 10, 6, 0),
	('01a22a34-8976-758d-80ae-aa33d7a131f8', 11, 6, 0),
	('01a22a34-89df-7312-a168-5d5591ba78d9', 14, 7, 0),
	('01a22a34-89e7-7c3d-9b9a-1dc23ecf7028', 15, 7, 0),
	('01a22a34-8a0b-7808-b724-930e4b79cc67', 16, 8, 0),
	('01a22a34-8a14-7d53-a999-cfb05dd5aefc', 17, 8, 0),
	('01a22a34-8a17-7200-9865-7733a63a5644', 17, 8, 0),
	('01a22a34-110f-713f-92e3-e5b5ba63bb74', 18, 9, 0);

INSERT INTO jobqueue.report_20261130 VALUES
	('01a22a34-0d8e-7028-8977-d3df4f4eee75', 5001, '{"done":0.5}', 'half
', '2026-11-30 02:06:24.206775+00');

INSERT INTO jobqueue.scheduled VALUES
	('01a22a34-0e0f-7ac4-912d-19cd16aed993', '2026-12-01 02:06:24.306272+00', 2, 2, 1, NULL),
	('01a22a34-0e50-7204-ba22-7362c49be59f', '2026-12-01 02:06:24.382791+00', 3, 2, 0, NULL),
	('01a22a34-8a1c-78e5-83df-36f3446bd797', '2100-01-01 00:00:00+00', 18, 8, 0, NULL),
	('01a22a34-110f-7dec-95d1-5d2905bd832d', '2026-12-01 02:06:25.03881+00', 20, 9, 0, NULL);

INSERT INTO jobqueue.schema_version VALUES
	(109, 1);

INSERT INTO jobqueue.snooze VALUES
	('01a22a34-0e0f-7ac4-912d-19cd16aed993', 0, 3),
	('01a22a34-0e50-7204-ba22-7362c49be59f', 1, 3),
	('01a22a34-0ea3-7d85-b5c1-9498d159a399', 0, 3),
	('01a22a34-8a0b-7808-b724-930e4b79cc67', 0, 5);

INSERT INTO jobqueue.unique_claim VALUES
	('39347c8d-31f8-dfa3-b5d1-22f5c045ef7d', '01a22a34-8968-7f85-8c10-394869acc69b', 0),
	('bb17f421-e604-4091-91c1-a04db2807abf', '01a22a34-8976-758d-80ae-aa33d7a131f8', 0),
	('b3f6d0f1-ad1c-e5a4-51f2-d4167bc137a9', '01a22a34-8980-7087-baee-528717292859', 7),
	('96e2f1e0-2eb9-dc4e-6bc9-6e896575a194', '01a22a34-89c8-7608-8611-64bb5db1298b', 7),
	('deb9a27b-ce1c-85ff-c829-2621888c4de5', '01a22a34-110f-7dec-95d1-5d2905bd832d', 0);

INSERT INTO jobqueue.worker VALUES
	('0df90d32-c5ee-879e-9d64-b3e2d5c7f88f', 'unnamed:127.0.0.1', '{ended}', NULL, NULL, '2026-11-30 02:06:23.946805+00', '2026-11-30 02:06:23.946805+00', NULL, false, NULL, '{}'),
	('0190d5a0-0000-7000-8000-000000000001', 'worker-1', '{local}', 8, '0.1.0', '2026-11-30 02:06:56.218778+00', '2026-11-30 02:06:56.218778+00', 30000, false, '2026-11-30 02:06:56.218778+00', '{}');

SELECT pg_catalog.setval('jobqueue.kind_id_seq', 10, true);

SELECT pg_catalog.setval('jobqueue.lane_id_seq', 22, true);

SELECT pg_catalog.setval('jobqueue.lease_epoch', 18001, true);

SELECT pg_catalog.setval('jobqueue.queue_id_seq', 23, true);

SELECT pg_catalog.setval('jobqueue.sql_calls', 3, true);

ALTER TABLE ONLY jobqueue.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_20261129
    ADD CONSTRAINT attempt_20261129_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_20261130
    ADD CONSTRAINT attempt_20261130_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_20261201
    ADD CONSTRAINT attempt_20261201_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_20261202
    ADD CONSTRAINT attempt_20261202_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_20261203
    ADD CONSTRAINT attempt_20261203_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.attempt_default
    ADD CONSTRAINT attempt_default_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.body
    ADD CONSTRAINT body_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_20261129
    ADD CONSTRAINT body_20261129_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_20261130
    ADD CONSTRAINT body_20261130_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_20261201
    ADD CONSTRAINT body_20261201_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_20261202
    ADD CONSTRAINT body_20261202_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_20261203
    ADD CONSTRAINT body_20261203_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.body_default
    ADD CONSTRAINT body_default_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.cancel_request
    ADD CONSTRAINT cancel_request_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.census
    ADD CONSTRAINT census_pkey PRIMARY KEY (queue_id);

ALTER TABLE ONLY jobqueue.census_state
    ADD CONSTRAINT census_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.counter
    ADD CONSTRAINT counter_pkey PRIMARY KEY (queue_id);

ALTER TABLE ONLY jobqueue.expiry
    ADD CONSTRAINT expiry_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (key);

ALTER TABLE ONLY jobqueue.kind
    ADD CONSTRAINT kind_name_key UNIQUE (name);

ALTER TABLE ONLY jobqueue.kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.lane
    ADD CONSTRAINT lane_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.lane
    ADD CONSTRAINT lane_queue_id_priority_key UNIQUE (queue_id, priority);

ALTER TABLE ONLY jobqueue.lease_jobs
    ADD CONSTRAINT lease_jobs_pkey PRIMARY KEY (epoch);

ALTER TABLE ONLY jobqueue.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (epoch);

ALTER TABLE ONLY jobqueue.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY jobqueue.outage
    ADD CONSTRAINT outage_pkey PRIMARY KEY (ended_at);

ALTER TABLE ONLY jobqueue.outcome
    ADD CONSTRAINT outcome_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_20261129
    ADD CONSTRAINT outcome_20261129_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_20261130
    ADD CONSTRAINT outcome_20261130_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_20261201
    ADD CONSTRAINT outcome_20261201_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_20261202
    ADD CONSTRAINT outcome_20261202_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_20261203
    ADD CONSTRAINT outcome_20261203_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.outcome_default
    ADD CONSTRAINT outcome_default_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.prune_pass
    ADD CONSTRAINT prune_pass_pkey PRIMARY KEY (day);

ALTER TABLE ONLY jobqueue.queue
    ADD CONSTRAINT queue_name_key UNIQUE (name);

ALTER TABLE ONLY jobqueue.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (id);

ALTER TABLE ONLY jobqueue.ready
    ADD CONSTRAINT ready_pkey PRIMARY KEY (lane, job_id);

ALTER TABLE ONLY jobqueue.report
    ADD CONSTRAINT report_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_20261129
    ADD CONSTRAINT report_20261129_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_20261130
    ADD CONSTRAINT report_20261130_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_20261201
    ADD CONSTRAINT report_20261201_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_20261202
    ADD CONSTRAINT report_20261202_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_20261203
    ADD CONSTRAINT report_20261203_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.report_default
    ADD CONSTRAINT report_default_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY jobqueue.scheduled
    ADD CONSTRAINT scheduled_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.snooze
    ADD CONSTRAINT snooze_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.unique_claim
    ADD CONSTRAINT unique_claim_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY jobqueue.unnamed
    ADD CONSTRAINT unnamed_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY jobqueue.watch
    ADD CONSTRAINT watch_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY jobqueue.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);

CREATE INDEX cancel_request_worker ON jobqueue.cancel_request USING btree (worker_id);

CREATE INDEX expiry_expires_at ON jobqueue.expiry USING btree (expires_at);

CREATE INDEX idempotency_created ON jobqueue.idempotency USING btree (created_at);

CREATE INDEX outcome_unsuccessful ON ONLY jobqueue.outcome USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_20261129_status_job_id_idx ON jobqueue.outcome_20261129 USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_20261130_status_job_id_idx ON jobqueue.outcome_20261130 USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_20261201_status_job_id_idx ON jobqueue.outcome_20261201 USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_20261202_status_job_id_idx ON jobqueue.outcome_20261202 USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_20261203_status_job_id_idx ON jobqueue.outcome_20261203 USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX outcome_default_status_job_id_idx ON jobqueue.outcome_default USING btree (status, job_id) WHERE (status <> 5);

CREATE INDEX queue_present ON jobqueue.queue USING btree (name COLLATE "C") WHERE (deleted_at IS NULL);

CREATE INDEX scheduled_run_at ON jobqueue.scheduled USING btree (run_at, job_id) WHERE (pending IS NULL);

CREATE INDEX unique_claim_job ON jobqueue.unique_claim USING btree (job_id);

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_20261129_pkey;

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_20261130_pkey;

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_20261201_pkey;

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_20261202_pkey;

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_20261203_pkey;

ALTER INDEX jobqueue.attempt_pkey ATTACH PARTITION jobqueue.attempt_default_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_20261129_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_20261130_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_20261201_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_20261202_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_20261203_pkey;

ALTER INDEX jobqueue.body_pkey ATTACH PARTITION jobqueue.body_default_pkey;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_20261129_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_20261129_status_job_id_idx;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_20261130_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_20261130_status_job_id_idx;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_20261201_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_20261201_status_job_id_idx;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_20261202_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_20261202_status_job_id_idx;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_20261203_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_20261203_status_job_id_idx;

ALTER INDEX jobqueue.outcome_pkey ATTACH PARTITION jobqueue.outcome_default_pkey;

ALTER INDEX jobqueue.outcome_unsuccessful ATTACH PARTITION jobqueue.outcome_default_status_job_id_idx;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_20261129_pkey;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_20261130_pkey;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_20261201_pkey;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_20261202_pkey;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_20261203_pkey;

ALTER INDEX jobqueue.report_pkey ATTACH PARTITION jobqueue.report_default_pkey;

CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobqueue.cancel_wish DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.is_first) EXECUTE FUNCTION jobqueue.ask_workers();

ALTER TABLE jobqueue.cancel_wish ENABLE ALWAYS TRIGGER at_commit;

CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobqueue.unnamed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.is_first) EXECUTE FUNCTION jobqueue.name_jobs_at_commit();

ALTER TABLE jobqueue.unnamed ENABLE ALWAYS TRIGGER at_commit;

REVOKE ALL ON FUNCTION jobqueue.add_partitions(from_day date, days integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION jobqueue.prune_day(suffix text, completed interval, failed interval, max_kept integer) FROM PUBLIC;

