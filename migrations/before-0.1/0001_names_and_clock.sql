-- The schema, its one clock, and the catalogue of names. Names are few and written once; hot rows carry their numbers.
CREATE SCHEMA jobqueue;

-- The only clock of the queue. Tests move it by a session setting; production never sets it.
CREATE FUNCTION jobqueue.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT now() + coalesce(nullif(current_setting('jobqueue.clock_offset', true), ''), '0')::interval
$$;

-- What this schema is and the oldest binary that may work on it (expand, then contract).
CREATE TABLE jobqueue.schema_version (version int NOT NULL, oldest_binary int NOT NULL);
INSERT INTO jobqueue.schema_version VALUES (1, 1);

CREATE TABLE jobqueue.queue (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    paused_at timestamptz,                    -- no new leases while set
    completed_retention interval,             -- null: the reaper's default
    failed_retention interval,
    created_at timestamptz NOT NULL DEFAULT jobqueue.now()
);

-- One priority of one queue: the unit in which waiting jobs are ordered.
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

-- The number of a (queue, priority), made on first use. Looks before it inserts: the hit is the rule.
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
