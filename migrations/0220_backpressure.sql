-- Backpressure: a queue can have a largest number of queued jobs, above which submissions are refused. docs/adr/0028-backpressure.md says what is
-- counted, and why it may be exceeded.

ALTER TABLE jobqueue.queue
    ADD COLUMN max_queued bigint CHECK (max_queued BETWEEN 0 AND 1000000000);   -- null: no limit
CREATE INDEX queue_max_queued ON jobqueue.queue (id) WHERE max_queued IS NOT NULL;

CREATE OR REPLACE VIEW jobqueue.present_queue AS
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention, q.max_queued FROM jobqueue.queue q WHERE q.deleted_at IS NULL
UNION ALL
SELECT q.id, q.name, q.paused_at, q.completed_retention, q.failed_retention, q.max_queued FROM jobqueue.queue q
 WHERE q.deleted_at IS NOT NULL
   AND q.id = ANY (ARRAY(SELECT t.queue_id FROM jobqueue.tally t WHERE t.created > 0 OR t.retried > 0 OR t.leased > 0));

-- The queues with a limit, and about how many jobs they have: those that the last census counted as queued, and what the tallies say since. The census
-- removes the tallies in the transaction in which it writes its count, so nothing counts twice. What is submitted while it counts is missing until
-- the next one. Until then delayed jobs count when they are submitted, cancelled ones as if they had been queued, and promoted ones not at all.
CREATE VIEW jobqueue.bounded_queue AS
SELECT q.id, q.name, q.max_queued, q.paused_at IS NOT NULL AS paused,
       greatest(coalesce(c.queued, 0) + coalesce(t.jobs, 0), 0)::bigint AS queued, coalesce(c.attempts, 0) AS drain_per_second
  FROM jobqueue.queue q
  LEFT JOIN jobqueue.census c ON c.queue_id = q.id
  LEFT JOIN (SELECT t.queue_id, sum(t.created - t.leased - t.cancelled + t.lost) AS jobs FROM jobqueue.tally t GROUP BY t.queue_id) t ON t.queue_id = q.id
 WHERE q.max_queued IS NOT NULL AND q.deleted_at IS NULL;

-- Refuses a submission in SQL if the queue has no room for one job more. It runs as the owner, because a submitter may not read the counts, and
-- applications that were granted the tables one by one must not fail after this migration.
CREATE FUNCTION jobqueue.check_room(queue_number int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    line record;
BEGIN
    SELECT l.name, l.max_queued, l.queued INTO line FROM jobqueue.bounded_queue l WHERE l.id = queue_number;
    IF line.queued >= line.max_queued THEN
        RAISE EXCEPTION 'the queue % has % queued jobs, and its max_queued is %', line.name, line.queued, line.max_queued
            USING ERRCODE = '53400', HINT = 'submit the job again later';
    END IF;
END $$;

-- A queue without a limit costs a submission nothing more: the limit is read with the numbers of the names. A new priority or kind is rare.
SELECT jobqueue.change_function(c.name::regproc, c.old, c.new) FROM (VALUES
    ('jobqueue.enqueue', 'keeps smallint; at int; word text;', 'keeps smallint; at int; word text; most bigint; replaces boolean;'),
    ('jobqueue.enqueue', $old$    SELECT l.id, l.queue_id, k.id INTO lane_number, queue_number, kind_number
$old$, $new$    SELECT l.id, l.queue_id, k.id, q.max_queued INTO lane_number, queue_number, kind_number, most
$new$),
    ('jobqueue.enqueue', $old$    IF wish IS NOT NULL THEN
        unique_key := wish->>'key';
$old$, $new$    IF lane_number IS NULL THEN
        SELECT q.id, q.max_queued INTO queue_number, most FROM jobqueue.queue q WHERE q.name = queue;
    END IF;
    IF wish IS NOT NULL THEN
        unique_key := wish->>'key';
$new$),
    ('jobqueue.enqueue', $old$        holder := jobqueue.claim_key(claim, new_job, keeps, word = 'replace');
$old$, $new$        IF most IS NOT NULL AND word = 'replace' THEN
            replaces := EXISTS (SELECT FROM jobqueue.unique_claim c WHERE c.digest = claim);
        END IF;
        holder := jobqueue.claim_key(claim, new_job, keeps, word = 'replace');
$new$),
    ('jobqueue.enqueue', $old$    IF lane_number IS NULL THEN
        INSERT INTO jobqueue.unnamed$old$, $new$    IF most IS NOT NULL AND replaces IS NOT TRUE AND (start_at <= present) IS NOT FALSE THEN
        PERFORM jobqueue.check_room(queue_number);
    END IF;
    IF lane_number IS NULL THEN
        INSERT INTO jobqueue.unnamed$new$),
    ('jobqueue.audit_queue', $old$'failed_retention_seconds', extract(epoch FROM OLD.failed_retention)::float8);$old$,
     $new$'failed_retention_seconds', extract(epoch FROM OLD.failed_retention)::float8, 'max_queued', OLD.max_queued);$new$),
    ('jobqueue.audit_queue', $old$'failed_retention_seconds', extract(epoch FROM NEW.failed_retention)::float8);$old$,
     $new$'failed_retention_seconds', extract(epoch FROM NEW.failed_retention)::float8, 'max_queued', NEW.max_queued);$new$))
    AS c (name, old, new);

DROP TRIGGER audited ON jobqueue.queue;
CREATE TRIGGER audited AFTER UPDATE ON jobqueue.queue FOR EACH ROW
    WHEN ((OLD.paused_at, OLD.completed_retention, OLD.failed_retention, OLD.max_queued)
          IS DISTINCT FROM (NEW.paused_at, NEW.completed_retention, NEW.failed_retention, NEW.max_queued)
          OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) AND jobqueue.has_actor())
    EXECUTE FUNCTION jobqueue.audit_queue();
ALTER TABLE jobqueue.queue ENABLE ALWAYS TRIGGER audited;
