-- Kinds that nothing has used for as long as statistics are kept are deleted as queues are (docs/adr/0016-deleted-queues.md): the row stays with its
-- number, and is not listed.
ALTER TABLE jobqueue.kind
    ADD COLUMN used_at timestamptz NOT NULL DEFAULT jobqueue.now(),   -- when a census last saw it in a tally, to the hour
    ADD COLUMN deleted_at timestamptz;
CREATE INDEX kind_present ON jobqueue.kind (name COLLATE "C") WHERE deleted_at IS NULL;

-- The kinds that exist. A deleted kind that got a job after its deletion exists again, which the next census writes down.
CREATE VIEW jobqueue.present_kind AS
SELECT k.id, k.name, k.paused_at, k.timeout_ms, k.retry FROM jobqueue.kind k WHERE k.deleted_at IS NULL
UNION ALL
SELECT k.id, k.name, k.paused_at, k.timeout_ms, k.retry FROM jobqueue.kind k
 WHERE k.deleted_at IS NOT NULL AND k.id = ANY (ARRAY(SELECT unnest(t.kinds) FROM jobqueue.tally t));

-- Every process compares the migrations that it needs with this record when it starts.
GRANT SELECT ON jobqueue.migration TO PUBLIC;
