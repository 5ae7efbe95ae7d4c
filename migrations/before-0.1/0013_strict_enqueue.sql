-- What the REST API refuses is refused in SQL: JSON that lists and readers cannot take, incomplete retry policies, a delay of centuries,
-- hidden characters. The Rust side is core::json, core::retry and core::job::check.

-- What is wrong with a JSON document, or null.
CREATE FUNCTION jobqueue.json_problem(document json) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    content text := document::text;
    escaped boolean := strpos(content, E'\\u') > 0;
    bare text; brackets text; literal text; depth int := 0; members int;
BEGIN
    -- the usual document: no escaped character, no long number, few brackets; then jsonb, which keeps one of equal keys, has as many colons
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

-- What is wrong with a retry policy, or null.
CREATE FUNCTION jobqueue.retry_problem(retry json) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    problem text := jobqueue.json_problem(retry);
    policy text; bad text;
BEGIN
    IF problem IS NOT NULL THEN RETURN problem; END IF;
    IF json_typeof(retry) <> 'object' OR json_typeof(retry->'strategy') IS DISTINCT FROM 'string'
       OR retry->>'strategy' NOT IN ('exponential', 'fixed', 'linear', 'list') THEN
        RETURN 'must be an object whose strategy is exponential, fixed, linear or list';
    END IF;
    policy := retry->>'strategy';
    IF policy = 'list' THEN
        IF json_typeof(retry->'delays_seconds') IS DISTINCT FROM 'array'
           OR (SELECT count(*) FROM json_object_keys(retry)) <> 2 THEN
            RETURN 'must have delays_seconds, an array, and nothing else';
        END IF;
        IF json_array_length(retry->'delays_seconds') NOT BETWEEN 1 AND 100
           OR EXISTS (SELECT FROM json_array_elements(retry->'delays_seconds') AS d (delay)
                      WHERE CASE WHEN json_typeof(d.delay) = 'number' THEN (d.delay::text)::numeric NOT BETWEEN 0 AND 604800 ELSE true END) THEN
            RETURN 'must have 1 to 100 numbers in delays_seconds, each between 0 and 604800';
        END IF;
        RETURN NULL;
    END IF;
    SELECT min(coalesce(f.field, r.field)) INTO bad
      FROM (SELECT * FROM json_each(retry) AS e (field, value) WHERE e.field <> 'strategy') f
      FULL JOIN (SELECT * FROM (VALUES ('exponential', 'base_seconds', 0, 604800, false), ('exponential', 'factor', 1, 10, false),
                       ('exponential', 'max_seconds', 0, 604800, false), ('exponential', 'jitter', 0, 1, false),
                       ('fixed', 'delay_seconds', 0, 604800, true),
                       ('linear', 'step_seconds', 0, 604800, true), ('linear', 'max_seconds', 0, 604800, false))
                       AS a (strategy, field, low, high, required) WHERE a.strategy = policy) r ON r.field = f.field
     WHERE CASE WHEN r.field IS NULL THEN true
                WHEN f.field IS NULL THEN r.required
                WHEN json_typeof(f.value) <> 'number' THEN true
                ELSE (f.value::text)::numeric NOT BETWEEN r.low AND r.high END;
    RETURN 'has a wrong or missing field: ' || bad;
END $$;

