-- Edit in SQL, and what an edit means for the other verbs in SQL. docs/adr/0023-edit.md has the rules: an edit locks body, expiry and place in
-- this order, and gives the job a new row in its place, so that a lease whose snapshot is older skips the job.

-- As before, but a holder that was promoted or edited between the statements is looked for again. An application may not
-- have the right to lock bodies, so edits are not held off: if the holder turns out to have moved to another key when it is withdrawn, this is
-- undone.
CREATE OR REPLACE FUNCTION jobqueue.claim_key(claim uuid, job uuid, keeps smallint, replaces boolean) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    holder uuid; moves int := 0;
BEGIN
    LOOP
        INSERT INTO jobqueue.unique_claim VALUES (claim, job, keeps) ON CONFLICT DO NOTHING;
        IF FOUND THEN RETURN job; END IF;
        SELECT c.job_id INTO holder FROM jobqueue.unique_claim c WHERE c.digest = claim;
        CONTINUE WHEN holder IS NULL;   -- it was freed meanwhile
        IF NOT replaces THEN RETURN holder; END IF;
        BEGIN
            IF jobqueue.withdraw(holder, json_build_object('type', 'replaced', 'message', 'replaced by job ' || job), false) THEN
                UPDATE jobqueue.unique_claim c SET job_id = job, kept = keeps WHERE c.digest = claim AND c.job_id = holder;
                IF FOUND THEN RETURN job; END IF;
                RAISE EXCEPTION 'the holder moved to another key' USING ERRCODE = 'JQ001';
            END IF;
        EXCEPTION WHEN SQLSTATE 'JQ001' THEN
            CONTINUE;   -- it waits as before
        END;
        PERFORM FROM jobqueue.outcome o WHERE o.job_id = holder FOR UPDATE;
        IF NOT FOUND THEN
            -- it runs, it moved, it lost the key, or it was deleted
            CONTINUE WHEN NOT EXISTS (SELECT FROM jobqueue.unique_claim c WHERE c.digest = claim AND c.job_id = holder);
            IF moves < 10 AND jobqueue.status(holder) IN ('blocked', 'scheduled', 'queued') THEN
                moves := moves + 1;
                CONTINUE;
            END IF;
            RETURN holder;
        END IF;
        UPDATE jobqueue.unique_claim c SET job_id = job, kept = keeps WHERE c.digest = claim AND c.job_id = holder;
        IF FOUND THEN RETURN job; END IF;
    END LOOP;
END $$;

-- Changes a job that waits, in the caller's own transaction. A null parameter leaves a field as it is. A `run_at` that has passed means now, and
-- an `expires_at` of infinity means never. The payload and the tags are replaced as a whole. Returns the status of the job, or null if it
-- does not exist. `running` or a final status: nothing was done.
CREATE FUNCTION jobqueue.edit(
    id uuid,
    payload anycompatible DEFAULT NULL,
    queue text DEFAULT NULL,
    priority int DEFAULT NULL,
    run_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    tags text[] DEFAULT NULL
) RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    content CONSTANT text := payload::text;
    present CONSTANT timestamptz := jobqueue.now();
    job jobqueue.body; was record; now_is text;
    old_queue text; old_queue_id int; old_priority smallint; new_lane int; new_queue_id int;
    starts timestamptz; ends timestamptz; claim uuid; holder uuid; word text; at int := 0;
