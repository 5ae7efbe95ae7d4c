-- The audit log: every change by a person or a key. docs/audit.md describes it; docs/adr/0025-audit.md says why it is stored so.

-- Rows are only inserted, by `jobqueue.audit`, in the transaction of the change.
CREATE TABLE jobqueue.audit_log (
    id uuid PRIMARY KEY,                      -- UUIDv7, so it is also the time
    action text NOT NULL,                     -- what was changed and how, for example queue.pause
    target text,                              -- the name or id of what was changed; null: what the filter matched
    filter json,                              -- which jobs or workers were meant, if there may be several
    affected bigint NOT NULL,                 -- how many were changed, at least 1
    actor text NOT NULL,                      -- the name of the caller of the API; for a change in SQL the database user
    key_id text,                              -- the API key of the caller, if it has an id
    request_id text,                          -- of the request to the API; null: a change in SQL
    database_user text NOT NULL,              -- the session's user: what a session cannot claim to be
    before json,                              -- the setting before the change, without secrets
    after json                                -- the setting after it
) WITH (autovacuum_vacuum_cost_delay = 0);
CREATE INDEX audit_log_action ON jobqueue.audit_log (action, id);
CREATE INDEX audit_log_target ON jobqueue.audit_log (target, id);
CREATE INDEX audit_log_actor ON jobqueue.audit_log (actor, id);
CREATE INDEX audit_log_request ON jobqueue.audit_log (request_id, id);

-- No user changes a row, and none deletes one that is younger than 30 days, the owner of the table included. The time is that of the server,
-- not `jobqueue.now()`, which a session can move.
CREATE FUNCTION jobqueue.keep_audit() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.id < jobqueue.id_floor(now() - interval '30 days') THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = '42501', HINT = 'entries can be deleted when they are older than 30 days';
END $$;
CREATE TRIGGER kept BEFORE DELETE ON jobqueue.audit_log FOR EACH ROW EXECUTE FUNCTION jobqueue.keep_audit();
CREATE TRIGGER kept_whole BEFORE UPDATE OR TRUNCATE ON jobqueue.audit_log FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.keep_audit();
-- also if session_replication_role disables triggers
ALTER TABLE jobqueue.audit_log ENABLE ALWAYS TRIGGER kept;
ALTER TABLE jobqueue.audit_log ENABLE ALWAYS TRIGGER kept_whole;

-- Deletes up to `most` entries that are older than `keep`, which is at least 30 days. Returns how many. It runs as the owner, because no role
-- has the right to delete entries.
CREATE FUNCTION jobqueue.prune_audit(keep interval, most int) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM jobqueue.audit_log a WHERE a.id = ANY (ARRAY(
        SELECT x.id FROM jobqueue.audit_log x WHERE x.id < jobqueue.id_floor(now() - greatest(keep, interval '30 days')) ORDER BY x.id LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
REVOKE EXECUTE ON FUNCTION jobqueue.prune_audit(interval, int) FROM PUBLIC;

-- A value as the log keeps it: without the secret of a webhook, and not longer than 64 KiB.
CREATE FUNCTION jobqueue.audited(value json) RETURNS json LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
    IF json_typeof(value) = 'object' AND (value #> '{on_end,secret}' IS NOT NULL OR value #> '{job,on_end,secret}' IS NOT NULL) THEN
        value := (value::jsonb #- '{on_end,secret}' #- '{job,on_end,secret}')::json;
    END IF;
    IF octet_length(value::text) > 65536 THEN
        RETURN json_build_object('omitted_bytes', octet_length(value::text));
    END IF;
    RETURN value;
END $$;

-- Records a change in the transaction that makes it. At the beginning of the transaction, the API says in the setting `jobqueue.actor` who its
-- caller is: a JSON object in hexadecimal digits. It runs as the owner, because no role has the right to insert entries.
CREATE FUNCTION jobqueue.audit(action text, target text, filter json, affected bigint, before json, after json) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    caller CONSTANT json := convert_from(decode(nullif(current_setting('jobqueue.actor', true), ''), 'hex'), 'UTF8')::json;
BEGIN
    -- like jobqueue.new_id(), by the clock of the server
    INSERT INTO jobqueue.audit_log (id, action, target, filter, affected, actor, key_id, request_id, database_user, before, after)
    VALUES ((overlay(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 4096000)::bigint), 15, '0') PLACING '7' FROM 13 FOR 0)
             || right(gen_random_uuid()::text, 17))::uuid,
            left(action, 64), left(target, 256), jobqueue.audited(filter), affected,
            CASE WHEN caller->>'request_id' IS NULL THEN session_user ELSE coalesce(caller->>'name', session_user) END,
            CASE WHEN caller->>'request_id' IS NOT NULL THEN caller->>'key_id' END, caller->>'request_id', session_user,
            jobqueue.audited(before), jobqueue.audited(after));
END $$;
-- PUBLIC may execute it, because applications that were granted the tables one by one call `jobqueue.cancel` and must not fail after this
-- migration. scripts/roles.sql grants it to the operator only.

-- Settings are audited by triggers, so that no statement can change one without an entry: neither a verb of the store, nor a function in SQL, nor an
-- UPDATE by hand. A condition leaves out the statements that change no setting, such as each tick of a schedule.

-- Whether a caller of the API acts. Queues and kinds are created by their first job as well, and the reaper deletes unused queues.
CREATE FUNCTION jobqueue.has_actor() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('jobqueue.actor', true), '') <> ''
$$;

