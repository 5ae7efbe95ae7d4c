-- Group roles with least privilege. docs/security.md explains them.
--
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f scripts/roles.sql
--
-- Run it after every `jobqueue migrate`, in the database of the queue, as a superuser, or as the role that ran `migrate` if that role has
-- CREATEROLE and owns the database. It can be run again at any time: it revokes what the group roles have and grants what is listed here,
-- in one transaction. The group roles cannot log in. Grant them to login roles of your own.
BEGIN;
SET LOCAL search_path = pg_catalog;
-- a change of ownership waits for transactions that use the table, and blocks others while it waits
SET LOCAL lock_timeout = '5s';

DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['jobqueue_owner', 'jobqueue_submitter', 'jobqueue_reader', 'jobqueue_operator',
                                     'jobqueue_runner', 'jobqueue_reaper'] LOOP
        IF to_regrole(role_name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
    IF NOT pg_has_role('jobqueue_owner', 'USAGE') THEN
        GRANT jobqueue_owner TO CURRENT_USER;
    END IF;
END $$;

-- The owner owns everything in the schema, including what a later `migrate` has added.
DO $$
DECLARE statement text;
BEGIN
    FOR statement IN
        SELECT 'ALTER SCHEMA jobqueue OWNER TO jobqueue_owner' FROM pg_namespace
         WHERE nspname = 'jobqueue' AND nspowner <> 'jobqueue_owner'::regrole
        UNION ALL
        -- sequences of identity columns follow their table
        SELECT format('ALTER TABLE jobqueue.%I OWNER TO jobqueue_owner', c.relname) FROM pg_class c
         WHERE c.relnamespace = 'jobqueue'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
           AND c.relowner <> 'jobqueue_owner'::regrole
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
                           AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0)
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO jobqueue_owner', p.oid::regprocedure) FROM pg_proc p
         WHERE p.pronamespace = 'jobqueue'::regnamespace AND p.proowner <> 'jobqueue_owner'::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
END $$;

-- Rights of an earlier version of this script.
REVOKE ALL ON ALL TABLES IN SCHEMA jobqueue
    FROM jobqueue_submitter, jobqueue_reader, jobqueue_operator, jobqueue_runner, jobqueue_reaper;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA jobqueue
    FROM jobqueue_submitter, jobqueue_reader, jobqueue_operator, jobqueue_runner, jobqueue_reaper;
REVOKE ALL ON FUNCTION jobqueue.add_partitions(date, int), jobqueue.prune_day(text, interval, interval, int), jobqueue.keep_secret(text, bigint),
    jobqueue.announce_ends(uuid[]), jobqueue.audit(text, text, json, bigint, json, json), jobqueue.prune_audit(interval, int)
    FROM PUBLIC, jobqueue_submitter, jobqueue_reader, jobqueue_operator, jobqueue_runner, jobqueue_reaper;

-- All roles: the schema, its version, and the names of queues and kinds. Functions run with the rights of their caller, except those that
-- create names at commit, create partitions and drop partitions.
GRANT USAGE ON SCHEMA jobqueue TO jobqueue_submitter, jobqueue_reader, jobqueue_operator, jobqueue_runner, jobqueue_reaper;
GRANT SELECT ON jobqueue.schema_version, jobqueue.queue, jobqueue.lane, jobqueue.kind, jobqueue.kind_settings
    TO jobqueue_submitter, jobqueue_reader, jobqueue_operator, jobqueue_runner, jobqueue_reaper;

-- The submitter: jobqueue.enqueue, and submissions of the API. It cannot read any job, not even its own.
GRANT INSERT ON jobqueue.queue, jobqueue.lane, jobqueue.kind, jobqueue.body, jobqueue.ready, jobqueue.scheduled, jobqueue.expiry,
    jobqueue.snooze, jobqueue.tally TO jobqueue_submitter;
GRANT SELECT (job_id) ON jobqueue.scheduled TO jobqueue_submitter;   -- to return whether a job waits
GRANT SELECT, INSERT ON jobqueue.unnamed TO jobqueue_submitter;
-- those who end jobs; a submission that replaces a job cancels it
GRANT EXECUTE ON FUNCTION jobqueue.announce_ends(uuid[]) TO jobqueue_submitter, jobqueue_operator, jobqueue_runner;
GRANT SELECT ON jobqueue.route, jobqueue.route_version, jobqueue.bounded_queue TO jobqueue_submitter;
GRANT USAGE ON SEQUENCE jobqueue.sql_calls TO jobqueue_submitter, jobqueue_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.unique_claim, jobqueue.idempotency TO jobqueue_submitter;

