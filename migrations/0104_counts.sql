-- Counts of events and of jobs, for metrics and statistics.

-- What happened. Every batch inserts a row with its counts, and the reaper adds the rows to `counter`, so that no row is updated by many.
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
    attempts int NOT NULL DEFAULT 0,          -- that ran and ended, in whatever way
    run_ms bigint NOT NULL DEFAULT 0,         -- how long those attempts ran, in total
    snoozed int NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
-- The table has no primary key. In a publication FOR ALL TABLES, its rows can be deleted only if it says how a replica finds them. FULL
-- costs an insert nothing and needs no index. A delete logs the whole row, which is short, and only with wal_level = logical.
ALTER TABLE jobqueue.tally REPLICA IDENTITY FULL;

-- The sums of all tallies so far, with the same columns in the same order. Queue 0 has the sums of the queues that metrics do not name.
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
    run_ms bigint NOT NULL DEFAULT 0,
    snoozed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The waiting and running jobs of each queue. The reaper counts them every few seconds, so that a request for metrics does not.
CREATE TABLE jobqueue.census (
    queue_id int PRIMARY KEY,
    scheduled bigint NOT NULL,
    queued bigint NOT NULL,
    running bigint NOT NULL,
    oldest_at timestamptz,                    -- when the oldest job that can run now was submitted
    taken_at timestamptz NOT NULL,
    rates_at timestamptz,                     -- when the rates below were last computed; they are per second, averaged over minutes
    rates_queued bigint NOT NULL DEFAULT 0,   -- the value of `queued` at rates_at
    arrivals float8 NOT NULL DEFAULT 0,
    attempts float8 NOT NULL DEFAULT 0,
    run_ms float8 NOT NULL DEFAULT 0,
    -- Whether metrics name the queue. All other queues share one series. It is stored so that every replica of the API names the same.
    named boolean NOT NULL DEFAULT false,
    active_at timestamptz                     -- when a census last saw that something happened in the queue; null: never
) WITH (fillfactor = 50);

-- One row, written by every census.
CREATE TABLE jobqueue.census_state (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    taken_at timestamptz NOT NULL,            -- when all depths were counted
    named_queues int NOT NULL                 -- how many queues the metrics name, set by the reaper
);

-- The queues that exist. A deleted queue that got a job after its deletion exists again, which the next census writes down.
CREATE VIEW jobqueue.present_queue AS
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention FROM jobqueue.queue q WHERE q.deleted_at IS NULL
UNION ALL
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention FROM jobqueue.queue q
 WHERE q.deleted_at IS NOT NULL
   AND q.id = ANY (ARRAY(SELECT t.queue_id FROM jobqueue.tally t WHERE t.created > 0 OR t.retried > 0 OR t.leased > 0));
