-- The queue's name of a lane, for the view of jobs. The view itself was made here before; it is made by 0010 now, because its old place,
-- `public.jobs`, may be taken. Databases that were made with the former text have its checksum on record, which is accepted.
CREATE FUNCTION jobqueue.queue_of(lane_number int) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT q.name FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = lane_number
$$;
