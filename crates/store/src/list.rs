//! Readers of many jobs: a page of what matches a filter, newest first, by keyset and never by offset.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, JobRecord, KindName, QueueName, Status};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;

/// Which jobs. Empty lists and `None` do not narrow.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these statuses.
    pub statuses: Vec<Status>,
    /// In one of these queues.
    pub queues: Vec<QueueName>,
    /// Of one of these kinds.
    pub kinds: Vec<KindName>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// Submitted at or after.
    pub created_after: Option<DateTime<Utc>>,
    /// Submitted before.
    pub created_before: Option<DateTime<Utc>>,
}

/// A page of jobs.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Newest first.
    pub jobs: Vec<JobRecord>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<JobId>,
}

impl Store {
    /// Up to `limit` jobs that match, newest first, older than `after`.
    pub async fn list(&self, filter: &JobFilter, after: Option<JobId>, limit: u32) -> Result<Page, StoreError> {
        // a job must not change its status between the look for it and the look at it
        let mut unit = self.begin_snapshot().await?;
        let mut ids = Self::matching(&mut unit, filter, after, limit.saturating_add(1)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let jobs = Self::records(&mut unit, &ids).await?;
        unit.commit().await?;
        Ok(Page { jobs, next: if more { ids.last().copied() } else { None } })
    }

    /// Ids of up to `limit` jobs that match, newest first; for acting on many at once.
    pub async fn find(&self, filter: &JobFilter, after: Option<JobId>, limit: u32) -> Result<Vec<JobId>, StoreError> {
        let mut unit = self.begin().await?;
        let ids = Self::matching(&mut unit, filter, after, limit).await?;
        unit.commit().await?;
        Ok(ids)
    }

    /// Each wanted status is looked up where its jobs are, so that a few dead letters among millions of others are found at once.
    async fn matching(
        unit: &mut Unit,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let wants = |status| filter.statuses.contains(&status);
        let queues: Option<Vec<String>> = some(filter.queues.iter().map(ToString::to_string));
        let kinds: Option<Vec<String>> = some(filter.kinds.iter().map(ToString::to_string));
        let tags: Option<Vec<String>> = some(filter.tags.iter().cloned());
        // bounds are scalar sub-selects and statuses constants: only then is each branch a walk of one index in its own order
        let ids = sqlx::query_scalar!(
            r#"-- store.list
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
                 WHERE $11 AND s.job_id < (SELECT high FROM bounds) AND s.job_id >= (SELECT low FROM bounds)
                   AND s.lane = ANY ((SELECT lanes FROM bounds)::int[]) AND s.kind = ANY ((SELECT kinds FROM bounds)::int[])
                   AND ($3::text[] IS NULL OR (SELECT b.tags @> $3 FROM jobqueue.body b WHERE b.id = s.job_id))
                 ORDER BY s.job_id DESC LIMIT $5)
                UNION ALL
                (SELECT j.job_id FROM bounds, jobqueue.lease l
                 JOIN jobqueue.lease_jobs h ON h.epoch = l.epoch
                 CROSS JOIN LATERAL unnest(h.job_ids, h.lanes, h.kinds) WITH ORDINALITY AS j (job_id, lane, kind, place)
                 WHERE $12 AND (l.open >> (j.place - 1)::int) & 1 = 1 AND j.job_id < high AND j.job_id >= low
                   AND j.lane = ANY (bounds.lanes) AND j.kind = ANY (bounds.kinds)
                   AND ($3::text[] IS NULL OR (SELECT b.tags @> $3 FROM jobqueue.body b WHERE b.id = j.job_id)))
            ) AS found (id) ORDER BY id DESC LIMIT $5"#,
            queues.as_deref(),
            kinds.as_deref(),
            tags.as_deref(),
            filter.statuses.is_empty(),
            i64::from(limit),
            after.map(JobId::as_uuid),
            filter.created_after,
            filter.created_before,
            wants(Status::Completed),
            wants(Status::Queued),
            wants(Status::Scheduled),
            wants(Status::Running),
            wants(Status::Failed),
            wants(Status::Cancelled),
        )
        .fetch_all(&mut **unit)
        .await?;
        let ids: Vec<Uuid> = ids;
        Ok(ids.into_iter().map(JobId::from_uuid).collect())
    }
}

fn some(words: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then_some(words)
}
