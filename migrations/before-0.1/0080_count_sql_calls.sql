-- Calls of jobqueue.enqueue and jobqueue.retry that made a job ready without a notification. The reaper reads this sequence to notify the
-- workers when such a call commits; docs/adr/0014-sql-arrivals.md says why. A sequence has no rows to clean up, no call waits for another, and
-- only one call in 32 writes to the log. Do not set CACHE: a session would then draw many numbers at once, and the next calls would not show.
CREATE SEQUENCE jobqueue.sql_calls;

-- Adds the counting to the two functions as the migrations before have left them.
DO $$
DECLARE
    change text[];
    definition text;
BEGIN
    FOREACH change SLICE 1 IN ARRAY ARRAY[
        ['enqueue', E'    IF wake THEN\n        PERFORM pg_notify(''jobqueue_wake'', queue);\n    END IF;',
                    E'    IF wake THEN\n        PERFORM pg_notify(''jobqueue_wake'', queue);\n'
                    '    ELSIF start_at IS NULL OR start_at <= present THEN\n        PERFORM nextval(''jobqueue.sql_calls'');\n    END IF;'],
        ['retry', E'    RETURN ''queued'';', E'    PERFORM nextval(''jobqueue.sql_calls'');\n    RETURN ''queued'';']
    ] LOOP
        SELECT pg_get_functiondef(p.oid) INTO STRICT definition FROM pg_proc p
         WHERE p.pronamespace = 'jobqueue'::regnamespace AND p.proname = change[1];
        IF strpos(definition, change[2]) = 0 THEN
            RAISE EXCEPTION 'jobqueue.% does not have the lines that this migration changes', change[1];
        END IF;
        EXECUTE replace(definition, change[2], change[3]);
    END LOOP;
END $$;
