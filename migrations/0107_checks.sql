-- The checks of `jobqueue.enqueue`. They refuse what the REST API refuses; the same rules in Rust are core::json, core::retry and
-- core::job::check. A refusal names the parameter by its JSON pointer, without the first slash, and has the SQLSTATE 22023.

-- What is wrong with a JSON document, or null. It refuses what other readers of the document could not parse.
CREATE FUNCTION jobqueue.json_problem(document json) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
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

-- Refuses JSON that has a problem.
CREATE FUNCTION jobqueue.check_json(pointer text, content text) RETURNS void LANGUAGE plpgsql AS $$
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
