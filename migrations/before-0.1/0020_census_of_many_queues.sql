-- A census of many queues: idle queues are not rewritten, and metrics name the most active queues only.

-- One row, written by every census.
CREATE TABLE jobqueue.census_state (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    taken_at timestamptz NOT NULL,            -- when all depths were counted
    named_queues int NOT NULL                 -- how many queues the metrics name, set by the reaper
);

-- Whether the metrics name the queue. The others share one series, whose totals are the counter of queue 0.
-- It is stored so that every replica of the API shows the same queues.
ALTER TABLE jobqueue.census ADD COLUMN named boolean NOT NULL DEFAULT false;
UPDATE jobqueue.census SET named = true;
