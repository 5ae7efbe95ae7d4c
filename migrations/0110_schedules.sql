-- Schedules: jobs that are enqueued at given times. docs/schedules.md describes them; docs/adr/0017-schedules.md says why they are stored so.

-- One row a schedule. The reaper updates the row at each tick, and holds its lock from the decision to the commit.
CREATE TABLE jobqueue.schedule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 1,        -- counts what users change; ticks do not change it
    spec json NOT NULL,                       -- everything that the user sent (core::schedule::ScheduleDraft)
    spec_bytes int GENERATED ALWAYS AS (octet_length(spec::text)) STORED,   -- bounds what one pass reads
    queue text GENERATED ALWAYS AS (coalesce(spec->'job'->>'queue', 'default')) STORED,
    owner text,                               -- what manages it, from the spec
    enabled boolean NOT NULL DEFAULT true,    -- from the spec
    paused_at timestamptz,                    -- an operator paused it
    failed_at timestamptz,                    -- the reaper found the spec invalid; set together with error
    error text,
    next_at timestamptz,                      -- the next tick; null: ended, stopped, or not planned yet
    -- When the reaper must read the row: the next tick plus its jitter. Null while the schedule has no tick to come. Set without next_at:
    -- the reaper checks the spec and plans the first tick.
    fires_at timestamptz,
    waiting_at timestamptz,                   -- a tick that waits for the end of last_job_id
    runs bigint NOT NULL DEFAULT 0,           -- jobs that its ticks enqueued
    ticks bigint NOT NULL DEFAULT 0,          -- ticks that were decided
    last_job_id uuid,                         -- the job of the last tick that had one
    created_at timestamptz NOT NULL DEFAULT jobqueue.now(),
    changed_at timestamptz NOT NULL DEFAULT jobqueue.now()      -- of this version
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX schedule_fires_at ON jobqueue.schedule (fires_at) WHERE fires_at IS NOT NULL;
CREATE INDEX schedule_waiting ON jobqueue.schedule (id) WHERE waiting_at IS NOT NULL;
CREATE INDEX schedule_failed ON jobqueue.schedule (id) WHERE failed_at IS NOT NULL;

