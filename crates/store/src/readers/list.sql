-- store.list
WITH bounds AS MATERIALIZED (
    SELECT least(coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
                 coalesce(jobqueue.id_floor($8), 'ffffffff-ffff-ffff-ffff-ffffffffffff')) AS high,
           coalesce(jobqueue.id_floor($7), '00000000-0000-0000-0000-000000000000') AS low,
           ARRAY(SELECT l.id FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id
                 WHERE $1::text[] IS NULL OR q.name = ANY ($1)) AS lanes,
           ARRAY(SELECT k.id FROM jobqueue.kind k WHERE $2::text[] IS NULL OR k.name = ANY ($2)) AS kinds)
SELECT id AS "id!" FROM (
    (SELECT b.id FROM jobqueue.body b
     WHERE $4 AND b.id < (SELECT high FROM bounds) AND b.id >= (SELECT low FROM bounds)
       AND b.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND b.kind = ANY ((SELECT kinds FROM bounds)::int[])
       AND ($3::text[] IS NULL OR b.tags @> $3)
     ORDER BY b.id DESC LIMIT $5)
    UNION ALL
    (SELECT o.job_id FROM jobqueue.outcome o
     WHERE $9 AND o.status = 5 AND o.job_id < (SELECT high FROM bounds) AND o.job_id >= (SELECT low FROM bounds)
       AND (SELECT b.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND b.kind = ANY ((SELECT kinds FROM bounds)::int[])
                   AND ($3::text[] IS NULL OR b.tags @> $3) FROM jobqueue.body b WHERE b.id = o.job_id)
     ORDER BY o.job_id DESC LIMIT $5)
    UNION ALL
    (SELECT o.job_id FROM jobqueue.outcome o
     WHERE $13 AND o.status = 6 AND o.job_id < (SELECT high FROM bounds) AND o.job_id >= (SELECT low FROM bounds)
       AND (SELECT b.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND b.kind = ANY ((SELECT kinds FROM bounds)::int[])
                   AND ($3::text[] IS NULL OR b.tags @> $3) FROM jobqueue.body b WHERE b.id = o.job_id)
     ORDER BY o.job_id DESC LIMIT $5)
    UNION ALL
    (SELECT o.job_id FROM jobqueue.outcome o
     WHERE $14 AND o.status = 7 AND o.job_id < (SELECT high FROM bounds) AND o.job_id >= (SELECT low FROM bounds)
       AND (SELECT b.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND b.kind = ANY ((SELECT kinds FROM bounds)::int[])
                   AND ($3::text[] IS NULL OR b.tags @> $3) FROM jobqueue.body b WHERE b.id = o.job_id)
     ORDER BY o.job_id DESC LIMIT $5)
    UNION ALL
    (SELECT r.job_id FROM bounds CROSS JOIN LATERAL unnest(lanes) AS n (lane)
     CROSS JOIN LATERAL (
        SELECT r.job_id FROM jobqueue.ready r
        WHERE $10 AND r.lane = n.lane AND r.job_id < high AND r.job_id >= low AND r.kind = ANY (kinds)
          AND ($3::text[] IS NULL OR (SELECT b.tags @> $3 FROM jobqueue.body b WHERE b.id = r.job_id))
        ORDER BY r.job_id DESC LIMIT $5) r)
    UNION ALL
    (SELECT s.job_id FROM jobqueue.scheduled s
     WHERE ($11 AND s.pending IS NULL OR $15 AND s.pending IS NOT NULL)
       AND s.job_id < (SELECT high FROM bounds) AND s.job_id >= (SELECT low FROM bounds)
       AND s.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND s.kind = ANY ((SELECT kinds FROM bounds)::int[])
       AND ($3::text[] IS NULL OR (SELECT b.tags @> $3 FROM jobqueue.body b WHERE b.id = s.job_id))
     ORDER BY s.job_id DESC LIMIT $5)
    UNION ALL
    (SELECT j.job_id FROM bounds, jobqueue.running j
     WHERE $12 AND j.job_id < high AND j.job_id >= low AND j.lane = ANY (bounds.lanes) AND j.kind = ANY (bounds.kinds)
       AND ($3::text[] IS NULL OR (SELECT b.tags @> $3 FROM jobqueue.body b WHERE b.id = j.job_id)))
) AS found (id) ORDER BY id DESC LIMIT $5
