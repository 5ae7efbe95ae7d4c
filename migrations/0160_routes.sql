-- Routes: defaults for jobs whose kind matches a pattern. docs/routes.md describes them; docs/adr/0022-routes.md says why they are stored so.
-- The migration 0161 has the webhooks that routes and jobs can ask for.

CREATE TABLE jobqueue.route (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 1,        -- counts what users change
    spec json NOT NULL,                       -- everything that the user sent (core::route::RouteDraft)
    position int NOT NULL GENERATED ALWAYS AS ((spec->>'position')::int) STORED,
    owner text GENERATED ALWAYS AS (spec->>'owner') STORED,
    -- the pattern for LIKE; several wildcards in a row are one, so that the comparison never has to try them in turn
    kind_like text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        replace(replace(regexp_replace(spec->>'kind', '[*]+', '%', 'g'), '_', '\_'), '?', '_')) STORED,
    created_at timestamptz NOT NULL DEFAULT jobqueue.now(),
    changed_at timestamptz NOT NULL DEFAULT jobqueue.now()
);
CREATE INDEX route_position ON jobqueue.route (position, name);

-- One row. `version` counts the changes of `route`, so that processes that keep the routes in memory can see cheaply whether they are outdated.
-- A change locks the row first, so changes happen one after the other.
CREATE TABLE jobqueue.route_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
);
INSERT INTO jobqueue.route_version (version) VALUES (1);

-- `jobqueue.enqueue` runs with the rights of its caller, and applications that were granted the tables one by one must not fail after this migration.
GRANT SELECT ON jobqueue.route, jobqueue.route_version TO PUBLIC;

-- Counts a change, also one by hand. The notification is a hint for the processes.
CREATE FUNCTION jobqueue.route_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE jobqueue.route_version SET version = version + 1;
    PERFORM pg_notify('jobqueue_wake', '*routes');
    RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON jobqueue.route
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.route_changed();
-- also if session_replication_role disables triggers
ALTER TABLE jobqueue.route ENABLE ALWAYS TRIGGER changed;

-- Refuses what core::route refuses. So no row of `route`, also none that was written by hand, can make `jobqueue.enqueue` fail.
CREATE FUNCTION jobqueue.check_route(name text, spec json) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    -- as in core, durations count in nanoseconds
    hard CONSTANT numeric := CASE WHEN json_typeof(spec->'timeout_seconds') = 'number' THEN round((spec->>'timeout_seconds')::numeric, 9) END;
    field text; value json; content text; wanted text; at int;