-- What became of each tick: fired, waiting, missed, overlap, expired or unique. The primary key is the fence: no tick is decided twice.
CREATE TABLE jobqueue.tick (
    schedule_id bigint NOT NULL,
    nominal_at timestamptz NOT NULL,          -- the time of the tick, without jitter
    job_id uuid,                              -- its job; the holder of the key if fate is unique
    decided_at timestamptz NOT NULL,
    fate text NOT NULL,
    PRIMARY KEY (schedule_id, nominal_at)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- A timestamp as JSON, or null.
CREATE FUNCTION jobqueue.json_time(at timestamptz) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT to_json(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;

-- Creates or replaces a schedule. Returns whether this changed anything. Names, meanings and defaults are those of the REST API; a null
-- parameter means its default. What costs little is checked here. The reaper checks the rest, cron expressions included, within a second
-- after the commit: a schedule that is invalid gets an error and has no ticks.
CREATE FUNCTION jobqueue.schedule(
    name text,
    cron text DEFAULT NULL,
    kind text DEFAULT NULL,
    payload anycompatible DEFAULT '{}',
    time_zone text DEFAULT NULL,
    dst text DEFAULT NULL,
    interval_seconds float8 DEFAULT NULL,
    anchor timestamptz DEFAULT NULL,
    solar text DEFAULT NULL,
    latitude float8 DEFAULT NULL,
    longitude float8 DEFAULT NULL,
    "at" timestamptz DEFAULT NULL,
    start_at timestamptz DEFAULT NULL,
    end_at timestamptz DEFAULT NULL,
    enabled boolean DEFAULT NULL,
    max_runs bigint DEFAULT NULL,
    jitter_seconds float8 DEFAULT NULL,
    expires_after_seconds float8 DEFAULT NULL,
    missed text DEFAULT NULL,
    missed_limit int DEFAULT NULL,
    overlap text DEFAULT NULL,
    owner text DEFAULT NULL,
    description text DEFAULT NULL,
    queue text DEFAULT NULL,
    priority int DEFAULT NULL,
    delay_seconds float8 DEFAULT NULL,
    max_attempts int DEFAULT NULL,
    max_snoozes int DEFAULT NULL,
    retry anycompatible DEFAULT NULL,
    timeout_seconds float8 DEFAULT NULL,
    soft_timeout_seconds float8 DEFAULT NULL,
    "unique" anycompatible DEFAULT NULL,
    tags text[] DEFAULT NULL,
    metadata anycompatible DEFAULT NULL,
    traceparent text DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    job json; new_spec json; stored jobqueue.schedule; keeps_times boolean;
BEGIN
    IF name IS NULL OR name !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' OR name = 'preview' THEN
        PERFORM jobqueue.refuse('name', 'must be 1 to 128 letters, digits, "_", "-", "." or ":", and not "preview"');
    ELSIF num_nonnulls(cron, interval_seconds, solar, "at") <> 1 THEN
        PERFORM jobqueue.refuse('cron', 'give exactly one of cron, interval_seconds, solar and at');
    ELSIF cron !~ '^\s*(@[A-Za-z]+|[^\s@]+(\s+[^\s@]+){4,5})\s*$' THEN
        PERFORM jobqueue.refuse('cron', 'must have 5 or 6 fields, or be a name such as @daily');
    ELSIF interval_seconds < 1 THEN
        PERFORM jobqueue.refuse('interval_seconds', 'must be at least 1');
    ELSIF time_zone IS NOT NULL AND cron IS NULL THEN
        PERFORM jobqueue.refuse('time_zone', 'is only for cron');
    ELSIF kind IS NULL OR kind !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' THEN
        PERFORM jobqueue.refuse('kind', 'must be 1 to 128 letters, digits, "_", "-", "." or ":"');
    ELSIF queue !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
        PERFORM jobqueue.refuse('queue', 'must be 1 to 64 letters, digits, "_", "-", "." or ":"');
    ELSIF payload IS NULL THEN
        PERFORM jobqueue.refuse('payload', 'must not be null; JSON''s null is ''null''');
    ELSIF octet_length(payload::text) > 1048576 THEN
        PERFORM jobqueue.refuse('payload', 'must have at most 1048576 bytes of JSON');
    ELSIF dst NOT IN ('skip', 'shift', 'both') THEN
        PERFORM jobqueue.refuse('dst', 'must be skip, shift or both');
    ELSIF missed NOT IN ('skip', 'one', 'all') THEN
        PERFORM jobqueue.refuse('missed', 'must be skip, one or all');
    ELSIF overlap NOT IN ('allow', 'skip', 'queue_one', 'cancel_previous') THEN
        PERFORM jobqueue.refuse('overlap', 'must be allow, skip, queue_one or cancel_previous');
    END IF;
    PERFORM jobqueue.check_json('payload', payload::text);
    PERFORM jobqueue.check_json('metadata', metadata::text);
    IF retry IS NOT NULL THEN
        PERFORM jobqueue.check_retry(retry::text::json);
    END IF;
    IF "unique" IS NOT NULL THEN
        PERFORM jobqueue.check_unique("unique"::text::json);
    END IF;

    SELECT json_object_agg(v.key, v.value) INTO job FROM (VALUES
        ('queue', to_json(queue)), ('kind', to_json(kind)), ('payload', payload::text::json), ('priority', to_json(priority)),
        ('delay_seconds', to_json(delay_seconds)), ('max_attempts', to_json(max_attempts)), ('max_snoozes', to_json(max_snoozes)),
        ('retry', retry::text::json), ('timeout_seconds', to_json(timeout_seconds)),
        ('soft_timeout_seconds', to_json(soft_timeout_seconds)), ('unique', "unique"::text::json), ('tags', to_json(tags)),
        ('metadata', metadata::text::json), ('traceparent', to_json(traceparent))) AS v (key, value)
     WHERE v.value IS NOT NULL;
    SELECT json_object_agg(v.key, v.value) INTO new_spec FROM (VALUES
        ('cron', to_json(cron)), ('time_zone', to_json(time_zone)), ('dst', to_json(dst)),
        ('interval_seconds', to_json(interval_seconds)), ('anchor', jobqueue.json_time(anchor)), ('at', jobqueue.json_time("at")),
        ('solar', to_json(solar)), ('latitude', to_json(latitude)), ('longitude', to_json(longitude)),
        ('start_at', jobqueue.json_time(start_at)), ('end_at', jobqueue.json_time(end_at)), ('enabled', to_json(enabled)),
        ('max_runs', to_json(max_runs)), ('jitter_seconds', to_json(jitter_seconds)),
        ('expires_after_seconds', to_json(expires_after_seconds)), ('missed', to_json(missed)),
        ('missed_limit', to_json(missed_limit)), ('overlap', to_json(overlap)), ('owner', to_json(owner)),
        ('description', to_json(description)), ('job', job)) AS v (key, value)
     WHERE v.value IS NOT NULL;

    INSERT INTO jobqueue.schedule AS s (name, spec, owner, enabled, fires_at)
    VALUES (name, new_spec, owner, coalesce(enabled, true), CASE WHEN enabled IS NOT FALSE THEN jobqueue.now() END)
    ON CONFLICT ON CONSTRAINT schedule_name_key DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    SELECT * INTO stored FROM jobqueue.schedule s WHERE s.name = schedule.name FOR UPDATE;
    IF stored.id IS NULL THEN
        RAISE EXCEPTION 'the schedule was deleted at the same time' USING ERRCODE = '40001', HINT = 'run the transaction again';
    ELSIF stored.spec::text = new_spec::text THEN
        RETURN false;
    END IF;
    -- other times begin anew; a tick that is due already stays due otherwise
    keeps_times := stored.failed_at IS NULL AND NOT EXISTS (
        SELECT FROM unnest(ARRAY['cron', 'time_zone', 'dst', 'interval_seconds', 'anchor', 'solar', 'latitude', 'longitude', 'at', 'start_at', 'end_at',
                                 'enabled', 'max_runs', 'jitter_seconds']) AS k (key)
         WHERE stored.spec->>k.key IS DISTINCT FROM new_spec->>k.key);
    UPDATE jobqueue.schedule s
       SET spec = new_spec, owner = schedule.owner, enabled = coalesce(schedule.enabled, true), version = s.version + 1,
           changed_at = jobqueue.now(), failed_at = NULL, error = NULL,
           next_at = CASE WHEN keeps_times THEN s.next_at END,
           fires_at = CASE WHEN keeps_times THEN s.fires_at
                           WHEN schedule.enabled IS NOT FALSE AND s.paused_at IS NULL THEN jobqueue.now() END
     WHERE s.id = stored.id;
    RETURN true;
END $$;

-- Deletes a schedule and the history of its ticks. Its jobs stay. Returns whether it existed.
CREATE FUNCTION jobqueue.unschedule(name text) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    deleted bigint;
BEGIN
    DELETE FROM jobqueue.schedule s WHERE s.name = unschedule.name RETURNING s.id INTO deleted;
    DELETE FROM jobqueue.tick t WHERE t.schedule_id = deleted;
    RETURN deleted IS NOT NULL;
END $$;
