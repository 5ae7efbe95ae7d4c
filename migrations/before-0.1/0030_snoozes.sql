-- How often jobs were snoozed, and how often they may be. A job has a row here from its first snooze on, or from its submission if that sets
-- a bound. Only settles that snooze, and readers, come here.
CREATE TABLE jobqueue.snooze (
    job_id uuid PRIMARY KEY,
    snoozes int NOT NULL DEFAULT 0,           -- since the submission, or since an operator last retried the job
    max_snoozes int                           -- null: the default
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Counted for the metrics. The last column of both, for they are read together.
ALTER TABLE jobqueue.tally ADD COLUMN snoozed int NOT NULL DEFAULT 0;
ALTER TABLE jobqueue.counter ADD COLUMN snoozed bigint NOT NULL DEFAULT 0;
