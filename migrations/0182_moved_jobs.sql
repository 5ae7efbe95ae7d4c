-- A waiting job that an edit moves to another queue was created once. The counters of queues count it in both, because they never go down and
-- say how many jobs a queue has (docs/adr/0023-edit.md). The statistics count it where it was submitted: the tally of a move has an empty list of
-- kinds.
ALTER TABLE jobqueue.unnamed ADD COLUMN moved boolean NOT NULL DEFAULT false;   -- an edit moved it: it was created before

-- The functions are long, and only these lines of them change.
DO $$
DECLARE
    change record; definition text;
BEGIN
    FOR change IN SELECT * FROM (VALUES
        ('jobqueue.edit', '(new_queue_id, 1, 0, ARRAY[job.kind])', '(new_queue_id, 1, 0, ''{}'')'),
        ('jobqueue.edit', 'jobqueue.unnamed (job_id, queue, priority, kind, is_first)', 'jobqueue.unnamed (job_id, queue, priority, kind, is_first, moved)'),
        ('jobqueue.edit', 'NOT EXISTS (SELECT FROM jobqueue.unnamed) FROM', 'NOT EXISTS (SELECT FROM jobqueue.unnamed), true FROM'),
        ('jobqueue.name_jobs', 'kinds int[]; gone boolean[];', 'kinds int[]; gone boolean[]; moves boolean[];'),
        ('jobqueue.name_jobs', 'array_agg(u.cancelled) INTO jobs, lanes, kinds, gone', 'array_agg(u.cancelled), array_agg(u.moved) INTO jobs, lanes, kinds, gone, moves'),
        ('jobqueue.name_jobs', '::int, ARRAY[n.kind]', '::int, CASE WHEN n.moved THEN ''{}''::int[] ELSE ARRAY[n.kind] END'),
        ('jobqueue.name_jobs', 'unnest(lanes, kinds, gone) AS n (lane, kind, gone)', 'unnest(lanes, kinds, gone, moves) AS n (lane, kind, gone, moved)'),
        ('jobqueue.name_jobs', 'GROUP BY l.queue_id, n.kind;', 'GROUP BY l.queue_id, n.kind, n.moved;'))
        AS c (name, old, new)
    LOOP
        definition := pg_get_functiondef(change.name::regproc);
        IF position(change.old IN definition) = 0 THEN
            RAISE EXCEPTION 'the function % does not have the line that counts', change.name;
        END IF;
        EXECUTE replace(definition, change.old, change.new);
    END LOOP;
END $$;
