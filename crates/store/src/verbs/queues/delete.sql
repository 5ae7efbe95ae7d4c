-- store.queue.delete
-- One snapshot shows that a queue has no job, and hides the queue. A job that is committed later restores it: its tally is not among those
-- that this snapshot sees, so it stays, and the census finds it.
-- $2 false: the caller knows from the last census that there was no job. Without a tally since then there is none now. A setting that was made
-- since the caller looked keeps the queue.
WITH empty AS MATERIALIZED (
    SELECT q.id FROM jobqueue.queue q
    WHERE q.id = ANY ($1) AND CASE WHEN $2::boolean THEN
              NOT EXISTS (SELECT FROM jobqueue.lane l JOIN jobqueue.ready r ON r.lane = l.id WHERE l.queue_id = q.id)
              AND NOT EXISTS (SELECT FROM jobqueue.scheduled s
                              WHERE s.lane = ANY (ARRAY(SELECT l.id FROM jobqueue.lane l WHERE l.queue_id = q.id)))
              AND NOT EXISTS (SELECT FROM jobqueue.lease e WHERE e.queue_id = q.id AND e.open <> 0)
          ELSE q.paused_at IS NULL AND q.completed_retention IS NULL AND q.failed_retention IS NULL AND q.max_queued IS NULL
              AND q.id NOT IN (SELECT t.queue_id FROM jobqueue.tally t) END
    ORDER BY q.id FOR UPDATE),
ids AS MATERIALIZED (SELECT ARRAY(SELECT id FROM empty) AS empty),
tally AS (UPDATE jobqueue.tally SET queue_id = $3 WHERE queue_id = ANY ((SELECT empty FROM ids)::int[])),
census AS (DELETE FROM jobqueue.census WHERE queue_id = ANY ((SELECT empty FROM ids)::int[])),
counter AS (DELETE FROM jobqueue.counter WHERE queue_id = ANY ((SELECT empty FROM ids)::int[]) RETURNING *),
total AS (
    INSERT INTO jobqueue.counter AS c
           (queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms)
    SELECT $3, sum(created), sum(completed), sum(failed), sum(cancelled), sum(retried), sum(leased), sum(lost), sum(pruned),
           sum(snoozed), sum(attempts), sum(run_ms) FROM counter HAVING count(*) > 0
    ON CONFLICT (queue_id) DO UPDATE SET
        created = c.created + excluded.created, completed = c.completed + excluded.completed, failed = c.failed + excluded.failed,
        cancelled = c.cancelled + excluded.cancelled, retried = c.retried + excluded.retried, leased = c.leased + excluded.leased,
        lost = c.lost + excluded.lost, pruned = c.pruned + excluded.pruned, snoozed = c.snoozed + excluded.snoozed,
        attempts = c.attempts + excluded.attempts, run_ms = c.run_ms + excluded.run_ms)
UPDATE jobqueue.queue SET deleted_at = jobqueue.now(), paused_at = NULL, completed_retention = NULL, failed_retention = NULL, max_queued = NULL
WHERE id = ANY ((SELECT empty FROM ids)::int[])
