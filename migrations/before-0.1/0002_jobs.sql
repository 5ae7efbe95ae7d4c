-- A job's body is written once and never updated; one narrow row says where the job is; a move is delete + insert in one
-- transaction; finishing is an append. docs/adr/0001-storage.md says why. No foreign keys on hot tables: they lock.

-- Everything the submitter said. Partitioned by id, which is by time: ids are UUIDv7 by this database's clock.
CREATE TABLE jobqueue.body (
    id uuid PRIMARY KEY,
    lane int NOT NULL,
    kind int NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,                    -- json, not jsonb: comes back exactly as sent
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamptz,
    expires_at timestamptz,
    unique_key text,
    unique_digest uuid,                       -- with unique_kept, what a retry needs to claim the key again
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
) PARTITION BY RANGE (id);

-- Runnable now. The id is the order: inside a lane, oldest first.
CREATE TABLE jobqueue.ready (
    job_id uuid NOT NULL,
    lane int NOT NULL,
    kind int NOT NULL,
    attempt smallint NOT NULL,                -- attempts already begun
    PRIMARY KEY (lane, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0.2, vacuum_truncate = off);

-- Waits for its time: delayed jobs and retries.
CREATE TABLE jobqueue.scheduled (
    job_id uuid PRIMARY KEY,
    run_at timestamptz NOT NULL,
    lane int NOT NULL,
    kind int NOT NULL,
    attempt smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX scheduled_run_at ON jobqueue.scheduled (run_at, job_id);

-- Who runs: one row for up to 64 jobs. `open` has a bit for each that is not settled; deleting the row is the fence.
-- One call may grant a lease a job, at most 1000, and draws once.
CREATE SEQUENCE jobqueue.lease_epoch INCREMENT 1000;
CREATE TABLE jobqueue.lease (
    epoch bigint PRIMARY KEY,
    token uuid NOT NULL,
    worker_id uuid,                           -- null: a remote worker, which lives by expires_at alone
    queue_id int NOT NULL,
    leased_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    open bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- What each lease holds; immutable, so that a heartbeat or a partial settle rewrites only the narrow row.
CREATE TABLE jobqueue.lease_jobs (
    epoch bigint PRIMARY KEY,
    lane int NOT NULL,                        -- where they go back to, so that a settle never reads bodies
    job_ids uuid[] NOT NULL,
    attempts smallint[] NOT NULL,
    kinds int[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Final states, append-only. status: 5 completed, 6 failed, 7 cancelled. The order of the columns needs no padding, and a ninth would
-- make every row eight bytes longer.
CREATE TABLE jobqueue.outcome (
    job_id uuid PRIMARY KEY,
    started_at timestamptz,                   -- null if it never ran
    finished_at timestamptz NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json                               -- the result of a completed job, the error of any other
) PARTITION BY RANGE (job_id);

-- Dead letters and cancelled jobs are few among many and looked for by status.
CREATE INDEX outcome_unsuccessful ON jobqueue.outcome (status, job_id) WHERE status <> 5;

-- Attempts that ended without completing the job, append-only. ended: retried, failed, snoozed, released, lost, cancelled.
CREATE TABLE jobqueue.attempt (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    ended text NOT NULL,
    worker_id uuid,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    error json,
    PRIMARY KEY (job_id, epoch)
) PARTITION BY RANGE (job_id);

-- Progress and log of an attempt; only handlers that report pay for it.
CREATE TABLE jobqueue.report (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, epoch)
) PARTITION BY RANGE (job_id);

-- Rows from 2 kB on are compressed; lz4, where this Postgres has it, takes a fraction of the default's time.
DO $$ BEGIN
    ALTER TABLE jobqueue.body ALTER payload SET COMPRESSION lz4;
    ALTER TABLE jobqueue.outcome ALTER detail SET COMPRESSION lz4;
    ALTER TABLE jobqueue.report ALTER log SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

-- The last bytes of a log, cut at a character.
CREATE FUNCTION jobqueue.tail(log text, max_bytes int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(log) <= max_bytes THEN log ELSE (
        SELECT convert_from(substring(t.bytes FROM CASE WHEN get_byte(t.bytes, 0) & 192 <> 128 THEN 1
                                                        WHEN get_byte(t.bytes, 1) & 192 <> 128 THEN 2
                                                        WHEN get_byte(t.bytes, 2) & 192 <> 128 THEN 3 ELSE 4 END), 'UTF8')
          FROM (SELECT substring(convert_to(log, 'UTF8') FROM octet_length(log) - max_bytes + 1) AS bytes) t) END
$$;

-- The smallest UUIDv7 of a moment.
CREATE FUNCTION jobqueue.id_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- The moment in a UUIDv7.
CREATE FUNCTION jobqueue.created_at(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;

-- Vacuums for inserts alone are off for what is only appended: under a long snapshot they read everything again and again, and set
-- nothing all-visible. Days are dropped long before their transactions grow old.

-- Makes the day partitions [from_day, from_day + days) that do not exist; skips a day whose rows already lie in the default one.
CREATE FUNCTION jobqueue.add_partitions(from_day date, days int) RETURNS int LANGUAGE plpgsql AS $$
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

CREATE TABLE jobqueue.body_default PARTITION OF jobqueue.body DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.outcome_default PARTITION OF jobqueue.outcome DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.attempt_default PARTITION OF jobqueue.attempt DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.report_default PARTITION OF jobqueue.report DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
SELECT jobqueue.add_partitions((now() AT TIME ZONE 'UTC')::date - 1, 5);
