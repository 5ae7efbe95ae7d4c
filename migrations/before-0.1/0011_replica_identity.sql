-- In a database with a publication FOR ALL TABLES, rows of a table without a primary key can be deleted and updated only if the table says
-- how a replica finds them. FULL costs inserts nothing, and needs no index; a DELETE then logs the whole row, which is short here, and only
-- with wal_level = logical. Every other table has a primary key.
ALTER TABLE jobqueue.tally REPLICA IDENTITY FULL;
ALTER TABLE jobqueue.schema_version REPLICA IDENTITY FULL;