BEGIN
    IF queue !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$' THEN
        PERFORM jobqueue.refuse('queue', 'must be 1 to 64 letters, digits, "_", "-", "." or ":"');
    ELSIF priority NOT BETWEEN -100 AND 100 THEN
        PERFORM jobqueue.refuse('priority', 'must be between -100 and 100');
    ELSIF octet_length(content) > 1048576 THEN
        PERFORM jobqueue.refuse('payload', 'must have at most 1048576 bytes of JSON');
    ELSIF run_at NOT BETWEEN '1970-01-01Z' AND present + interval '3153600000 s' THEN
        PERFORM jobqueue.refuse('run_at', 'must be from 1970 on, and at most 36500 days ahead');
    ELSIF expires_at <> 'infinity' AND expires_at NOT BETWEEN '1970-01-01Z' AND present + interval '3153600000 s' THEN
        PERFORM jobqueue.refuse('expires_at', 'must be from 1970 on, and at most 36500 days ahead, or infinity');
    ELSIF cardinality(tags) > 20 OR array_ndims(tags) > 1 THEN
        PERFORM jobqueue.refuse('tags', 'must be a plain array of at most 20 entries');
    END IF;
    PERFORM jobqueue.check_json('payload', content);
    FOREACH word IN ARRAY coalesce(tags, '{}') LOOP
        PERFORM jobqueue.check_text('tags/' || at, word, 64);
        at := at + 1;
    END LOOP;

    FOR try IN 1..10 LOOP
        SELECT b.* INTO job FROM jobqueue.body b WHERE b.id = id FOR UPDATE;
        IF NOT FOUND THEN RETURN NULL; END IF;
        IF job.lane = 0 THEN
            PERFORM jobqueue.name_jobs();   -- this transaction enqueued it with a new name
            CONTINUE;
        END IF;
        PERFORM FROM jobqueue.expiry e WHERE e.job_id = id FOR UPDATE;
        DELETE FROM jobqueue.ready r WHERE r.lane = job.lane AND r.job_id = id
            RETURNING r.attempt, NULL::timestamptz AS run_at, NULL::int AS pending INTO was;
        IF NOT FOUND THEN
            DELETE FROM jobqueue.scheduled s WHERE s.job_id = id RETURNING s.attempt, s.run_at, s.pending INTO was;
            IF NOT FOUND THEN
                now_is := jobqueue.status(id);
                CONTINUE WHEN now_is IN ('blocked', 'scheduled', 'queued');   -- it moved
                RETURN now_is;
            END IF;
        END IF;
        IF content IS NOT NULL AND job.kind = (SELECT k.id FROM jobqueue.kind k WHERE k.name = 'jobqueue.webhook') THEN
            PERFORM jobqueue.refuse('payload', 'a delivery of a webhook cannot be changed');
        END IF;
        SELECT q.name, q.id, l.priority INTO old_queue, old_queue_id, old_priority
          FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = job.lane;
        queue := coalesce(queue, old_queue);
        priority := coalesce(priority, old_priority);
        SELECT l.id, l.queue_id INTO new_lane, new_queue_id
          FROM jobqueue.queue q JOIN jobqueue.lane l ON l.queue_id = q.id WHERE q.name = queue AND l.priority = priority;

        starts := coalesce(run_at, was.run_at);
        ends := CASE WHEN expires_at IS NULL THEN job.expires_at WHEN expires_at < 'infinity' THEN expires_at END;
        IF ends <= starts AND (run_at IS NOT NULL OR expires_at IS NOT NULL) THEN
            PERFORM jobqueue.refuse('expires_at', 'must be after the start');
        END IF;
        claim := job.unique_digest;
        IF queue <> old_queue AND claim = jobqueue.unique_digest('queue', old_queue, job.unique_key) THEN
            claim := jobqueue.unique_digest('queue', queue, job.unique_key);
            holder := jobqueue.claim_key(claim, id, job.unique_kept, false);
            IF holder <> id THEN
                RAISE EXCEPTION 'job % holds the unique key', holder USING ERRCODE = '23505', DETAIL = holder::text;
            END IF;
            DELETE FROM jobqueue.unique_claim c WHERE c.digest = job.unique_digest AND c.job_id = id;
        END IF;

        IF new_lane IS NULL THEN
            INSERT INTO jobqueue.unnamed (job_id, queue, priority, kind, is_first, moved)
                SELECT id, queue, priority, k.name, NOT EXISTS (SELECT FROM jobqueue.unnamed), true FROM jobqueue.kind k WHERE k.id = job.kind;
            new_lane := 0;
            -- the commit counts it as created in the new queue
            INSERT INTO jobqueue.tally (queue_id, pruned) VALUES (old_queue_id, 1);
        ELSIF new_queue_id <> old_queue_id THEN
            INSERT INTO jobqueue.tally (queue_id, created, pruned, kinds)
                VALUES (new_queue_id, 1, 0, '{}'), (old_queue_id, 0, 1, NULL);
        END IF;
        UPDATE jobqueue.body b SET lane = new_lane, payload = coalesce(content::json, b.payload), run_at = coalesce(run_at, b.run_at),
               expires_at = ends, unique_digest = claim, tags = coalesce(tags, b.tags) WHERE b.id = id;
        IF expires_at IS NOT NULL THEN
            DELETE FROM jobqueue.expiry e WHERE e.job_id = id;
            INSERT INTO jobqueue.expiry SELECT id, ends WHERE ends IS NOT NULL;
        END IF;
        IF was.pending IS NOT NULL OR (CASE WHEN run_at IS NULL THEN was.run_at IS NOT NULL ELSE run_at > present END) THEN
            INSERT INTO jobqueue.scheduled VALUES (id, coalesce(starts, present), new_lane, job.kind, was.attempt, was.pending);
            RETURN CASE WHEN was.pending IS NULL THEN 'scheduled' ELSE 'blocked' END;
        END IF;
        INSERT INTO jobqueue.ready VALUES (id, new_lane, job.kind, was.attempt);
        PERFORM nextval('jobqueue.sql_calls');
        RETURN 'queued';
    END LOOP;
    RAISE EXCEPTION 'the job moved each time that it was edited' USING ERRCODE = '40001', HINT = 'run the transaction again';
END $$;

-- A waiting job that an edit moves to another queue was created once. The counters of queues count it in both, because they never go down and
-- say how many jobs a queue has (docs/adr/0023-edit.md). The statistics count it where it was submitted: the tally of a move has an empty list of
-- kinds. If the same transaction cancelled the job, another tally counts that, with its kind.
ALTER TABLE jobqueue.unnamed ADD COLUMN moved boolean NOT NULL DEFAULT false;   -- an edit moved it: it was created before
SELECT jobqueue.change_function('jobqueue.name_jobs', c.old, c.new) FROM (VALUES
    ('kinds int[]; gone boolean[];', 'kinds int[]; gone boolean[]; moves boolean[];'),
    ('array_agg(u.cancelled) INTO jobs, lanes, kinds, gone', 'array_agg(u.cancelled), array_agg(u.moved) INTO jobs, lanes, kinds, gone, moves'),
    ('(count(*) FILTER (WHERE n.gone))::int, ARRAY[n.kind]',
     '(count(*) FILTER (WHERE n.gone AND NOT n.moved))::int, CASE WHEN n.moved THEN ''{}''::int[] ELSE ARRAY[n.kind] END'),
    ('unnest(lanes, kinds, gone) AS n (lane, kind, gone)', 'unnest(lanes, kinds, gone, moves) AS n (lane, kind, gone, moved)'),
    ('GROUP BY l.queue_id, n.kind;', 'GROUP BY l.queue_id, n.kind, n.moved;
    INSERT INTO jobqueue.tally (queue_id, cancelled, kinds)
        SELECT l.queue_id, count(*)::int, ARRAY[n.kind]
          FROM unnest(lanes, kinds, gone, moves) AS n (lane, kind, gone, moved) JOIN jobqueue.lane l ON l.id = n.lane
         WHERE n.gone AND n.moved GROUP BY l.queue_id, n.kind;'))
    AS c (old, new);