-- Returns the id of the new job, or of the job that already holds `unique_key` for this kind.
-- wake := true also notifies workers at commit; it serialises commits that notify, so leave it off on busy paths
-- (workers poll every second anyway, and sooner the more they find).
CREATE OR REPLACE FUNCTION jobqueue.enqueue(
    kind text,
    payload json DEFAULT '{}',
    queue text DEFAULT 'default',
    priority int DEFAULT 0,
    run_at timestamptz DEFAULT NULL,
    delay interval DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    max_attempts int DEFAULT 10,
    retry json DEFAULT NULL,
    timeout interval DEFAULT NULL,
    unique_key text DEFAULT NULL,
    tags text[] DEFAULT NULL,
    metadata json DEFAULT NULL,
    traceparent text DEFAULT NULL,
    wake boolean DEFAULT false
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_job uuid := jobqueue.new_id();
    start_at timestamptz := coalesce(run_at, jobqueue.now() + delay);
    lane_number int; kind_number int; holder uuid; claim uuid; problem text;
    hidden CONSTANT text := E'[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]';
BEGIN
    IF kind IS NULL OR kind !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' THEN
        RAISE EXCEPTION 'kind must be 1 to 128 letters, digits, "_", "-", "." or ":"' USING ERRCODE = '22023';
    END IF;
    IF queue IS NULL OR queue !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
        RAISE EXCEPTION 'queue must be 1 to 64 letters, digits, "_", "-", "." or ":"' USING ERRCODE = '22023';
    END IF;
    IF priority IS NULL OR priority NOT BETWEEN -100 AND 100 THEN
        RAISE EXCEPTION 'priority must be between -100 and 100' USING ERRCODE = '22023';
    END IF;
    IF max_attempts IS NULL OR max_attempts NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'max_attempts must be between 1 and 1000' USING ERRCODE = '22023';
    END IF;
    IF payload IS NULL OR octet_length(payload::text) > 1048576 THEN
        RAISE EXCEPTION 'payload must be JSON of at most 1048576 bytes' USING ERRCODE = '22023';
    END IF;
    problem := jobqueue.json_problem(payload);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'payload %', problem USING ERRCODE = '22023';
    END IF;
    IF run_at IS NOT NULL AND delay IS NOT NULL THEN
        RAISE EXCEPTION 'give either run_at or delay' USING ERRCODE = '22023';
    END IF;
    IF extract(epoch FROM delay) NOT BETWEEN 0 AND 316224000 THEN
        RAISE EXCEPTION 'delay must be between 0 and 316224000 seconds' USING ERRCODE = '22023';
    END IF;
    IF start_at NOT BETWEEN '1970-01-01Z' AND '9999-12-31Z' OR expires_at NOT BETWEEN '1970-01-01Z' AND '9999-12-31Z' THEN
        RAISE EXCEPTION 'run_at and expires_at must lie between the years 1970 and 9999' USING ERRCODE = '22023';
    END IF;
    IF expires_at <= start_at THEN
        RAISE EXCEPTION 'expires_at must be after the start' USING ERRCODE = '22023';
    END IF;
    IF timeout NOT BETWEEN interval '1 ms' AND interval '7 days' THEN
        RAISE EXCEPTION 'timeout must be above 0 and at most 7 days' USING ERRCODE = '22023';
    END IF;
    IF retry IS NOT NULL THEN
        problem := jobqueue.retry_problem(retry);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'retry %', problem USING ERRCODE = '22023';
        END IF;
    END IF;
    IF octet_length(unique_key) NOT BETWEEN 1 AND 255 OR unique_key ~ hidden THEN
        RAISE EXCEPTION 'unique_key must have 1 to 255 bytes, without control or text-direction characters' USING ERRCODE = '22023';
    END IF;
    IF tags IS NOT NULL THEN   -- by itself: a condition with a subquery is a statement to be executed
        IF cardinality(tags) > 20 OR array_ndims(tags) > 1
           OR EXISTS (SELECT FROM unnest(tags) AS t (tag) WHERE t.tag IS NULL OR octet_length(t.tag) NOT BETWEEN 1 AND 64 OR t.tag ~ hidden) THEN
            RAISE EXCEPTION 'tags must be at most 20 words of 1 to 64 bytes, without control or text-direction characters' USING ERRCODE = '22023';
        END IF;
    END IF;
    IF metadata IS NOT NULL THEN
        IF json_typeof(metadata) <> 'object' OR octet_length(metadata::text) > 16384 THEN
            RAISE EXCEPTION 'metadata must be a JSON object of at most 16384 bytes' USING ERRCODE = '22023';
        END IF;
        problem := jobqueue.json_problem(metadata);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'metadata %', problem USING ERRCODE = '22023';
        END IF;
    END IF;
    IF traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        RAISE EXCEPTION 'traceparent must be a W3C trace context' USING ERRCODE = '22023';
    END IF;

    IF unique_key IS NOT NULL THEN
        -- the same digest as core::unique: SHA-256 over length-prefixed parts, first 128 bits
        claim := encode(substring(sha256(
            int8send(4) || convert_to('kind', 'UTF8')
            || int8send(octet_length(convert_to(kind, 'UTF8'))) || convert_to(kind, 'UTF8')
            || int8send(octet_length(convert_to(unique_key, 'UTF8'))) || convert_to(unique_key, 'UTF8')) FOR 16), 'hex')::uuid;
        LOOP
            INSERT INTO jobqueue.unique_claim VALUES (claim, new_job, 0) ON CONFLICT DO NOTHING;
            EXIT WHEN FOUND;
            SELECT c.job_id INTO holder FROM jobqueue.unique_claim c WHERE c.digest = claim;
            IF holder IS NOT NULL THEN RETURN holder; END IF;   -- null: it was freed just now, try again
        END LOOP;
    END IF;

    SELECT l.id INTO lane_number FROM jobqueue.queue q JOIN jobqueue.lane l ON l.queue_id = q.id
     WHERE q.name = queue AND l.priority = priority::smallint;
    SELECT k.id INTO kind_number FROM jobqueue.kind k WHERE k.name = kind;
    IF lane_number IS NULL OR kind_number IS NULL THEN
        INSERT INTO jobqueue.unnamed VALUES (new_job, queue, priority, kind, NOT EXISTS (SELECT FROM jobqueue.unnamed));
        lane_number := 0;
        kind_number := 0;
    END IF;
    INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, run_at, expires_at,
                               unique_key, unique_digest, unique_kept, tags, metadata, traceparent)
    VALUES (new_job, lane_number, kind_number, max_attempts, payload, retry, (extract(epoch FROM timeout) * 1000)::bigint,
            start_at, expires_at, unique_key, claim, CASE WHEN claim IS NOT NULL THEN 0 END, tags, metadata, traceparent);
    IF start_at > jobqueue.now() THEN
        INSERT INTO jobqueue.scheduled VALUES (new_job, start_at, lane_number, kind_number, 0);
    ELSE
        INSERT INTO jobqueue.ready VALUES (new_job, lane_number, kind_number, 0);
    END IF;
    IF expires_at IS NOT NULL THEN
        INSERT INTO jobqueue.expiry VALUES (new_job, expires_at);
    END IF;
    IF lane_number > 0 THEN
        INSERT INTO jobqueue.tally (queue_id, created) SELECT l.queue_id, 1 FROM jobqueue.lane l WHERE l.id = lane_number;
    END IF;
    IF wake THEN
        PERFORM pg_notify('jobqueue_wake', queue);
    END IF;
    RETURN new_job;
END $$;
