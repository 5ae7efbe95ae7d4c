-- Remote workers have a row like any other. They have no slots, no version and no stale time: `stale_ms` is null, and their leases end only
-- by their expiry. `kinds` are the kinds that a worker leases; empty means all.
ALTER TABLE jobqueue.worker ALTER slots DROP NOT NULL, ALTER version DROP NOT NULL, ALTER stale_ms DROP NOT NULL;
ALTER TABLE jobqueue.worker ADD kinds text[] NOT NULL DEFAULT '{}';

-- Workers that count as alive. A remote worker counts for a minute after its last request, and as long as it holds a lease that has not
-- expired.
CREATE VIEW jobqueue.live_worker AS
SELECT w.id, w.name, w.queues, w.kinds, w.slots, w.version, w.started_at, w.beat_at, w.draining, w.stale_ms IS NULL AS remote
FROM jobqueue.worker w
WHERE w.beat_at > jobqueue.now() - coalesce(w.stale_ms, 60000) * interval '1 ms'
   OR w.stale_ms IS NULL AND w.id IN (SELECT l.worker_id FROM jobqueue.lease l WHERE l.expires_at > jobqueue.now());
