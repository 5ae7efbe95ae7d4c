-- What operators set for all jobs of a kind. Most kinds have no settings; the partial indexes have only those that do, because every lease
-- reads them.
ALTER TABLE jobqueue.kind
    ADD COLUMN paused_at timestamptz,         -- while it is set, no job of the kind is leased
    ADD COLUMN timeout_ms bigint,             -- of jobs without their own; null: the default of the worker
    ADD COLUMN retry json;                    -- policy of jobs without their own; null: the default
CREATE INDEX kind_paused ON jobqueue.kind (id) WHERE paused_at IS NOT NULL;
CREATE INDEX kind_configured ON jobqueue.kind (id) WHERE timeout_ms IS NOT NULL OR retry IS NOT NULL;

-- The settings of all kinds that have some, by number; null if none has. Every lease reads it. A view is planned with its statement, and a function
-- would be planned at each call.
CREATE VIEW jobqueue.kind_settings AS
    SELECT json_object_agg(k.id, json_build_object('timeout_ms', k.timeout_ms, 'retry', k.retry))::text AS settings FROM jobqueue.kind k
    WHERE k.timeout_ms IS NOT NULL OR k.retry IS NOT NULL;
