-- The schema, its version, its clock, and the tables of names. A name is stored once; the tables that change often hold its number.
CREATE SCHEMA jobqueue;

-- One row. `version` is the number of the newest migration, set by `jobqueue migrate` when it has applied everything. `oldest_binary` is
-- the newest migration that a binary must know at least to work on this schema. A migration that removes what older binaries use raises it.
CREATE TABLE jobqueue.schema_version (version int NOT NULL, oldest_binary int NOT NULL);
INSERT INTO jobqueue.schema_version VALUES (1, 1);
-- The table has no primary key. In a publication FOR ALL TABLES, its row can be updated only if the table says how a replica finds it.
ALTER TABLE jobqueue.schema_version REPLICA IDENTITY FULL;

-- The only clock of the queue. Tests move it with a session setting that production never sets.
CREATE FUNCTION jobqueue.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT now() + coalesce(nullif(current_setting('jobqueue.clock_offset', true), ''), '0')::interval
$$;

CREATE TABLE jobqueue.queue (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    paused_at timestamptz,                    -- while it is set, no job of the queue is leased
    completed_retention interval,             -- null: the reaper's default
    failed_retention interval,                -- of failed and cancelled jobs; null: the reaper's default
    created_at timestamptz NOT NULL DEFAULT jobqueue.now(),
    -- Null: not deleted. The row of a deleted queue stays, because processes cache its number, and a transaction that read the number before the
    -- deletion may still store a job. docs/adr/0016-deleted-queues.md says why.
    deleted_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT jobqueue.now()     -- when it was created or restored, or an operator last set something
);
-- Deleted queues cost no reader anything.
CREATE INDEX queue_present ON jobqueue.queue (name COLLATE "C") WHERE deleted_at IS NULL;

-- A lane is one priority of one queue. Waiting jobs are ordered within a lane.
CREATE TABLE jobqueue.lane (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_id int NOT NULL,
    priority smallint NOT NULL,
    UNIQUE (queue_id, priority)
);

CREATE TABLE jobqueue.kind (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- The number of a lane, which is created if it does not exist. Reads before it inserts, because most calls find the lane.
CREATE FUNCTION jobqueue.lane_id(queue_name text, lane_priority smallint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE found_id int;
BEGIN
    SELECT l.id INTO found_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
     WHERE q.name = queue_name AND l.priority = lane_priority;
    IF found_id IS NULL THEN
        INSERT INTO jobqueue.queue (name) VALUES (queue_name) ON CONFLICT DO NOTHING;
        INSERT INTO jobqueue.lane (queue_id, priority)
            SELECT q.id, lane_priority FROM jobqueue.queue q WHERE q.name = queue_name ON CONFLICT DO NOTHING;
        SELECT l.id INTO found_id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
         WHERE q.name = queue_name AND l.priority = lane_priority;
    END IF;
    RETURN found_id;
END $$;

-- The number of a kind, which is created if it does not exist.
CREATE FUNCTION jobqueue.kind_id(kind_name text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE found_id int;
BEGIN
    SELECT id INTO found_id FROM jobqueue.kind WHERE name = kind_name;
    IF found_id IS NULL THEN
        INSERT INTO jobqueue.kind (name) VALUES (kind_name) ON CONFLICT DO NOTHING;
        SELECT id INTO found_id FROM jobqueue.kind WHERE name = kind_name;
    END IF;
    RETURN found_id;
END $$;

-- The queue's name of a lane.
CREATE FUNCTION jobqueue.queue_of(lane_number int) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT q.name FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = lane_number
$$;
