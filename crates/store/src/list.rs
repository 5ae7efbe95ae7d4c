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
    /// Up to `limit` jobs that match, newest first, older than `after`. [`StoreError::TooBroad`] after 5 s.
    pub async fn list(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        // a job must not change its status between the look for it and the look at it
        let mut unit = self.begin_snapshot().await?;
        let found = Self::matching(&mut unit, filter, after, limit.saturating_add(1)).await;
        let mut ids = found.map_err(StoreError::of_walk)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let jobs = self.records(&mut unit, &ids).await?;
        unit.commit().await?;
        Ok(Page { jobs, next: if more { ids.last().copied() } else { None } })
    }

    /// Ids of up to `limit` jobs that match, newest first; for acting on many at once. [`StoreError::TooBroad`] after 5 s.
    pub async fn find(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut unit = self.begin().await?;
        let ids = Self::matching(&mut unit, filter, after, limit).await.map_err(StoreError::of_walk)?;
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
        Self::before_walk(unit).await?;
        let wants = |status| filter.statuses.contains(&status);
        let queues: Option<Vec<String>> = some(filter.queues.iter().map(ToString::to_string));
        let kinds: Option<Vec<String>> = some(filter.kinds.iter().map(ToString::to_string));
        let tags: Option<Vec<String>> = some(filter.tags.iter().cloned());
        // bounds are scalar sub-selects and statuses constants: only then is each branch a walk of one index in its own order
        let ids = sqlx::query_file_scalar!(
            "src/list.sql",
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
