-- How far the deletion of expired jobs has come in a day that cannot be dropped because too many of its jobs must stay.
CREATE TABLE jobqueue.prune_pass (
    day text PRIMARY KEY,                     -- YYYYMMDD, the suffix of its partitions
    after uuid NOT NULL,                      -- final jobs up to this id were looked at
    ended_at timestamptz                      -- null while the pass goes on; the next one begins an hour later
);
