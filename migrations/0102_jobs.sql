-- The tables that every job passes through. A job's body is written once and never updated. One narrow row says where the job is now:
-- in `ready`, in `scheduled`, or in a lease. To move a job is to delete one row and insert another in one transaction. A final state is
-- an inserted row of `outcome`. docs/adr/0001-storage.md says why. The tables have no foreign keys, because checking them takes locks.

-- Everything that the submitter said. Partitioned by id, which means by time of submission: ids are UUIDv7 by this database's clock.
CREATE TABLE jobqueue.body (
    id uuid PRIMARY KEY,
    lane int NOT NULL,
    kind int NOT NULL,
    max_attempts smallint NOT NULL,
    payload json NOT NULL,                    -- json, not jsonb, because it is returned exactly as it was sent
    retry json,
    timeout_ms bigint,
    soft_timeout_ms bigint,
    run_at timestamptz,
    expires_at timestamptz,
    unique_key text,
    unique_digest uuid,                       -- a retry claims the key again with the digest and unique_kept
    unique_kept smallint,
    tags text[],
    metadata json,
    traceparent text
) PARTITION BY RANGE (id);

-- Jobs that can run now. Within a lane the oldest id is first.
CREATE TABLE jobqueue.ready (
    job_id uuid NOT NULL,
    lane int NOT NULL,
    kind int NOT NULL,
    attempt smallint NOT NULL,                -- attempts that have begun
    PRIMARY KEY (lane, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0.2, vacuum_truncate = off);

-- Jobs that wait for something: for their run_at, as delayed jobs and retries do, or for other jobs. The status follows from the row:
-- `blocked` while `pending` is set, otherwise `scheduled`. A null takes no room, neither in the row nor in its log record.
CREATE TABLE jobqueue.scheduled (
    job_id uuid PRIMARY KEY,
    run_at timestamptz NOT NULL,
    lane int NOT NULL,
    kind int NOT NULL,
    attempt smallint NOT NULL,
    pending int                               -- how many other jobs it waits for; null: none
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
-- Only jobs that wait for nothing but their time are promoted.
CREATE INDEX scheduled_run_at ON jobqueue.scheduled (run_at, job_id) WHERE pending IS NULL;

-- The number of a lease. A call draws one value and may grant that value and the 999 after it.
CREATE SEQUENCE jobqueue.lease_epoch INCREMENT 1000;

-- Running jobs: one row for up to 64 jobs. Bit n of `open` is set while job n of the lease is not settled. When all are settled the row is
-- deleted, and from then on nothing can be written for the lease.
CREATE TABLE jobqueue.lease (
    epoch bigint PRIMARY KEY,
    token uuid NOT NULL,
    worker_id uuid,                           -- the leases of a remote worker, and those without a worker, end at expires_at only
    queue_id int NOT NULL,
    leased_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    open bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- The jobs of each lease. It is never updated, so that a heartbeat or a settle of some jobs rewrites only the narrow row of `lease`.
CREATE TABLE jobqueue.lease_jobs (
    epoch bigint PRIMARY KEY,
    lane int NOT NULL,                        -- of all its jobs, so that a settle returns them to the lane without reading bodies
    job_ids uuid[] NOT NULL,
    attempts smallint[] NOT NULL,
    kinds int[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- The jobs that run: those whose bit in `open` of their lease is set. Leases are looked up by key, because a join may be planned as a scan of
-- the table. Filter by `lease_jobs` too where the plan should skip other leases without taking them apart.
CREATE VIEW jobqueue.running AS
SELECT j.job_id, j.attempt, j.kind, h.lane, h.epoch, l.queue_id, l.worker_id, l.leased_at, l.expires_at, h.job_ids AS lease_jobs
  FROM jobqueue.lease_jobs h
 CROSS JOIN LATERAL unnest(h.job_ids, h.attempts, h.kinds) WITH ORDINALITY AS j (job_id, attempt, kind, place)
 CROSS JOIN LATERAL (SELECT x.queue_id, x.worker_id, x.leased_at, x.expires_at, x.open FROM jobqueue.lease x
                      WHERE x.epoch = h.epoch LIMIT 1) l
 WHERE (l.open >> (j.place - 1)::int) & 1 = 1;

-- Final states. `status` is 5 completed, 6 failed, 7 cancelled. The columns are in the order that needs no padding between them. One
-- more column would make every row eight bytes longer.
CREATE TABLE jobqueue.outcome (
    job_id uuid PRIMARY KEY,
    started_at timestamptz,                   -- null if the job never ran
    finished_at timestamptz NOT NULL,
    epoch bigint,
    worker_id uuid,
    status smallint NOT NULL,
    attempt smallint NOT NULL,
    detail json                               -- the result of a completed job, the error of any other
) PARTITION BY RANGE (job_id);

-- Failed and cancelled jobs are few among many, and users list them by status.
CREATE INDEX outcome_unsuccessful ON jobqueue.outcome (status, job_id) WHERE status <> 5;

-- Attempts that did not complete the job. `ended` is retried, failed, snoozed, released, lost or cancelled.
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

-- Progress and log of an attempt. Only attempts that report have a row.
CREATE TABLE jobqueue.report (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    progress json,
    log text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, epoch)
) PARTITION BY RANGE (job_id);

-- Postgres compresses large values. lz4 takes a fraction of the default's time, but not every build of Postgres has it.
DO $$ BEGIN
    ALTER TABLE jobqueue.body ALTER payload SET COMPRESSION lz4;
    ALTER TABLE jobqueue.outcome ALTER detail SET COMPRESSION lz4;
    ALTER TABLE jobqueue.report ALTER log SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

-- The last bytes of a log. The cut never splits a character.
CREATE FUNCTION jobqueue.tail(log text, max_bytes int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(log) <= max_bytes THEN log ELSE (
        SELECT convert_from(substring(t.bytes FROM CASE WHEN get_byte(t.bytes, 0) & 192 <> 128 THEN 1
                                                        WHEN get_byte(t.bytes, 1) & 192 <> 128 THEN 2
                                                        WHEN get_byte(t.bytes, 2) & 192 <> 128 THEN 3 ELSE 4 END), 'UTF8')
          FROM (SELECT substring(convert_to(log, 'UTF8') FROM octet_length(log) - max_bytes + 1) AS bytes) t) END
$$;

-- A new UUIDv7 by this database's clock, precise to 1/4096 ms (RFC 9562, section 6.2, method 3): 15 digits of time with the version
-- between them, then the last digits of a random UUID. It is one expression without FROM, so Postgres inlines it.
CREATE FUNCTION jobqueue.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (overlay(lpad(to_hex((extract(epoch FROM jobqueue.now() - now() + clock_timestamp()) * 4096000)::bigint), 15, '0')
                    PLACING '7' FROM 13 FOR 0) || right(gen_random_uuid()::text, 17))::uuid
$$;

-- The smallest UUIDv7 of a timestamp.
CREATE FUNCTION jobqueue.id_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- The timestamp in a UUIDv7.
CREATE FUNCTION jobqueue.created_at(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;

-- Creates the partitions of the days [from_day, from_day + days) that do not exist. It skips a day if the default partition has rows of
-- it. Returns how many days it created.
--
-- Autovacuum because of inserts alone is off in these tables. While an old snapshot is open, it would read them again and again without
-- marking any page all-visible. A day is dropped long before its transaction ids are old enough to need a vacuum.
--
-- Only the owner of the tables can create partitions, so the function runs as the owner. scripts/roles.sql grants it to the reaper.
CREATE FUNCTION jobqueue.add_partitions(from_day date, days int) RETURNS int LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
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
REVOKE EXECUTE ON FUNCTION jobqueue.add_partitions(date, int) FROM PUBLIC;

CREATE TABLE jobqueue.body_default PARTITION OF jobqueue.body DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.outcome_default PARTITION OF jobqueue.outcome DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.attempt_default PARTITION OF jobqueue.attempt DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE jobqueue.report_default PARTITION OF jobqueue.report DEFAULT WITH (autovacuum_vacuum_insert_threshold = -1);
SELECT jobqueue.add_partitions((now() AT TIME ZONE 'UTC')::date - 1, 5);
