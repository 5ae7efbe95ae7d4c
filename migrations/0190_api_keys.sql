-- API keys. docs/security.md describes them; docs/adr/0024-api-keys.md says why they are stored so. Only hashes are stored, so no row and no
-- backup lets anyone call the API.

CREATE TABLE jobqueue.api_key (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 1,        -- counts what users change
    spec json NOT NULL,                       -- what the key may do, as the user sent it (core::api_key::ApiKeyDraft)
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),           -- SHA-256 of the key's text
    previous_hash bytea CHECK (octet_length(previous_hash) = 32),  -- of the key before the last rotation
    previous_until timestamptz,               -- until when the key before the last rotation is accepted
    expires_at timestamptz,                   -- null: never
    revoked_at timestamptz,
    last_used_at timestamptz,                 -- exact to about a minute
    created_by text NOT NULL,                 -- the caller, as core names callers: root, anyone, key:ID or user:NAME
    created_at timestamptz NOT NULL DEFAULT jobqueue.now(),
    changed_at timestamptz NOT NULL DEFAULT jobqueue.now(),
    CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
);
-- The names of the keys that are not revoked; also the order of the list.
CREATE UNIQUE INDEX api_key_name ON jobqueue.api_key (name) WHERE revoked_at IS NULL;
CREATE INDEX api_key_list ON jobqueue.api_key (name, id);

-- One row. `version` counts the changes of `api_key`, so that processes that keep the keys in memory can see cheaply whether they are outdated.
CREATE TABLE jobqueue.api_key_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
);
INSERT INTO jobqueue.api_key_version (version) VALUES (1);

-- Counts a change, also one by hand, but not that a key was used.
CREATE FUNCTION jobqueue.api_key_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE jobqueue.api_key_version SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF name, version, spec, hash, previous_hash, previous_until, expires_at, revoked_at ON jobqueue.api_key
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.api_key_changed();
-- also if session_replication_role disables triggers
ALTER TABLE jobqueue.api_key ENABLE ALWAYS TRIGGER changed;
