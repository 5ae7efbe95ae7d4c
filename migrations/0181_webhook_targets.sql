-- A webhook is refused when it is submitted if its URL or its secret could never be used to deliver it: a host that is no name and no address, a
-- port that does not exist, a secret that has another form in base64.

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

-- As before, with the checks above.
-- Refuses what core::on_end refuses. Returns what is stored of it, without the secret.
CREATE OR REPLACE FUNCTION jobqueue.check_on_end(wish json) RETURNS json LANGUAGE plpgsql AS $$
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