CREATE FUNCTION jobqueue.audit_queue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    was json; now_is json; action text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := json_build_object('paused_at', jobqueue.json_time(OLD.paused_at), 'completed_retention_seconds', extract(epoch FROM OLD.completed_retention)::float8,
            'failed_retention_seconds', extract(epoch FROM OLD.failed_retention)::float8);
    END IF;
    now_is := json_build_object('paused_at', jobqueue.json_time(NEW.paused_at), 'completed_retention_seconds', extract(epoch FROM NEW.completed_retention)::float8,
        'failed_retention_seconds', extract(epoch FROM NEW.failed_retention)::float8);
    IF TG_OP = 'INSERT' THEN
        action := 'queue.create';
    ELSIF OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL THEN
        action := 'queue.delete';
        now_is := NULL;
    ELSIF OLD.paused_at IS DISTINCT FROM NEW.paused_at THEN
        action := CASE WHEN NEW.paused_at IS NULL THEN 'queue.resume' ELSE 'queue.pause' END;
    ELSIF was::text <> now_is::text THEN
        action := 'queue.configure';
    ELSE
        action := 'queue.create';   -- a deleted one exists again
        was := NULL;
    END IF;
    PERFORM jobqueue.audit(action, NEW.name, NULL, 1, was, now_is);
    RETURN NULL;
END $$;
CREATE TRIGGER audited_created AFTER INSERT ON jobqueue.queue FOR EACH ROW WHEN (jobqueue.has_actor()) EXECUTE FUNCTION jobqueue.audit_queue();
CREATE TRIGGER audited AFTER UPDATE ON jobqueue.queue FOR EACH ROW
    WHEN ((OLD.paused_at, OLD.completed_retention, OLD.failed_retention) IS DISTINCT FROM (NEW.paused_at, NEW.completed_retention, NEW.failed_retention)
          OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) AND jobqueue.has_actor())
    EXECUTE FUNCTION jobqueue.audit_queue();

CREATE FUNCTION jobqueue.audit_kind() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    was json; action text := 'kind.create';
    now_is CONSTANT json := json_build_object('paused_at', jobqueue.json_time(NEW.paused_at), 'timeout_seconds', NEW.timeout_ms / 1000::float8, 'retry', NEW.retry);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := json_build_object('paused_at', jobqueue.json_time(OLD.paused_at), 'timeout_seconds', OLD.timeout_ms / 1000::float8, 'retry', OLD.retry);
        IF OLD.paused_at IS DISTINCT FROM NEW.paused_at THEN
            action := CASE WHEN NEW.paused_at IS NULL THEN 'kind.resume' ELSE 'kind.pause' END;
        ELSIF was::text <> now_is::text THEN
            action := 'kind.configure';
        ELSE
            was := NULL;   -- a deleted one exists again
        END IF;
    END IF;
    PERFORM jobqueue.audit(action, NEW.name, NULL, 1, was, now_is);
    RETURN NULL;
END $$;
CREATE TRIGGER audited_created AFTER INSERT ON jobqueue.kind FOR EACH ROW WHEN (jobqueue.has_actor()) EXECUTE FUNCTION jobqueue.audit_kind();
CREATE TRIGGER audited AFTER UPDATE ON jobqueue.kind FOR EACH ROW
    WHEN ((OLD.paused_at, OLD.timeout_ms, OLD.retry::text) IS DISTINCT FROM (NEW.paused_at, NEW.timeout_ms, NEW.retry::text)
          OR OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL AND jobqueue.has_actor())
    EXECUTE FUNCTION jobqueue.audit_kind();

