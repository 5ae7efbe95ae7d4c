-- The days of a database that has worked for a week with the default retention; each is a table that plans have to do with.
SELECT jobqueue.add_partitions((now() AT TIME ZONE 'UTC')::date - 7, 12)
