-- Statistics of minutes and hours. docs/adr/0020-statistics.md says why they are collected in this way.

-- What a tally says about its jobs. `counter` gets the same columns, always null, because older binaries read both tables as one.
ALTER TABLE jobqueue.tally
    ADD COLUMN at timestamptz NOT NULL DEFAULT jobqueue.now(),  -- when it happened
    -- The kind of all its jobs, or one kind for each created or completed job. Null: not known; an older binary wrote the row.
    ADD COLUMN kinds int[],
    -- For each attempt that ended: 1024 * (bucket of the wait + 1) + bucket of the run + 1; 0 instead of a bucket + 1 is none.
    ADD COLUMN samples int[];
ALTER TABLE jobqueue.counter
    ADD COLUMN at timestamptz,
    ADD COLUMN kinds int[],
    ADD COLUMN samples int[];

-- The numbers of one series in one minute or one hour. The census adds the tallies to both in the transaction that deletes them, so hours are
-- the sums of their minutes. The reaper deletes old rows.
CREATE TABLE jobqueue.statistic (
    at timestamptz NOT NULL,                  -- begin of the minute or hour
    queue_id int NOT NULL,                    -- 0: all queues; -1: all those that have no rows of their own in this hour
    kind_id int NOT NULL,                     -- the same for kinds
    created bigint NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    retried bigint NOT NULL,
    cancelled bigint NOT NULL,
    snoozed bigint NOT NULL,
    hourly boolean NOT NULL,
    waits bytea NOT NULL,                     -- histograms, as core::statistics::histogram encodes them
    runs bytea NOT NULL,
    PRIMARY KEY (hourly, queue_id, kind_id, at)   -- a series is one range
) WITH (fillfactor = 70);
CREATE INDEX statistic_at ON jobqueue.statistic (hourly, at);

-- The number of the bucket of a duration, as core::statistics::histogram computes it.
CREATE FUNCTION jobqueue.duration_bucket(duration interval) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    micros bigint := least(greatest((extract(epoch FROM duration) * 1000000)::bigint, 0), (1::bigint << 44) - 1);
    -- how often the width of the buckets has doubled, plus one
    octave int := 61 - position(B'1' IN micros::bit(64));
BEGIN
    IF micros < 16 THEN RETURN micros; END IF;
    RETURN octave * 16 + ((micros >> (octave - 1)) & 15);
END $$;

-- A sample with the age of the lease as its run, if the worker did not report how long the attempt ran.
CREATE FUNCTION jobqueue.timed_sample(sample int, age interval) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN sample % 1024 = 0 THEN sample + 1 + jobqueue.duration_bucket(age) ELSE sample END
$$;

-- For migrations: replaces a part of a function, all of which stays otherwise as earlier migrations left it. Stops if the part is not there.
CREATE FUNCTION jobqueue.change_function(name regproc, old text, new text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    definition CONSTANT text := pg_get_functiondef(name);
BEGIN
    IF position(old IN definition) = 0 THEN
        RAISE EXCEPTION 'the function % does not contain: %', name, old;
    END IF;
    EXECUTE replace(definition, old, new);
END $$;

-- The tallies of the SQL functions tell the kind.
SELECT jobqueue.change_function(c.name::regproc, c.old, c.new) FROM (VALUES
    ('jobqueue.name_jobs', 'INSERT INTO jobqueue.tally (queue_id, created, cancelled)', 'INSERT INTO jobqueue.tally (queue_id, created, cancelled, kinds)'),
    ('jobqueue.name_jobs', '(count(*) FILTER (WHERE n.gone))::int', '(count(*) FILTER (WHERE n.gone))::int, ARRAY[n.kind]'),
    ('jobqueue.name_jobs', 'unnest(lanes, gone) AS n (lane, gone)', 'unnest(lanes, kinds, gone) AS n (lane, kind, gone)'),
    ('jobqueue.name_jobs', 'GROUP BY l.queue_id;', 'GROUP BY l.queue_id, n.kind;'),
    ('jobqueue.withdraw', '(queue_id, cancelled) SELECT l.queue_id, 1 FROM jobqueue.lane l',
     '(queue_id, cancelled, kinds) SELECT l.queue_id, 1, ARRAY(SELECT b.kind FROM jobqueue.body b WHERE b.id = job) FROM jobqueue.lane l'),
    ('jobqueue.enqueue', '(queue_id, created) VALUES (queue_number, 1)', '(queue_id, created, kinds) VALUES (queue_number, 1, ARRAY[kind_number])'),
    ('jobqueue.retry', '(queue_id, retried) SELECT l.queue_id, 1 FROM', '(queue_id, retried, kinds) SELECT l.queue_id, 1, ARRAY[job.kind] FROM'))
    AS c (name, old, new);
