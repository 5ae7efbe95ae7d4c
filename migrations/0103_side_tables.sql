-- Tables of features that only some jobs use. Jobs that do not use a feature have no row in its table.

-- Which job holds a unique key. `kept` has a bit for each final status in which the job keeps the key: 1 completed, 2 failed, 4 cancelled.
CREATE TABLE jobqueue.unique_claim (
    digest uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    kept smallint NOT NULL
);
CREATE INDEX unique_claim_job ON jobqueue.unique_claim (job_id);

-- Requests with an Idempotency-Key, and their answers, which are given again if the request is repeated.
CREATE TABLE jobqueue.idempotency (
    key uuid PRIMARY KEY,                     -- a hash of the key and its scope
    fingerprint uuid NOT NULL,                -- of the request; the same key with another request is refused
    answer json NOT NULL,
    created_at timestamptz NOT NULL,
    void_at timestamptz                       -- from then on a repeated request is carried out again; null: never
);
CREATE INDEX idempotency_created ON jobqueue.idempotency (created_at);

-- Running jobs that a user has cancelled. Written under the row lock of the lease, and read by the heartbeats of its worker.
CREATE TABLE jobqueue.cancel_request (
    job_id uuid PRIMARY KEY,
    epoch bigint NOT NULL,
    worker_id uuid,
    requested_at timestamptz NOT NULL
);
CREATE INDEX cancel_request_worker ON jobqueue.cancel_request (worker_id);

-- Waiting jobs that have an expires_at.
CREATE TABLE jobqueue.expiry (
    job_id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX expiry_expires_at ON jobqueue.expiry (expires_at);

-- How often jobs were snoozed, and how often they may be. A job gets its row at its first snooze, or at its submission if that sets a
-- bound. Only settles that snooze, and readers, use the table.
CREATE TABLE jobqueue.snooze (
    job_id uuid PRIMARY KEY,
    snoozes int NOT NULL DEFAULT 0,           -- since the submission, or since an operator last retried the job
    max_snoozes int                           -- null: the default
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Workers, one row each. A heartbeat is a HOT update of the row. A remote worker has no slots, no version and no stale time, and its leases
-- end only by their expiry.
CREATE TABLE jobqueue.worker (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    queues text[] NOT NULL,
    slots int,
    version text,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    stale_ms bigint,                          -- set by the worker: after so long without a heartbeat it is presumed dead; null: a remote worker
    draining boolean NOT NULL DEFAULT false,
    -- Since when its heartbeats have followed each other without a long gap, which proves that the database was up all that time. Null
    -- for workers of a version that does not maintain it.
    steady_since timestamptz,
    kinds text[] NOT NULL DEFAULT '{}'        -- that it leases; empty: all
) WITH (fillfactor = 50);

-- Workers that count as alive. A remote worker counts for a minute after its last request, and as long as it holds a lease that has not
-- expired.
CREATE VIEW jobqueue.live_worker AS
SELECT w.id, w.name, w.queues, w.kinds, w.slots, w.version, w.started_at, w.beat_at, w.draining, w.stale_ms IS NULL AS remote
FROM jobqueue.worker w
WHERE w.beat_at > jobqueue.now() - coalesce(w.stale_ms, 60000) * interval '1 ms'
   OR w.stale_ms IS NULL AND w.id IN (SELECT l.worker_id FROM jobqueue.lease l WHERE l.expires_at > jobqueue.now());

-- A worker is presumed dead if it sent no heartbeat while it could have. The next two tables say when nobody could, because the database
-- was down. Only the reaper writes them.

-- One row: when a reaper last reached the database. Updated at each search for lost leases, about every two seconds.
CREATE TABLE jobqueue.watch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Periods in which neither a reaper nor a worker is known to have reached the database. Kept for a day.
CREATE TABLE jobqueue.outage (
    ended_at timestamptz PRIMARY KEY,
    began_at timestamptz NOT NULL             -- soon after the last time before it at which a reaper reached the database
);