BEGIN
    IF name IS NULL OR name !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' OR name = 'test' THEN
        PERFORM jobqueue.refuse('name', 'must be 1 to 128 letters, digits, "_", "-", "." or ":", and not "test"');
    ELSIF spec IS NULL OR json_typeof(spec) <> 'object' THEN
        PERFORM jobqueue.refuse('spec', 'must be a JSON object');
    ELSIF spec->'kind' IS NULL THEN
        PERFORM jobqueue.refuse('kind', 'must be 1 to 128 letters, digits, "_", "-", "." or ":", and the wildcards "*" and "?"');
    ELSIF spec->'position' IS NULL THEN
        PERFORM jobqueue.refuse('position', 'is required, and must be between -1000000 and 1000000');
    END IF;
    PERFORM jobqueue.check_json('spec', spec::text);
    FOR field, value IN SELECT e.key, e.value FROM json_each(spec) e LOOP
        content := value #>> '{}';
        wanted := CASE WHEN field IN ('kind', 'queue', 'owner', 'description') THEN 'string' WHEN field = 'tags' THEN 'array'
                       WHEN field IN ('retry', 'on_end') THEN 'object' ELSE 'number' END;
        IF field NOT IN ('position', 'kind', 'queue', 'priority', 'max_attempts', 'retry', 'timeout_seconds', 'soft_timeout_seconds',
                         'expires_after_seconds', 'tags', 'owner', 'description', 'on_end') THEN
            PERFORM jobqueue.refuse(left(field, 100), 'is not a field of a route');
        ELSIF json_typeof(value) <> wanted THEN
            PERFORM jobqueue.refuse(field, 'must be of the JSON type ' || wanted);
        ELSIF field IN ('position', 'priority', 'max_attempts') AND content !~ '^(0|-?[1-9][0-9]{0,6})$' THEN
            PERFORM jobqueue.refuse(field, 'must be a whole number, and not a larger one than is allowed');
        ELSIF field = 'kind' AND content !~ '^[A-Za-z0-9_.:*?-]{1,128}$' THEN
            PERFORM jobqueue.refuse(field, 'must be 1 to 128 letters, digits, "_", "-", "." or ":", and the wildcards "*" and "?"');
        ELSIF field = 'position' AND content::int NOT BETWEEN -1000000 AND 1000000 THEN
            PERFORM jobqueue.refuse(field, 'is required, and must be between -1000000 and 1000000');
        ELSIF field = 'queue' AND content !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
            PERFORM jobqueue.refuse(field, 'must be 1 to 64 letters, digits, "_", "-", "." or ":"');
        ELSIF field = 'priority' AND content::int NOT BETWEEN -100 AND 100 THEN
            PERFORM jobqueue.refuse(field, 'must be between -100 and 100');
        ELSIF field = 'max_attempts' AND content::int NOT BETWEEN 1 AND 1000 THEN
            PERFORM jobqueue.refuse(field, 'must be between 1 and 1000');
        ELSIF field IN ('timeout_seconds', 'soft_timeout_seconds') AND round(content::numeric, 9) NOT BETWEEN 0.001 AND 604800 THEN
            PERFORM jobqueue.refuse(field, 'must be between 0.001 and 604800 seconds');
        ELSIF field = 'soft_timeout_seconds' AND round(content::numeric, 9) >= hard THEN
            PERFORM jobqueue.refuse(field, 'must be below timeout_seconds');
        ELSIF field = 'expires_after_seconds' AND round(content::numeric, 9) NOT BETWEEN 0.001 AND 3153600000 THEN
            PERFORM jobqueue.refuse(field, 'must be between 0.001 and 3153600000 seconds');
        ELSIF field = 'owner' THEN
            PERFORM jobqueue.check_text(field, content, 255);
        ELSIF field = 'description' THEN
            PERFORM jobqueue.check_text(field, content, 1024);
        ELSIF field = 'retry' THEN
            PERFORM jobqueue.check_retry(value);
        ELSIF field = 'on_end' THEN
            -- the secret is stored apart
            IF coalesce(value->>'secret_id', '0') !~ '^[0-9]{1,18}$' OR json_typeof(coalesce(value->'secret_id', '0')) <> 'number'
               OR EXISTS (SELECT FROM json_object_keys(value) AS k (name) WHERE k.name NOT IN ('url', 'queue', 'secret_id')) THEN
                PERFORM jobqueue.refuse(field, 'must have the members `url`, `secret_id` and `queue` only');
            END IF;
            PERFORM jobqueue.check_on_end(json_build_object('url', value->'url', 'queue', value->'queue', 'secret', 'whsec_' || repeat('A', 32)));
        ELSIF field = 'tags' AND json_array_length(value) > 20 THEN
            PERFORM jobqueue.refuse(field, 'must be a plain array of at most 20 entries');
        ELSIF field = 'tags' THEN
            at := 0;
            FOR value IN SELECT * FROM json_array_elements(value) LOOP
                IF json_typeof(value) <> 'string' THEN
                    PERFORM jobqueue.refuse('tags/' || at, 'must be a text');
                END IF;
                PERFORM jobqueue.check_text('tags/' || at, value #>> '{}', 64);
                at := at + 1;
            END LOOP;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION jobqueue.route_checked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM jobqueue.check_route(NEW.name, NEW.spec);
    RETURN NEW;
END $$;
CREATE TRIGGER checked BEFORE INSERT OR UPDATE ON jobqueue.route FOR EACH ROW EXECUTE FUNCTION jobqueue.route_checked();
ALTER TABLE jobqueue.route ENABLE ALWAYS TRIGGER checked;

-- Creates or replaces a route. Returns whether this changed anything. Names, meanings and limits are those of the REST API; a null
-- parameter sets no default.
CREATE FUNCTION jobqueue.route(
    name text,
    kind text,
    "position" int,
    queue text DEFAULT NULL,
    priority int DEFAULT NULL,
    max_attempts int DEFAULT NULL,
    retry anycompatible DEFAULT NULL,
    timeout_seconds float8 DEFAULT NULL,
    soft_timeout_seconds float8 DEFAULT NULL,
    expires_after_seconds float8 DEFAULT NULL,
    tags text[] DEFAULT NULL,
    owner text DEFAULT NULL,
    description text DEFAULT NULL,
    on_end anycompatible DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_spec json; stored jobqueue.route; target json;
BEGIN
    PERFORM FROM jobqueue.route_version FOR UPDATE;
    SELECT * INTO stored FROM jobqueue.route r WHERE r.name = route.name;
    IF on_end IS NOT NULL THEN
        target := jobqueue.check_on_end(on_end::text::json);
        target := json_build_object('url', target->>'url', 'queue', target->>'queue', 'secret_id',
            jobqueue.keep_secret(on_end::text::json->>'secret', (stored.spec#>>'{on_end,secret_id}')::bigint));
        target := json_strip_nulls(target);
    END IF;

    SELECT json_object_agg(v.key, v.value) INTO new_spec FROM (VALUES
        ('position', to_json("position")), ('kind', to_json(kind)), ('queue', to_json(queue)), ('priority', to_json(priority)),
        ('max_attempts', to_json(max_attempts)), ('retry', retry::text::json), ('timeout_seconds', to_json(timeout_seconds)),
        ('soft_timeout_seconds', to_json(soft_timeout_seconds)), ('expires_after_seconds', to_json(expires_after_seconds)),
        ('tags', to_json(nullif(tags, '{}'))), ('owner', to_json(owner)), ('description', to_json(description)), ('on_end', target)) AS v (key, value)
     WHERE v.value IS NOT NULL;
    PERFORM jobqueue.check_route(name, new_spec);
    IF stored.id IS NULL THEN
        IF (SELECT count(*) FROM jobqueue.route) >= 1000 THEN
            PERFORM jobqueue.refuse('name', 'is one too many: at most 1000 routes may exist');
        END IF;
        INSERT INTO jobqueue.route (name, spec) VALUES (name, new_spec);
    ELSIF stored.spec::jsonb = new_spec::jsonb THEN
        RETURN false;
    ELSE
        UPDATE jobqueue.route r SET spec = new_spec, version = r.version + 1, changed_at = jobqueue.now() WHERE r.id = stored.id;
    END IF;
    RETURN true;
END $$;

-- Deletes a route. Its jobs stay as they are. Returns whether it existed.
CREATE FUNCTION jobqueue.unroute(name text) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    PERFORM FROM jobqueue.route_version FOR UPDATE;
    DELETE FROM jobqueue.route r WHERE r.name = unroute.name;
    RETURN FOUND;
END $$;

-- As before, with `on_end` (migration 0161) and with the defaults of the first route whose pattern matches the kind. The parameters that a route can set are null if they
-- are left out; docs/sql.md has the defaults that apply then.
--
-- Returns the id of the new job, or of the job that holds its unique key. JSON may be given as json, as jsonb or as text; anycompatible
-- makes all JSON parameters of one call the same type. A null parameter means its default, but kind and payload must not be null.
-- wake := true also notifies workers at commit. Commits that notify wait for each other, so leave it off on busy paths.
DROP FUNCTION jobqueue.enqueue;
CREATE FUNCTION jobqueue.enqueue(
    kind text,
    payload anycompatible DEFAULT '{}',
    queue text DEFAULT NULL,
    priority int DEFAULT NULL,
    run_at timestamptz DEFAULT NULL,
    delay_seconds float8 DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    max_attempts int DEFAULT NULL,
    max_snoozes int DEFAULT NULL,
    retry anycompatible DEFAULT NULL,
    timeout_seconds float8 DEFAULT NULL,
    soft_timeout_seconds float8 DEFAULT NULL,
    "unique" anycompatible DEFAULT NULL,
    tags text[] DEFAULT NULL,
    metadata anycompatible DEFAULT NULL,
    traceparent text DEFAULT NULL,
    unique_key text DEFAULT NULL,             -- short for "unique" := '{"key": …}'
    wake boolean DEFAULT false,
    on_end anycompatible DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_job uuid := jobqueue.new_id();
    present CONSTANT timestamptz := jobqueue.now();
    content CONSTANT text := payload::text;
    document CONSTANT json := content::json;
    policy json; wish json; about json; route json; target json; target_secret text; hard float8; soft float8; moment timestamptz;
    start_at timestamptz := run_at;
    lane_number int; queue_number int; kind_number int; holder uuid; claim uuid; keeps smallint; at int; word text;
BEGIN
    -- the size is 0 until the first route is set, and reading it costs less than a look into the table
    IF pg_relation_size('jobqueue.route') > 0 THEN
        SELECT r.spec INTO route FROM jobqueue.route r
         WHERE octet_length(kind) <= 128 AND kind COLLATE "C" LIKE r.kind_like AND kind <> 'jobqueue.webhook'
         ORDER BY r.position, r.name LIMIT 1;
    END IF;
    IF route IS NOT NULL THEN
        -- as in core::route: a route fills what the call left out, and gives way where it would contradict the call
        queue := coalesce(queue, route->>'queue');
        priority := coalesce(priority, (route->>'priority')::int);
        max_attempts := coalesce(max_attempts, (route->>'max_attempts')::int);
        policy := CASE WHEN retry IS NULL THEN route->'retry' END;
        hard := round((route->>'timeout_seconds')::numeric, 9);
        soft := round((route->>'soft_timeout_seconds')::numeric, 9);
        IF timeout_seconds IS NULL AND (soft_timeout_seconds < hard) IS NOT FALSE THEN
            timeout_seconds := hard;
        END IF;
        IF soft_timeout_seconds IS NULL AND (soft < timeout_seconds) IS NOT FALSE THEN
            soft_timeout_seconds := soft;
        END IF;
        IF route->'expires_after_seconds' IS NOT NULL AND expires_at IS NULL AND (run_at IS NULL OR delay_seconds IS NULL)
           AND coalesce(run_at < present + interval '3153600001 s', true) AND coalesce(delay_seconds BETWEEN 0 AND 3153600000, true) THEN
            -- counted from this moment: the transaction may have begun long ago
            moment := present - now() + clock_timestamp();
            expires_at := greatest(run_at, present + delay_seconds * interval '1 second', moment)
                        + trunc(round((route->>'expires_after_seconds')::numeric, 9) * 1000)::float8 * interval '1 ms';
            expires_at := CASE WHEN expires_at <= moment + interval '3153600000 s' THEN expires_at END;
        END IF;
        target := CASE WHEN on_end IS NULL THEN route->'on_end' END;
        IF tags IS NULL AND route->'tags' IS NOT NULL THEN
            tags := ARRAY(SELECT t.tag FROM json_array_elements_text(route->'tags') AS t (tag));
        END IF;
    END IF;
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
        ELSIF expires_at NOT BETWEEN '1970-01-01Z' AND coalesce(moment, present) + interval '3153600000 s' THEN
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

    IF on_end IS NOT NULL THEN
        target := jobqueue.check_on_end(on_end::text::json);
        target_secret := on_end::text::json->>'secret';
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
        INSERT INTO jobqueue.tally (queue_id, created, kinds) VALUES (queue_number, 1, ARRAY[kind_number]);
    END IF;
    INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, run_at, expires_at,
                               unique_key, unique_digest, unique_kept, tags, metadata, traceparent, on_end, on_end_secret)
    VALUES (new_job, lane_number, kind_number, max_attempts, document, policy, (timeout_seconds * 1000)::bigint,
            (soft_timeout_seconds * 1000)::bigint, start_at, expires_at, unique_key, claim, keeps, nullif(tags, '{}'), about, traceparent, target,
            target_secret);
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