-- A tick of a schedule updates none of the columns that the trigger names, so it does not even evaluate the condition.
CREATE FUNCTION jobqueue.audit_schedule() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        PERFORM jobqueue.audit(CASE TG_OP WHEN 'DELETE' THEN 'schedule.delete' ELSE 'schedule.put' END, coalesce(NEW.name, OLD.name), NULL, 1, OLD.spec, NEW.spec);
        RETURN NULL;
    END IF;
    IF OLD.paused_at IS DISTINCT FROM NEW.paused_at THEN
        PERFORM jobqueue.audit(CASE WHEN NEW.paused_at IS NULL THEN 'schedule.resume' ELSE 'schedule.pause' END, NEW.name, NULL, 1,
            json_build_object('paused_at', jobqueue.json_time(OLD.paused_at)), json_build_object('paused_at', jobqueue.json_time(NEW.paused_at)));
    END IF;
    IF OLD.spec::text <> NEW.spec::text THEN
        PERFORM jobqueue.audit('schedule.put', NEW.name, NULL, 1, OLD.spec, NEW.spec);
    ELSIF (OLD.name, OLD.enabled, OLD.owner) IS DISTINCT FROM (NEW.name, NEW.enabled, NEW.owner) THEN
        -- by hand: the spec says otherwise
        PERFORM jobqueue.audit('schedule.put', NEW.name, NULL, 1, json_build_object('name', OLD.name, 'enabled', OLD.enabled, 'owner', OLD.owner),
            json_build_object('name', NEW.name, 'enabled', NEW.enabled, 'owner', NEW.owner));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audited_whole AFTER INSERT OR DELETE ON jobqueue.schedule FOR EACH ROW EXECUTE FUNCTION jobqueue.audit_schedule();
CREATE TRIGGER audited AFTER UPDATE OF name, spec, owner, enabled, paused_at ON jobqueue.schedule FOR EACH ROW
    WHEN ((OLD.name, OLD.spec::text, OLD.owner, OLD.enabled, OLD.paused_at)
          IS DISTINCT FROM (NEW.name, NEW.spec::text, NEW.owner, NEW.enabled, NEW.paused_at)) EXECUTE FUNCTION jobqueue.audit_schedule();

CREATE FUNCTION jobqueue.audit_route() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM jobqueue.audit(CASE TG_OP WHEN 'DELETE' THEN 'route.delete' ELSE 'route.put' END, coalesce(NEW.name, OLD.name), NULL, 1, OLD.spec, NEW.spec);
    RETURN NULL;
END $$;
CREATE TRIGGER audited_whole AFTER INSERT OR DELETE ON jobqueue.route FOR EACH ROW EXECUTE FUNCTION jobqueue.audit_route();
CREATE TRIGGER audited AFTER UPDATE ON jobqueue.route FOR EACH ROW
    WHEN ((OLD.name, OLD.spec::text) IS DISTINCT FROM (NEW.name, NEW.spec::text)) EXECUTE FUNCTION jobqueue.audit_route();

