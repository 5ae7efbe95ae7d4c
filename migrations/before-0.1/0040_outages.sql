-- When the database was not seen working. A worker is declared dead by the time in which it could have sent a heartbeat and
-- did not, so the reaper must know when nobody could. Both tables are written by the reaper alone.

-- One row: when a reaper last reached the database. Updated at each look for lost leases, about every two seconds.
CREATE TABLE jobqueue.watch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Times in which neither a reaper nor a worker is known to have reached the database. Kept for a day.
CREATE TABLE jobqueue.outage (
    ended_at timestamptz PRIMARY KEY,
    began_at timestamptz NOT NULL             -- soon after the last time before it at which a reaper reached the database
);

-- Since when the heartbeats of a worker have followed each other without a long gap: proof that the database was up all that
-- time. Null for workers of a version that does not maintain it.
ALTER TABLE jobqueue.worker ADD COLUMN steady_since timestamptz;
