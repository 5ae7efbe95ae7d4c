-- Enqueue in SQL, inside the caller's own transaction, from any language: the job exists if and only if that transaction commits.

-- A UUIDv7 by this database's clock, 1/4096 ms precise (RFC 9562, section 6.2, method 3): 15 digits of time with the version
-- in between, then the last digits of a random UUID. One expression without FROM, which Postgres puts in place of the call.
CREATE FUNCTION jobqueue.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (overlay(lpad(to_hex((extract(epoch FROM jobqueue.now() - now() + clock_timestamp()) * 4096000)::bigint), 15, '0')
                    PLACING '7' FROM 13 FOR 0) || right(gen_random_uuid()::text, 17))::uuid
$$;

-- Returns the id of the new job, or of the job that already holds `unique_key` for this kind.
-- wake := true also notifies workers at commit; it serialises commits that notify, so leave it off on busy paths
-- (workers poll every second anyway, and sooner the more they find).
CREATE FUNCTION jobqueue.enqueue(
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
    lane_number int; kind_number int; holder uuid; claim uuid;
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
    IF run_at IS NOT NULL AND delay IS NOT NULL THEN
        RAISE EXCEPTION 'give either run_at or delay' USING ERRCODE = '22023';
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
    IF coalesce(retry->>'strategy', '') NOT IN ('exponential', 'fixed', 'linear', 'list') AND retry IS NOT NULL THEN
        RAISE EXCEPTION 'retry must be an object whose strategy is exponential, fixed, linear or list' USING ERRCODE = '22023';
    END IF;
    IF octet_length(unique_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'unique_key must have 1 to 255 bytes' USING ERRCODE = '22023';
    END IF;
    IF tags IS NOT NULL THEN   -- by itself: a condition with a subquery is a statement to be executed
        IF cardinality(tags) > 20 OR array_ndims(tags) > 1
           OR EXISTS (SELECT FROM unnest(tags) AS t (tag) WHERE t.tag IS NULL OR octet_length(t.tag) NOT BETWEEN 1 AND 64) THEN
            RAISE EXCEPTION 'tags must be at most 20 words of 1 to 64 bytes' USING ERRCODE = '22023';
        END IF;
    END IF;
    IF json_typeof(metadata) <> 'object' OR octet_length(metadata::text) > 16384 THEN
        RAISE EXCEPTION 'metadata must be a JSON object of at most 16384 bytes' USING ERRCODE = '22023';
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

    lane_number := jobqueue.lane_id(queue, priority::smallint);
    kind_number := jobqueue.kind_id(kind);
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
    INSERT INTO jobqueue.tally (queue_id, created) SELECT l.queue_id, 1 FROM jobqueue.lane l WHERE l.id = lane_number;
    IF wake THEN
        PERFORM pg_notify('jobqueue_wake', queue);
    END IF;
    RETURN new_job;
END $$;
