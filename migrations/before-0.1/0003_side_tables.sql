-- Features that only some jobs use; the others never touch these tables.

-- The live holder of a unique key. kept: bits of the final statuses (1 completed, 2 failed, 4 cancelled) that keep the key.
CREATE TABLE jobqueue.unique_claim (
    digest uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    kept smallint NOT NULL
);
CREATE INDEX unique_claim_job ON jobqueue.unique_claim (job_id);

-- Answers that must be given again: key (hashed with its scope) to what was done for it.
CREATE TABLE jobqueue.idempotency (
    key uuid PRIMARY KEY,
    fingerprint uuid NOT NULL,                -- of the request; the same key with another request is refused
    answer json NOT NULL,
    created_at timestamptz NOT NULL,
    void_at timestamptz                       -- from then on the request is carried out again; null if it never is
);
CREATE INDEX idempotency_created ON jobqueue.idempotency (created_at);

-- Running jobs that a user wants stopped. Written under the lease's row lock, read by heartbeats.
CREATE TABLE jobqueue.cancel_request (
    job_id uuid PRIMARY KEY,
    epoch bigint NOT NULL,
    worker_id uuid,
    requested_at timestamptz NOT NULL
);
CREATE INDEX cancel_request_worker ON jobqueue.cancel_request (worker_id);

-- Jobs that are worthless after a moment, while they wait.
CREATE TABLE jobqueue.expiry (
    job_id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX expiry_expires_at ON jobqueue.expiry (expires_at);

-- Worker processes; the beat is a HOT update of one row.
CREATE TABLE jobqueue.worker (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    queues text[] NOT NULL,
    slots int NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    stale_ms bigint NOT NULL,                 -- its own word: silent for so long, it counts as dead
    draining boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- Counters without a hot row: every batch appends what it did, the reaper folds it into `counter`.
CREATE TABLE jobqueue.tally (
    queue_id int NOT NULL,
    created int NOT NULL DEFAULT 0,
    completed int NOT NULL DEFAULT 0,
    failed int NOT NULL DEFAULT 0,
    cancelled int NOT NULL DEFAULT 0,
    retried int NOT NULL DEFAULT 0,
    leased int NOT NULL DEFAULT 0,
    lost int NOT NULL DEFAULT 0,
    pruned int NOT NULL DEFAULT 0,
    attempts int NOT NULL DEFAULT 0,          -- that ran and ended, whatever came of them
    run_ms bigint NOT NULL DEFAULT 0          -- how long those ran, together
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE jobqueue.counter (
    queue_id int PRIMARY KEY,
    created bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    retried bigint NOT NULL DEFAULT 0,
    leased bigint NOT NULL DEFAULT 0,
    lost bigint NOT NULL DEFAULT 0,
    pruned bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    run_ms bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What waits and runs in each queue, counted by the reaper every few seconds so that a scrape never counts.
CREATE TABLE jobqueue.census (
    queue_id int PRIMARY KEY,
    scheduled bigint NOT NULL,
    queued bigint NOT NULL,
    running bigint NOT NULL,
    oldest_at timestamptz,                    -- submission of the oldest runnable job
    taken_at timestamptz NOT NULL,
    rates_at timestamptz,                     -- a second's worth of each, on average of the last minutes
    rates_queued bigint NOT NULL DEFAULT 0,   -- what `queued` was then
    arrivals float8 NOT NULL DEFAULT 0,
    attempts float8 NOT NULL DEFAULT 0,
    run_ms float8 NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
