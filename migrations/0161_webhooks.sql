-- Webhooks: `on_end` of a job or a route. docs/webhooks.md describes them; docs/adr/0027-webhooks.md says why they are stored so.

-- Both are null for a job without a webhook. Then they take no room: the bitmap of nulls has bits left. The secret is in a column of its own,
-- because readers may see the rest. A job of the kind jobqueue.webhook has only the secret.
ALTER TABLE jobqueue.body ADD COLUMN on_end json, ADD COLUMN on_end_secret text;

-- Secrets of routes. A route refers to one by its number, and so do the jobs that it was applied to. A row is never changed or deleted, so a job
-- keeps the secret that its route had.
CREATE TABLE jobqueue.webhook_secret (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    secret text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT jobqueue.now()
);

-- The number of a secret: `current` if that has it. It runs as the owner, so that who sets routes need not be able to read secrets.
CREATE FUNCTION jobqueue.keep_secret(new_secret text, current bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
    number bigint;
BEGIN
    IF EXISTS (SELECT FROM jobqueue.webhook_secret s WHERE s.id = current AND s.secret = new_secret) THEN
        RETURN current;
    END IF;
    INSERT INTO jobqueue.webhook_secret (secret) VALUES (new_secret) RETURNING id INTO number;
    RETURN number;
END $$;
REVOKE EXECUTE ON FUNCTION jobqueue.keep_secret(text, bigint) FROM PUBLIC;

-- Whether a URL has a host that can be called, and no user. core::on_end accepts the same, and refuses names in Punycode that are invalid.
CREATE FUNCTION jobqueue.is_webhook_url(url text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parts CONSTANT text[] := regexp_match(url, '^https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5}))?(?:[/?][!-~]*)?$');
    host CONSTANT text := parts[1];
    byte CONSTANT text := '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
BEGIN
    IF parts IS NULL OR octet_length(url) > 2048 OR parts[2]::int NOT BETWEEN 1 AND 65535 THEN
        RETURN false;
    ELSIF host LIKE '[%' THEN
        RETURN family(trim(host, '[]')::inet) = 6;
    ELSIF host ~ '(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)\.?$' THEN
        -- every client takes such a host for an IPv4 address
        RETURN host ~ ('^' || byte || '(\.' || byte || '){3}$');
    END IF;
    RETURN host ~ '^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$';
EXCEPTION WHEN invalid_text_representation THEN
    RETURN false;
END $$;

-- Refuses what core::on_end refuses. Returns what is stored of it, without the secret.
CREATE FUNCTION jobqueue.check_on_end(wish json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    field text; value json; word text; words text[]; bytes bytea;
BEGIN
    PERFORM jobqueue.check_json('on_end', wish::text);
    IF json_typeof(wish) <> 'object' THEN
        PERFORM jobqueue.refuse('on_end', 'must be an object');
    END IF;
    FOR field, value IN SELECT * FROM json_each(wish) LOOP
        IF field NOT IN ('url', 'secret', 'queue') THEN
            PERFORM jobqueue.refuse('on_end/' || left(field, 100), 'is not a field of `on_end`');
        ELSIF json_typeof(value) NOT IN ('string', 'null') THEN
            PERFORM jobqueue.refuse('on_end/' || field, 'must be a string');
        END IF;
    END LOOP;
    IF wish->>'url' IS NULL OR NOT jobqueue.is_webhook_url(wish->>'url') THEN
        PERFORM jobqueue.refuse('on_end/url', 'must be an http or https URL of at most 2048 characters, without a user, whose host is a name or an address');
    ELSIF wish->>'queue' !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
        PERFORM jobqueue.refuse('on_end/queue', 'must be 1 to 64 letters, digits, "_", "-", "." or ":"');
    END IF;
    words := string_to_array(coalesce(wish->>'secret', ''), ' ');
    IF cardinality(words) NOT BETWEEN 1 AND 4 THEN
        PERFORM jobqueue.refuse('on_end/secret', 'must be one to four `whsec_` secrets, separated by a space');
    END IF;
    FOREACH word IN ARRAY words LOOP
        IF word !~ '^whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
            PERFORM jobqueue.refuse('on_end/secret', 'must be `whsec_` and 24 to 64 bytes in base64');
        END IF;
        bytes := decode(substr(word, 7), 'base64');
        -- the last character may have bits that belong to no byte; strict decoders refuse them
        IF octet_length(bytes) NOT BETWEEN 24 AND 64 OR replace(encode(bytes, 'base64'), E'\n', '') <> substr(word, 7) THEN
            PERFORM jobqueue.refuse('on_end/secret', 'must be `whsec_` and 24 to 64 bytes in base64');
        END IF;
    END LOOP;
    RETURN json_strip_nulls(json_build_object('url', wish->>'url', 'queue', wish->>'queue'));
END $$;

-- Enqueues the webhooks of jobs that this transaction has ended. It runs as the owner, because those who end jobs need not be able to submit.
-- The body of the webhook's job is completed here, in the transaction that inserts it, because it contains the id of that job.
CREATE FUNCTION jobqueue.announce_ends(jobs uuid[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    job uuid; body record; ended record; queue_name text; kind_name text; word text; webhook uuid; is_large boolean;
BEGIN
    FOR job IN SELECT b.id FROM jobqueue.body b WHERE b.id = ANY (jobs) AND b.on_end IS NOT NULL ORDER BY b.id LOOP
        SELECT b.on_end, b.on_end_secret, b.lane, b.kind, b.tags, b.metadata, b.traceparent INTO body FROM jobqueue.body b WHERE b.id = job;
        SELECT o.status, o.attempt, o.started_at, o.finished_at, o.detail INTO ended FROM jobqueue.outcome o WHERE o.job_id = job;
        CONTINUE WHEN NOT FOUND;
        IF body.lane = 0 THEN
            SELECT u.queue, u.kind INTO queue_name, kind_name FROM jobqueue.unnamed u WHERE u.job_id = job;
        ELSE
            queue_name := jobqueue.queue_of(body.lane);
            kind_name := (SELECT k.name FROM jobqueue.kind k WHERE k.id = body.kind);
        END IF;
        word := (ARRAY['completed', 'failed', 'cancelled'])[ended.status - 4];
        is_large := coalesce(octet_length(ended.detail::text) > 262144, false);
        webhook := jobqueue.enqueue('jobqueue.webhook', '{}', queue => coalesce(body.on_end->>'queue', queue_name), priority => 0, max_attempts => 10,
            retry => '{"strategy": "list", "delays_seconds": [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]}', timeout_seconds => 30,
            tags => ARRAY['job:' || job], metadata => json_build_object('job_id', job, 'url', body.on_end->>'url')::text,
            traceparent => body.traceparent);
        UPDATE jobqueue.body b
           SET on_end_secret = coalesce(body.on_end_secret, (SELECT s.secret FROM jobqueue.webhook_secret s
                                                              WHERE s.id = (body.on_end->>'secret_id')::bigint)),
               payload = json_build_object(
                   'specversion', '1.0', 'id', webhook, 'source', '/v1/jobs', 'type', 'jobqueue.job.' || word, 'subject', job,
                   'time', jobqueue.json_time(ended.finished_at), 'datacontenttype', 'application/json',
                   'data', json_build_object(
                       'id', job, 'queue', queue_name, 'kind', kind_name, 'status', word, 'attempt', ended.attempt,
                       'tags', coalesce(to_json(body.tags), '[]'), 'metadata', body.metadata,
                       'created_at', jobqueue.json_time(jobqueue.created_at(job)), 'started_at', jobqueue.json_time(ended.started_at),
                       'finished_at', jobqueue.json_time(ended.finished_at),
                       'result', CASE WHEN ended.status = 5 AND NOT is_large THEN ended.detail END,
                       'error', CASE WHEN ended.status <> 5 AND NOT is_large THEN ended.detail END,
                       'omitted', is_large))
         WHERE b.id = webhook;
    END LOOP;
END $$;

-- As before, with the webhook.
-- Cancels a waiting job. Returns false if the job does not wait. `free` releases its unique key. A webhook announces the end.
CREATE OR REPLACE FUNCTION jobqueue.withdraw(job uuid, reason json, free boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    job_lane int; begun smallint; is_announced boolean;
BEGIN
    SELECT b.lane, b.on_end IS NOT NULL INTO job_lane, is_announced FROM jobqueue.body b WHERE b.id = job;
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
        INSERT INTO jobqueue.tally (queue_id, cancelled, kinds)
            SELECT l.queue_id, 1, ARRAY(SELECT b.kind FROM jobqueue.body b WHERE b.id = job) FROM jobqueue.lane l WHERE l.id = job_lane;
    END IF;
    IF free THEN
        DELETE FROM jobqueue.unique_claim c WHERE c.job_id = job AND c.kept & 4 = 0;
    END IF;
    IF is_announced THEN
        PERFORM jobqueue.announce_ends(ARRAY[job]);
    END IF;
    RETURN true;
END $$;