-- The reader: jobs with payloads, results and logs, queues, workers and counts; no token of a lease, no idempotency key.
GRANT SELECT ON jobqueue.jobs, jobqueue.running, jobqueue.ready, jobqueue.scheduled, jobqueue.lease_jobs, jobqueue.outcome, jobqueue.attempt,
    jobqueue.report, jobqueue.expiry, jobqueue.snooze, jobqueue.cancel_request, jobqueue.worker, jobqueue.live_worker, jobqueue.worker_command, jobqueue.tally, jobqueue.counter,
    jobqueue.census, jobqueue.census_state, jobqueue.present_queue, jobqueue.bounded_queue, jobqueue.present_kind, jobqueue.schedule, jobqueue.tick, jobqueue.route, jobqueue.route_version,
    jobqueue.dead_letter, jobqueue.dead_letter_cause, jobqueue.dead_letter_group, jobqueue.dead_letter_total, jobqueue.replacement,
    jobqueue.redrive, jobqueue.statistic TO jobqueue_reader;
-- all but the secret of a webhook
GRANT SELECT (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, run_at, expires_at, unique_key, unique_digest, unique_kept, tags,
    metadata, traceparent, on_end) ON jobqueue.body TO jobqueue_reader;
GRANT SELECT (epoch, worker_id, queue_id, leased_at, expires_at, open) ON jobqueue.lease TO jobqueue_reader;

-- The operator: reads, cancels, retries, promotes, edits, deletes, purges, pauses, deletes queues and changes their settings, and sets schedules, routes and API keys.
GRANT jobqueue_reader TO jobqueue_operator;
GRANT INSERT, UPDATE, DELETE ON jobqueue.ready, jobqueue.scheduled, jobqueue.outcome, jobqueue.cancel_request, jobqueue.expiry,
    jobqueue.snooze TO jobqueue_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.unique_claim, jobqueue.idempotency TO jobqueue_operator;
GRANT DELETE ON jobqueue.body, jobqueue.attempt, jobqueue.report TO jobqueue_operator;
GRANT UPDATE (lane, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, run_at, expires_at, unique_digest, tags, metadata)
    ON jobqueue.body TO jobqueue_operator;   -- an edit; the id and the kind of a job never change
GRANT INSERT, UPDATE ON jobqueue.queue TO jobqueue_operator;
GRANT UPDATE (paused_at, timeout_ms, retry, used_at, deleted_at) ON jobqueue.kind TO jobqueue_operator;
GRANT INSERT, UPDATE, DELETE ON jobqueue.counter TO jobqueue_operator;
GRANT DELETE ON jobqueue.census TO jobqueue_operator;
GRANT UPDATE (queue_id) ON jobqueue.tally TO jobqueue_operator;
GRANT INSERT ON jobqueue.lane, jobqueue.kind, jobqueue.tally TO jobqueue_operator;
GRANT SELECT, INSERT, UPDATE ON jobqueue.unnamed TO jobqueue_operator;   -- an edit in SQL that names a new queue, and a cancel after it
GRANT UPDATE (open) ON jobqueue.lease TO jobqueue_operator;   -- to lock the row
GRANT INSERT, UPDATE, DELETE ON jobqueue.schedule TO jobqueue_operator;
GRANT DELETE ON jobqueue.tick TO jobqueue_operator;
GRANT INSERT, UPDATE, DELETE ON jobqueue.route TO jobqueue_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.api_key TO jobqueue_operator;
GRANT SELECT, UPDATE ON jobqueue.api_key_version TO jobqueue_operator;
GRANT UPDATE ON jobqueue.route_version TO jobqueue_operator;   -- to lock the row
GRANT INSERT ON jobqueue.worker_command TO jobqueue_operator;
GRANT UPDATE, DELETE ON jobqueue.dead_letter TO jobqueue_operator;
GRANT INSERT ON jobqueue.replacement TO jobqueue_operator;
GRANT INSERT, UPDATE ON jobqueue.redrive TO jobqueue_operator;
GRANT SELECT, DELETE ON jobqueue.redriven TO jobqueue_operator;
GRANT EXECUTE ON FUNCTION jobqueue.keep_secret(text, bigint) TO jobqueue_operator;
GRANT SELECT ON jobqueue.body TO jobqueue_operator;   -- functions that act on a job read all of it
-- Its changes are recorded by this function and by triggers. No role but the owner can write the log itself.
GRANT EXECUTE ON FUNCTION jobqueue.audit(text, text, json, bigint, json, json) TO jobqueue_operator;
GRANT SELECT ON jobqueue.audit_log TO jobqueue_operator;

