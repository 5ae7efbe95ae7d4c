-- Only the owner of the tables can create and drop partitions. These two functions run as the owner, so the reaper can do its
-- work as a role that owns nothing. Whoever may call them is named by a grant (scripts/roles.sql).
ALTER FUNCTION jobqueue.add_partitions(date, int) SECURITY DEFINER SET search_path = pg_catalog;
ALTER FUNCTION jobqueue.prune_day(text, interval, interval, int) SECURITY DEFINER SET search_path = pg_catalog;
REVOKE EXECUTE ON FUNCTION jobqueue.add_partitions(date, int) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION jobqueue.prune_day(text, interval, interval, int) FROM PUBLIC;
