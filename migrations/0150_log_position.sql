-- How many bytes of log an attempt has stored since it began, of which `log` keeps the last 16 KiB. Together with the epoch it names a place
-- in the log of a job that stays the same while old lines are dropped. Null: no report since this migration; then nothing counts as dropped.
ALTER TABLE jobqueue.report ADD COLUMN logged_bytes bigint;