-- The runner: leases jobs of every queue, renews, reports and settles.
GRANT SELECT ON jobqueue.body TO jobqueue_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.ready, jobqueue.lease, jobqueue.lease_jobs, jobqueue.worker, jobqueue.report,
    jobqueue.snooze, jobqueue.unique_claim, jobqueue.cancel_request, jobqueue.expiry TO jobqueue_runner;
GRANT INSERT ON jobqueue.scheduled, jobqueue.outcome, jobqueue.attempt, jobqueue.tally TO jobqueue_runner;
GRANT SELECT, UPDATE (delivered_at, acknowledged_at, result, error) ON jobqueue.worker_command TO jobqueue_runner;
GRANT USAGE ON SEQUENCE jobqueue.lease_epoch TO jobqueue_runner;
-- a job whose last attempt failed becomes a dead letter
GRANT SELECT (job_id, status, finished_at) ON jobqueue.outcome TO jobqueue_runner;
GRANT SELECT, INSERT, UPDATE ON jobqueue.dead_letter TO jobqueue_runner;
GRANT SELECT, INSERT ON jobqueue.dead_letter_cause TO jobqueue_runner;

-- The reaper: settles for lost workers as a runner does, submits the jobs of schedules, promotes, expires, counts, and deletes what is old.
GRANT jobqueue_runner, jobqueue_submitter TO jobqueue_reaper;
GRANT SELECT, UPDATE ON jobqueue.schedule TO jobqueue_reaper;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.tick TO jobqueue_reaper;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.scheduled, jobqueue.counter, jobqueue.census, jobqueue.census_state, jobqueue.tally,
    jobqueue.watch, jobqueue.outage, jobqueue.prune_pass, jobqueue.statistic TO jobqueue_reaper;
GRANT SELECT ON jobqueue.present_queue, jobqueue.live_worker TO jobqueue_reaper;
GRANT UPDATE ON jobqueue.queue TO jobqueue_reaper;
GRANT UPDATE (used_at, deleted_at) ON jobqueue.kind TO jobqueue_reaper;
GRANT DELETE ON jobqueue.worker_command TO jobqueue_reaper;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobqueue.dead_letter, jobqueue.dead_letter_cause, jobqueue.dead_letter_tally, jobqueue.dead_letter_group,
    jobqueue.dead_letter_total, jobqueue.dead_letter_pass, jobqueue.redrive, jobqueue.redriven TO jobqueue_reaper;
GRANT SELECT ON jobqueue.replacement TO jobqueue_reaper;
GRANT UPDATE (lane) ON jobqueue.body TO jobqueue_reaper;   -- to lock the row of a job that a schedule replaces
GRANT SELECT, DELETE ON jobqueue.body, jobqueue.outcome, jobqueue.attempt, jobqueue.report, jobqueue.idempotency,
    jobqueue.body_default, jobqueue.outcome_default, jobqueue.attempt_default, jobqueue.report_default TO jobqueue_reaper;
GRANT SELECT ON SEQUENCE jobqueue.sql_calls TO jobqueue_reaper;
GRANT UPDATE (status) ON jobqueue.outcome, jobqueue.outcome_default TO jobqueue_reaper;   -- to lock the row
GRANT EXECUTE ON FUNCTION jobqueue.add_partitions(date, int), jobqueue.prune_day(text, interval, interval, int),
    jobqueue.prune_audit(interval, int) TO jobqueue_reaper;

DO $$ BEGIN
    -- before Postgres 17 only the owner can vacuum, so the tables are left to autovacuum
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON jobqueue.ready, jobqueue.scheduled, jobqueue.lease, jobqueue.lease_jobs, jobqueue.tally, jobqueue.worker,
            jobqueue.expiry, jobqueue.unique_claim TO jobqueue_reaper;
    END IF;
    -- the short name of the view, if it belongs to jobqueue
    IF obj_description(to_regclass('public.jobs'), 'pg_class') = obj_description('jobqueue.jobs'::regclass, 'pg_class') THEN
        GRANT SELECT ON public.jobs TO jobqueue_reader;
    END IF;
END $$;
COMMIT;