-- The hashes of a key are no part of an entry. That a key was used is no change, nor is it one that a revoked key is deleted.
CREATE FUNCTION jobqueue.api_key_settings(k jobqueue.api_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('name', k.name, 'spec', k.spec, 'expires_at', jobqueue.json_time(k.expires_at),
        'previous_until', jobqueue.json_time(k.previous_until), 'revoked_at', jobqueue.json_time(k.revoked_at))
$$;
CREATE FUNCTION jobqueue.audit_api_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    action CONSTANT text := CASE
        WHEN TG_OP = 'INSERT' THEN 'api_key.create'
        WHEN TG_OP = 'DELETE' THEN 'api_key.delete'
        WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL THEN 'api_key.revoke'
        WHEN OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL THEN 'api_key.restore'
        WHEN (OLD.hash, OLD.previous_hash) IS DISTINCT FROM (NEW.hash, NEW.previous_hash) THEN 'api_key.rotate'
        ELSE 'api_key.configure' END;
BEGIN
    PERFORM jobqueue.audit(action, coalesce(NEW.id, OLD.id), NULL, 1,
        CASE WHEN TG_OP <> 'INSERT' THEN jobqueue.api_key_settings(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN jobqueue.api_key_settings(NEW) END);
    RETURN NULL;
END $$;
CREATE TRIGGER audited_created AFTER INSERT ON jobqueue.api_key FOR EACH ROW EXECUTE FUNCTION jobqueue.audit_api_key();
CREATE TRIGGER audited_deleted AFTER DELETE ON jobqueue.api_key FOR EACH ROW WHEN (OLD.revoked_at IS NULL) EXECUTE FUNCTION jobqueue.audit_api_key();
CREATE TRIGGER audited AFTER UPDATE ON jobqueue.api_key FOR EACH ROW
    WHEN ((OLD.id, OLD.name, OLD.spec::text, OLD.hash, OLD.previous_hash, OLD.previous_until, OLD.expires_at, OLD.revoked_at)
          IS DISTINCT FROM (NEW.id, NEW.name, NEW.spec::text, NEW.hash, NEW.previous_hash, NEW.previous_until, NEW.expires_at, NEW.revoked_at))
    EXECUTE FUNCTION jobqueue.audit_api_key();

-- also if session_replication_role disables triggers
ALTER TABLE jobqueue.queue ENABLE ALWAYS TRIGGER audited_created, ENABLE ALWAYS TRIGGER audited;
ALTER TABLE jobqueue.kind ENABLE ALWAYS TRIGGER audited_created, ENABLE ALWAYS TRIGGER audited;
ALTER TABLE jobqueue.schedule ENABLE ALWAYS TRIGGER audited_whole, ENABLE ALWAYS TRIGGER audited;
ALTER TABLE jobqueue.route ENABLE ALWAYS TRIGGER audited_whole, ENABLE ALWAYS TRIGGER audited;
ALTER TABLE jobqueue.api_key ENABLE ALWAYS TRIGGER audited_created, ENABLE ALWAYS TRIGGER audited_deleted, ENABLE ALWAYS TRIGGER audited;

-- The functions that act on a job record it.
SELECT jobqueue.change_function(c.name::regproc, c.old, c.new) FROM (VALUES
    ('jobqueue.cancel', $old$                RETURN 'cancelled';$old$,
     $new$                PERFORM jobqueue.audit('jobs.cancel', id::text, NULL, 1, NULL, NULL);
                RETURN 'cancelled';$new$),
    -- a second request for the same attempt changes nothing
    ('jobqueue.cancel', $old$            INSERT INTO jobqueue.cancel_wish$old$,
     $new$            IF NOT EXISTS (SELECT FROM jobqueue.cancel_request c WHERE c.job_id = cancel.id)
               AND NOT EXISTS (SELECT FROM jobqueue.cancel_wish w WHERE w.job_id = cancel.id) THEN
                PERFORM jobqueue.audit('jobs.cancel', id::text, NULL, 1, NULL, NULL);
            END IF;
            INSERT INTO jobqueue.cancel_wish$new$),
    ('jobqueue.retry', $old$    DELETE FROM jobqueue.cancel_request c$old$,
     $new$    PERFORM jobqueue.audit('jobs.retry', id::text, NULL, 1, NULL, NULL);
    DELETE FROM jobqueue.cancel_request c$new$),
    ('jobqueue.edit', 'job jobqueue.body; was record;', 'job jobqueue.body; was record; old_fields json; new_fields json;'),
    -- what differs; of a payload only the length
    ('jobqueue.edit', $old$        IF was.pending IS NOT NULL OR$old$,
     $new$        SELECT json_object_agg(f.name, f.old), json_object_agg(f.name, f.new) INTO old_fields, new_fields FROM (VALUES
            ('queue', to_json(old_queue), to_json(queue)), ('priority', to_json(old_priority), to_json(priority)),
            ('run_at', jobqueue.json_time(job.run_at), jobqueue.json_time(coalesce(run_at, job.run_at))),
            ('expires_at', jobqueue.json_time(job.expires_at), jobqueue.json_time(ends)),
            ('tags', to_json(job.tags), to_json(coalesce(tags, job.tags)))) AS f (name, old, new)
            WHERE f.old::text IS DISTINCT FROM f.new::text;
        IF content <> job.payload::text THEN
            old_fields := (coalesce(old_fields::jsonb, '{}') || jsonb_build_object('payload', jsonb_build_object('omitted_bytes', octet_length(job.payload::text))))::json;
            new_fields := (coalesce(new_fields::jsonb, '{}') || jsonb_build_object('payload', jsonb_build_object('omitted_bytes', octet_length(content))))::json;
        END IF;
        IF old_fields IS NOT NULL THEN
            PERFORM jobqueue.audit('jobs.edit', id::text, NULL, 1, old_fields, new_fields);
        END IF;
        IF was.pending IS NOT NULL OR$new$))
    AS c (name, old, new);
