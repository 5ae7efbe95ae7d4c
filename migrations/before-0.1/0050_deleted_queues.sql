-- Queues can be deleted, and queues that nothing uses expire. The row of a deleted queue stays, because processes cache its number, and a
-- transaction that read the number before the deletion may still store a job. docs/adr/0016-deleted-queues.md says why.
ALTER TABLE jobqueue.queue
    ADD COLUMN deleted_at timestamptz,        -- null: not deleted
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT jobqueue.now();   -- when it was created or restored, or an operator last set something

-- Deleted queues cost no reader anything.
CREATE INDEX queue_present ON jobqueue.queue (name COLLATE "C") WHERE deleted_at IS NULL;

-- When the census last saw that something happened in the queue; null before.
ALTER TABLE jobqueue.census ADD COLUMN active_at timestamptz;

-- The queues that exist. A deleted queue that got a job after its deletion exists again, which the next census writes down.
CREATE VIEW jobqueue.present_queue AS
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention FROM jobqueue.queue q WHERE q.deleted_at IS NULL
UNION ALL
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention FROM jobqueue.queue q
 WHERE q.deleted_at IS NOT NULL
   AND q.id = ANY (ARRAY(SELECT t.queue_id FROM jobqueue.tally t WHERE t.created > 0 OR t.retried > 0 OR t.leased > 0));
