//! SQL for a database with very many queues and kinds.

/// SQL that creates this many queues, each with three jobs (two queued, one scheduled), and as many kinds.
pub fn many_queues(queues: u32) -> String {
    format!(
        "INSERT INTO jobqueue.queue (name) SELECT 'queue-' || n FROM generate_series(1, {queues}) n;
         INSERT INTO jobqueue.lane (queue_id, priority) SELECT id, 0 FROM jobqueue.queue;
         INSERT INTO jobqueue.kind (name) SELECT 'kind-' || n FROM generate_series(1, {queues}) n;
         CREATE TEMP TABLE made AS
             SELECT jobqueue.new_id() AS id, l.id AS lane, l.queue_id, k.id AS kind, n
             FROM jobqueue.lane l JOIN jobqueue.kind k ON k.id = l.id CROSS JOIN generate_series(1, 3) n;
         INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload) SELECT id, lane, kind, 3, '{{}}' FROM made;
         INSERT INTO jobqueue.ready SELECT id, lane, kind, 0 FROM made WHERE n < 3;
         INSERT INTO jobqueue.scheduled SELECT id, now() + interval '1 day', lane, kind, 0 FROM made WHERE n = 3;
         INSERT INTO jobqueue.tally (queue_id, created) SELECT queue_id, 1 FROM made;
         DROP TABLE made"
    )
}
